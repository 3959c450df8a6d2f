"""The blocking side of a subscription: a connection of its own, read by those who wait for messages."""

from __future__ import annotations

import time
from typing import Callable

from . import _wire as wire
from ._link import Link, log
from ._options import Options
from ._positions import Gap, Message, Start, SubscriberCore
from .errors import FramegateError

#: For ever, as clocks of programs go: a loop over messages waits for the next one.
LONG = 1e9


class Subscription(Link):
    """An iterator of :class:`Message`; made by :meth:`Gate.subscribe`.

    A message is read from the connection when you ask for one, and none is read ahead but what came with it: a gateway
    notices a slow reader, and does as its ``--slow`` says. A connection that is lost is made again with the same patterns;
    what was published meanwhile is a gap (``on_gap``), but for a durable subscription, which goes on behind the last
    acknowledged message. It ends with ``Closed`` when the gateway is gone for longer than ``retry`` of ``connect``, and
    without an error when :meth:`close` is called.
    """

    def __init__(
        self,
        options: Options,
        patterns: tuple[str, ...],
        *,
        durable: str | None,
        start: Start | None,
        window: int,
        expire: str | None,
        reset: bool,
        on_gap: Callable[[Gap], object] | None,
        closed: Callable[[Subscription], None],
    ) -> None:
        self._core = SubscriberCore(
            options.secret,
            patterns,
            self,
            durable=durable,
            start=start,
            window=window,
            expire=expire,
            reset=reset,
        )
        self._messages = self._core.messages
        super().__init__(options)
        self._on_gap = on_gap
        self._closed = closed
        self._ended = False
        self._connect_first()

    def __iter__(self) -> Subscription:
        return self

    def __next__(self) -> Message:
        while True:
            try:
                # Without the lock: one of several threads that ask gets it.
                return self._messages.popleft()
            except IndexError:
                pass
            if self._ended:
                raise StopIteration
            self._acknowledge_now()
            try:
                self._wait(self._is_there, time.monotonic() + LONG, "a message")
            except FramegateError:
                if self._ended:
                    raise StopIteration from None
                raise

    def next(self, timeout: float | None = None) -> Message:
        """The next message; ``TimedOut`` after so many seconds (default: ``timeout`` of ``connect``)."""
        deadline = time.monotonic() + (self._options.timeout if timeout is None else timeout)
        while True:
            try:
                return self._messages.popleft()
            except IndexError:
                pass
            self._acknowledge_now()
            self._wait(self._is_there, deadline, "a message")

    @property
    def position(self) -> int | None:
        """The first sequence that comes, as the gateway said; ``None`` where there are none."""
        return self._core.position

    @property
    def oldest(self) -> int | None:
        """The oldest sequence that the gateway has."""
        return self._core.oldest

    def close(self) -> None:
        """Ends it; what was acknowledged is sent before. A durable name stays."""
        self._ended = True
        if self._fault is None:
            self._acknowledge_now()
        super().close()
        self._closed(self)

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Acknowledging

    def _acknowledge(self, sequence: int) -> None:
        if self._core.acknowledge(sequence):
            self._acknowledge_now()

    def _acknowledge_now(self) -> None:
        with self._lock:
            if self._sock is not None and self._core.is_confirmed:
                frame = self._core.ack_frame()
                if frame:
                    self._push(frame)
                self._send()

    def _flush(self, deadline: float) -> None:
        """Until all that was acknowledged is on disk; asked again on a new connection."""
        core = self._core
        if core.durable is None or self._ended:
            return
        while True:
            self._wait(lambda: core.is_confirmed and not core.awaits_ackable, deadline, "flush")
            with self._lock:
                asked_on = self._generation
                ticket, frame = core.ack_and_ask()
                if frame:
                    self._push(frame)
                    self._send()
            self._wait(
                lambda ticket=ticket, asked_on=asked_on: (  # type: ignore[misc]
                    core.is_on_disk(ticket) or self._generation != asked_on
                ),
                deadline,
                "flush",
            )
            if core.is_on_disk(ticket):
                return

    def _look(self) -> None:
        """What is due while nobody asks for messages; called by the background thread of the gate."""
        if self._fault is not None:
            return
        self._acknowledge_now()
        if self._sock is not None and time.monotonic() >= self._due():
            self._ping()

    # What the link asks

    def _is_there(self) -> bool:
        return bool(self._core.messages) or self._ended

    @property
    def _confirmed(self) -> bool:  # type: ignore[override]
        return self._core.is_confirmed

    def _greet(self) -> list[bytes]:
        return [self._options.greeting(self._digest), self._core.greet()]

    def _take(self, frames: list[wire.Frame]) -> FramegateError | None:
        fault = self._core.take(frames)
        if self._core.progress:
            self._progressed()
        return fault

    def _after_take(self) -> None:
        while self._core.gaps:
            gap = self._core.gaps.pop(0)
            if self._on_gap is not None:
                try:
                    self._on_gap(gap)
                except Exception:
                    log.exception("on_gap failed")
            else:
                count = "an unknown number of" if gap.frames is None else f"{gap.frames:,}"
                log.warning("%s: %s frames were missed: %s", self._options.address, count, gap.reason)

    def _lost(self, why: str) -> None:
        self._core.lost(why)

    def _is_needed(self) -> bool:
        # A reader that waits wants to know whether the gateway is there.
        return True

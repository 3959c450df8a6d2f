"""The same for asyncio.

    from framegate.aio import connect

    async with await connect("127.0.0.1:7450") as gate:
        thumbnail = await gate.call("pictures", image, timeout=10)
        async for message in await gate.subscribe("orders.*"):
            ...

``async with connect(...)`` works as well. All of it is for the event loop on which it was made.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterable, AsyncIterator, Generator, Iterable
from typing import TYPE_CHECKING, Any, Callable, Literal, overload

from . import _wire as wire
from ._aio_link import Link
from ._core import OWN_ID, Pending, PublisherCore
from ._gate import Item
from ._options import PATIENCE, RETRY, TIMEOUT, Options, options
from ._positions import Gap, Message, Start, SubscriberCore
from ._wire import RECEIVED_MAX, Bytes, Reply
from .errors import Closed, FramegateError

if TYPE_CHECKING:
    from ._options import Tls

__all__ = ["Future", "Gate", "Subscription", "connect"]

log = logging.getLogger("framegate")

#: 4,000 messages, or 4 MiB of them, are read ahead of a slow reader; then the connection is not read.
AHEAD, AHEAD_BYTES = 4000, 4 << 20
#: 0.2 s until what was acknowledged is sent.
ACK_AFTER = 0.2


class Future(asyncio.Future[Reply]):
    """The reply to one frame: ``await`` it. What is raised is as for :meth:`framegate.Future.result`."""

    def _settle(self, reply: Reply | None, fault: FramegateError | None) -> None:
        if self.done():
            return
        if fault is not None:
            self.set_exception(fault)
        elif reply is not None:
            self.set_result(reply)


class Gate(Link):
    """A connection to a gateway. ``async with`` closes it; where the block ends well, it waits for every reply first."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._core = PublisherCore(options.secret, options.window)
        self._confirmed = False
        self._pings = 0
        self._answered_pings = 0
        self._plain = False  # whether frames without a reply were sent that no PING has followed
        self._subscriptions: list[Subscription] = []

    @overload
    async def publish(
        self,
        topic: str,
        payload: Bytes = b"",
        *,
        key: int = 0,
        id: int | None = None,
        reply: Literal[True] = True,
        strict: bool = False,
        fragment: tuple[int, int] | None = None,
        timeout: float | None = None,
    ) -> Future: ...

    @overload
    async def publish(
        self,
        topic: str,
        payload: Bytes = b"",
        *,
        key: int = 0,
        id: int | None = None,
        reply: Literal[False],
        strict: bool = False,
        fragment: tuple[int, int] | None = None,
        timeout: float | None = None,
    ) -> None: ...

    async def publish(
        self,
        topic: str,
        payload: Bytes = b"",
        *,
        key: int = 0,
        id: int | None = None,
        reply: bool = True,
        strict: bool = False,
        fragment: tuple[int, int] | None = None,
        timeout: float | None = None,
    ) -> Future | None:
        """Sends one frame, and gives the future of its reply: ``reply = await (await gate.publish(...))``.

        It waits only while ``window`` frames have no reply. See :meth:`framegate.Gate.publish`.
        """
        if not reply:
            frame = self._core.encode(topic, payload, key, id, fragment, 0)[1]
            await self._wait(self._is_writable, timeout, "room in the socket")
            self._plain = True
            self._push(frame)
            return None
        return (await self._enqueue(topic, payload, key, id, fragment, False, strict, timeout))[1]

    async def publish_many(
        self, items: Iterable[Item] | AsyncIterable[Item], *, strict: bool = False
    ) -> AsyncIterator[Future]:
        """Sends (topic, payload) or (topic, payload, key) of each item, many at once; an iterator of their futures."""
        waiting: list[Future] = []
        taken = 0
        async for item in _each(items):
            key = item[2] if len(item) == 3 else 0
            waiting.append((await self._enqueue(item[0], item[1], key, None, None, False, strict, None))[1])
            while taken < len(waiting) and (waiting[taken].done() or len(waiting) - taken >= self._core.window):
                yield waiting[taken]
                taken += 1
            if taken >= 1024:
                del waiting[:taken]
                taken = 0
        for future in waiting[taken:]:
            yield future

    async def call(self, topic: str, payload: Bytes = b"", *, key: int = 0, timeout: float | None = None) -> bytes:
        """Sends one frame and waits for what its handler answers. See :meth:`framegate.Gate.call`."""
        began = time.monotonic()
        id, future = await self._enqueue(topic, payload, key, None, None, True, True, timeout)
        try:
            left = (self._options.timeout if timeout is None else timeout) - (time.monotonic() - began)
            await self._await(future, left, f"call of {topic!r}")
            return future.result().payload
        finally:
            # It is not sent again for nobody.
            self._core.forget(id)

    async def flush(self, timeout: float | None = None) -> None:
        """Waits until everything that was sent is answered, and all that was acknowledged is on the gateway's disk."""
        self._check()
        pings = 0
        if self._plain:
            self._plain = False
            self._pings += 1
            pings = self._pings
            self._push(wire.encode(self._digest, wire.PING, id=OWN_ID, flags=wire.WANT_REPLY))
        await self._wait(lambda: not self._core.pending and self._answered_pings >= pings, timeout, "flush")
        for subscription in list(self._subscriptions):
            await subscription._flush(timeout)

    async def subscribe(
        self,
        *patterns: str,
        durable: str | None = None,
        start: Start | None = None,
        window: int = 1000,
        expire: str | None = None,
        reset: bool = False,
        on_gap: Callable[[Gap], object] | None = None,
    ) -> Subscription:
        """Messages of these topics: ``async for message in await gate.subscribe(...)``.

        See :meth:`framegate.Gate.subscribe`.
        """
        self._check()
        subscription = Subscription(
            self._options,
            patterns or (">",),
            self._subscriptions,
            on_gap,
            durable=durable,
            start=start,
            window=window,
            expire=expire,
            reset=reset,
        )
        await subscription._connect_first()
        self._subscriptions.append(subscription)
        return subscription

    @property
    def pending(self) -> int:
        """Frames that have no reply yet."""
        return len(self._core.pending)

    async def close(self) -> None:
        """Ends the connection and its subscriptions at once."""
        for subscription in list(self._subscriptions):
            await subscription.close()
        self._fail(Closed("this program closed the connection"))
        await self._closed()

    async def __aenter__(self) -> Gate:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None and self._fault is None:
                await self.flush()
        finally:
            await self.close()

    async def _enqueue(
        self,
        topic: str,
        payload: Bytes,
        key: int,
        id: int | None,
        fragment: tuple[int, int] | None,
        is_call: bool,
        strict: bool,
        timeout: float | None,
    ) -> tuple[int, Future]:
        core = self._core
        id, frame = core.encode(topic, payload, key, id, fragment, wire.WANT_REPLY)
        if self._fault is not None or not core.has_room(len(frame)):
            size = len(frame)
            await self._wait(lambda: core.has_room(size), timeout, "room in the window")
        future = Future(loop=self._loop)
        core.add(id, Pending(frame, future, is_call, strict))
        self._push(frame)
        return id, future

    def _greet(self) -> list[bytes]:
        self._pings += 1
        self._answered_pings = self._pings - 1
        frames = [self._options.greeting(self._digest)]
        frames.extend(pending.frame for pending in self._core.pending.values())
        return frames

    def _take(self, frames: list[wire.Frame]) -> FramegateError | None:
        fault = self._core.take(frames, self._heard)
        if self._core.progress:
            self._core.progress = False
            self._progressed()
        return fault

    def _heard(self, frame: wire.Frame) -> None:
        self._confirmed = True
        self._answered_pings += 1

    def _is_confirmed(self) -> bool:
        return self._confirmed

    def _lost(self, why: str) -> None:
        self._core.lost()

    def _failed(self, fault: FramegateError) -> None:
        left = [pending.future for pending in self._core.pending.values()]
        self._core.fail(fault)
        if left:
            log.warning("%s: frames without a reply: %d: %s", self._options.address, len(left), fault)
            for future in left:
                if isinstance(future, asyncio.Future) and not future.cancelled():
                    future.exception()  # one line for all of them is enough

    def _is_needed(self) -> bool:
        return bool(self._core.pending) or self._answered_pings < self._pings


class Subscription(Link):
    """An asynchronous iterator of :class:`framegate.Message`; made by :meth:`Gate.subscribe`.

    See :class:`framegate.Subscription`. Up to 4,000 messages, or 4 MiB, are read ahead of you.
    """

    def __init__(
        self,
        options: Options,
        patterns: tuple[str, ...],
        siblings: list[Subscription],
        on_gap: Callable[[Gap], object] | None,
        **lines: Any,
    ) -> None:
        super().__init__(options)
        self._core = SubscriberCore(options.secret, patterns, self, **lines)
        self._siblings = siblings
        self._on_gap = on_gap
        self._ended = False
        self._ack_due: asyncio.TimerHandle | None = None

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Message:
        while True:
            message = self._next()
            if message is not None:
                return message
            if self._ended:
                raise StopAsyncIteration
            try:
                await self._wait(self._is_there, float("inf"), "a message")
            except FramegateError:
                if self._ended:
                    raise StopAsyncIteration from None
                raise

    async def next(self, timeout: float | None = None) -> Message:
        """The next message; ``TimedOut`` after so many seconds (default: ``timeout`` of ``connect``)."""
        while True:
            message = self._next()
            if message is not None:
                return message
            await self._wait(self._is_there, timeout, "a message")

    @property
    def position(self) -> int | None:
        """The first sequence that comes, as the gateway said; ``None`` where there are none."""
        return self._core.position

    @property
    def oldest(self) -> int | None:
        """The oldest sequence that the gateway has."""
        return self._core.oldest

    async def close(self) -> None:
        """Ends it; what was acknowledged is sent before. A durable name stays."""
        self._ended = True
        self._acknowledge_now()
        self._fail(Closed("this program closed the subscription"))
        with contextlib.suppress(ValueError):
            self._siblings.remove(self)
        await self._closed()

    async def __aenter__(self) -> Subscription:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _next(self) -> Message | None:
        core = self._core
        message = core.next_message()
        if self._paused and len(core.messages) < AHEAD // 2 and core.queued < AHEAD_BYTES // 2:
            self._pause(False)
        return message

    def _is_there(self) -> bool:
        return bool(self._core.messages) or self._ended

    def _acknowledge(self, sequence: int) -> None:
        if self._core.acknowledge(sequence):
            self._acknowledge_now()
        elif self._ack_due is None:
            self._ack_due = self._loop.call_later(ACK_AFTER, self._acknowledge_now)

    def _acknowledge_now(self) -> None:
        if self._ack_due is not None:
            self._ack_due.cancel()
            self._ack_due = None
        if self._fault is None and self._core.is_confirmed:
            frame = self._core.ack_frame()
            if frame:
                self._push(frame)

    async def _flush(self, timeout: float | None) -> None:
        core = self._core
        while core.durable is not None and not self._ended:
            await self._wait(lambda: core.is_confirmed and not core.awaits_ackable, timeout, "flush")
            asked_on = self._generation
            ticket, frame = core.ack_and_ask()
            if frame:
                self._push(frame)

            def is_told(ticket: int = ticket, asked_on: int = asked_on) -> bool:
                return core.is_on_disk(ticket) or self._generation != asked_on

            await self._wait(is_told, timeout, "flush")
            if core.is_on_disk(ticket):
                return

    def _greet(self) -> list[bytes]:
        return [self._options.greeting(self._digest), self._core.greet()]

    def _take(self, frames: list[wire.Frame]) -> FramegateError | None:
        core = self._core
        fault = core.take(frames)
        if core.progress:
            self._progressed()
        if len(core.messages) >= AHEAD or core.queued >= AHEAD_BYTES:
            self._pause(True)
        if core.is_confirmed and core.awaits_ackable is False and self._ack_due is None:
            # After a reconnect: what came again and was done already.
            frame = core.ack_frame()
            if frame:
                self._push(frame)
        self._tell_gaps()
        return fault

    def _tell_gaps(self) -> None:
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

    def _is_confirmed(self) -> bool:
        return self._core.is_confirmed

    def _lost(self, why: str) -> None:
        self._core.lost(why)
        self._tell_gaps()

    def _failed(self, fault: FramegateError) -> None:
        """Who waits is told by the link."""

    def _is_needed(self) -> bool:
        return not self._paused


async def _each(items: Iterable[Item] | AsyncIterable[Item]) -> AsyncIterator[Item]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


class _Connecting:
    """What ``connect`` gives: ``await`` it, or ``async with`` it."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._gate: Gate | None = None

    async def _connect(self) -> Gate:
        gate = Gate(self._options)
        await gate._connect_first()
        return gate

    def __await__(self) -> Generator[Any, None, Gate]:
        return self._connect().__await__()

    async def __aenter__(self) -> Gate:
        self._gate = await self._connect()
        return self._gate

    async def __aexit__(self, *why: Any) -> None:
        if self._gate is not None:
            await self._gate.__aexit__(*why)


def connect(
    address: str = "127.0.0.1:7450",
    *,
    tls: Tls = None,
    ca: str | os.PathLike[str] | None = None,
    cert: str | os.PathLike[str] | None = None,
    key: str | os.PathLike[str] | None = None,
    server_name: str | None = None,
    name: str | None = None,
    token: str | bytes | None = None,
    secret: str | bytes | None = None,
    timeout: float = TIMEOUT,
    window: int = 1000,
    retry: float = RETRY,
    patience: float = PATIENCE,
    max_payload: int = RECEIVED_MAX,
) -> _Connecting:
    """Connects to a gateway: ``await`` it, or use it in ``async with``. What is said is as for :func:`framegate.connect`."""
    return _Connecting(
        options(
            address,
            tls=tls,
            ca=ca,
            cert=cert,
            key=key,
            server_name=server_name,
            name=name,
            token=token,
            secret=secret,
            timeout=timeout,
            window=window,
            retry=retry,
            patience=patience,
            max_payload=max_payload,
        )
    )

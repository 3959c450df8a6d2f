"""The blocking side: publishing, calling, waiting for replies."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Callable, Literal, Union, overload

from . import _wire as wire
from ._core import OWN_ID, Pending, PublisherCore
from ._link import Link, log
from ._options import Options
from ._positions import Gap, Start
from ._subscription import Subscription
from ._wire import Bytes, Reply
from .errors import Closed, FramegateError, TimedOut

#: 64 KiB of frames are written without waiting for more.
WRITE_AT = 64 << 10
#: 0.5 ms that frames wait for others to be written with, where replies to earlier ones are on their way.
GATHER = 0.0005
#: 10 ms after a thread waited for something: until then it is expected to come again, and reads the replies itself.
LINGER = 0.01
#: 0.2 s between looks at subscriptions: ACKs that were not sent, connections that were silent.
LOOK = 0.2

#: What ``publish_many`` takes: (topic, payload), or (topic, payload, key).
Item = Union[tuple[str, Bytes], tuple[str, Bytes, int]]


class Future:
    """The reply to one frame, when it is there."""

    __slots__ = ("__weakref__", "_callbacks", "_fault", "_gate", "_reply", "_seen")

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._reply: Reply | None = None
        self._fault: FramegateError | None = None
        self._callbacks: list[Callable[[Future], object]] | None = None
        self._seen = False

    def done(self) -> bool:
        """Whether the reply is there, or none will come."""
        return self._reply is not None or self._fault is not None

    def result(self, timeout: float | None = None) -> Reply:
        """Waits for the reply, in seconds at most ``timeout`` (default: that of ``connect``).

        Raises ``Rejected``, ``Busy``, ``Duplicate`` (where asked: ``strict=True``) for a frame that was refused, ``Closed``,
        ``Unauthorized`` or ``Malformed`` where no reply will come, and ``TimedOut``: then it can be asked again.
        """
        if self._reply is None:
            self._wait(timeout)
        reply = self._reply
        assert reply is not None
        return reply

    def exception(self, timeout: float | None = None) -> FramegateError | None:
        """Waits, and gives what ``result`` would raise, or ``None``."""
        try:
            self.result(timeout)
        except TimedOut:
            raise
        except FramegateError as why:
            return why
        return None

    def add_done_callback(self, call: Callable[[Future], object]) -> None:
        """Calls it with this future when it is done, on whatever thread finds that out. It must not wait."""
        with self._gate._lock:
            if not self.done():
                self._callbacks = [*(self._callbacks or ()), call]
                return
        call(self)

    def _wait(self, timeout: float | None) -> None:
        if self._fault is None:
            gate = self._gate
            gate._wait_here(self.done, gate._deadline(timeout), "a reply")
        self._seen = True
        if self._fault is not None:
            raise self._fault.with_traceback(None)

    def _settle(self, reply: Reply | None, fault: FramegateError | None) -> None:
        self._reply, self._fault = reply, fault
        if self._callbacks is not None:
            self._gate._callbacks.append(self)

    def __del__(self) -> None:
        # As asyncio does: what was refused is never lost silently.
        if self._fault is not None and not self._seen and self._fault is not self._gate._fault:
            log.warning("a frame was refused, and nobody asked: %s: %s", type(self._fault).__name__, self._fault)

    def __repr__(self) -> str:
        state = self._reply if self._reply is not None else self._fault
        return f"<Future {'pending' if state is None else repr(state)}>"


class Gate(Link):
    """A connection to a gateway; made by :func:`framegate.connect`, used by as many threads as you like.

    ``with`` closes it; where the block ends well it waits for every reply first.
    """

    def __init__(self, options: Options) -> None:
        self._core = PublisherCore(options.secret, options.window)
        super().__init__(options)
        self._confirmed = False
        self._callbacks: list[Future] = []
        self._wanted = 0
        self._wanted_at = 0.0
        self._subscriptions: list[Subscription] = []
        self._bell = threading.Event()
        try:
            self._connect_first()
        except FramegateError:
            self._callbacks.clear()
            raise
        self._thread = threading.Thread(target=self._background, name="framegate", daemon=True)
        self._thread.start()

    # Publishing

    @overload
    def publish(
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
    def publish(
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

    def publish(
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
        """Sends one frame and gives the future of its reply at once; with ``reply=False`` nothing comes back: ``None``.

        ``key`` (64 bits) is what the frame belongs to; ``id`` its number, chosen here unless given: with ``--dedup`` give
        your own where a program that starts again sends the same once more. ``fragment=(index, count)`` makes it a part of
        the message with this topic and key. ``strict=True`` raises ``Duplicate`` from ``result``, where otherwise it is a
        reply. Waits for room while ``window`` frames, or 64 MiB of them, have no reply, at most ``timeout`` seconds.

        Without a reply a frame that the connection loses is lost, and what is refused is not told.
        """
        if not reply:
            self._send_plain(self._core.encode(topic, payload, key, id, fragment, 0)[1], timeout)
            return None
        future = Future(self)
        self._enqueue(topic, payload, key, id, fragment, future, False, strict, timeout)
        return future

    def publish_many(self, items: Iterable[Item], *, strict: bool = False) -> Iterator[Future]:
        """Sends (topic, payload) or (topic, payload, key) of each item, many at once; an iterator of their futures.

        It goes as far ahead of you as ``window`` allows, so ``for future in publish_many(...): future.result()`` is as fast
        as the connection. What you do not take from the iterator is not sent.
        """
        futures: list[Future] = []
        taken = 0
        for item in items:
            future = Future(self)
            self._enqueue(item[0], item[1], item[2] if len(item) == 3 else 0, None, None, future, False, strict, None)
            futures.append(future)
            # The oldest is handed out when its reply is there, or the window is full of younger ones.
            while taken < len(futures) and (futures[taken].done() or len(futures) - taken >= self._core.window):
                yield futures[taken]
                taken += 1
            if taken >= 1024:
                del futures[:taken]
                taken = 0
        self._send_now()
        yield from futures[taken:]

    def call(self, topic: str, payload: Bytes = b"", *, key: int = 0, timeout: float | None = None) -> bytes:
        """Sends one frame and waits for what its handler answers (``serve --handler``): bytes, ``b""`` without a handler.

        Raises ``Rejected`` (``.status``, ``.reason``) where it is refused, ``Busy`` where there is no room (``--overflow
        reject``), ``TimedOut`` after ``timeout`` seconds, also where the gateway is paused, ``Closed`` where it drains.
        """
        deadline = self._deadline(timeout)
        future = Future(self)
        id = self._enqueue(topic, payload, key, None, None, future, True, True, timeout, now=True)
        try:
            self._wait_here(future.done, deadline, f"call of {topic!r}")
        finally:
            # It is not sent again for nobody.
            if not future.done():
                with self._lock:
                    self._core.forget(id)
        return future.result().payload

    def flush(self, timeout: float | None = None) -> None:
        """Waits until everything that was sent is answered, and all that was acknowledged is on the gateway's disk.

        Frames without a reply count as sent when the gateway has read them.
        """
        deadline = self._deadline(timeout)
        pings = self._ask() if self._plain else 0
        self._wait_here(lambda: not self._core.pending and self._answered_pings >= pings, deadline, "flush")
        self._plain = False
        for subscription in list(self._subscriptions):
            subscription._flush(deadline)

    def subscribe(
        self,
        *patterns: str,
        durable: str | None = None,
        start: Start | None = None,
        window: int = 1000,
        expire: str | None = None,
        reset: bool = False,
        on_gap: Callable[[Gap], object] | None = None,
    ) -> Subscription:
        """Messages of these topics, over a connection of their own; subscribed when it returns. See :class:`Subscription`.

        ``durable="billing"``: the gateway (one with ``--store``) keeps the position under this name; ``start`` is where a
        new name begins: ``"new"``, ``"oldest"``, a sequence, a ``datetime`` with a zone or a ``timedelta`` ago;
        ``reset=True`` begins there also where the name is known. ``window`` messages are not acknowledged at most.
        ``expire="7d"`` forgets
        a name that is not used for so long. ``start`` without ``durable`` is a replay that goes on live.

        ``on_gap(Gap(frames, reason))`` is told what was missed; otherwise it is logged.
        """
        self._check()
        subscription = Subscription(
            self._options,
            patterns or (">",),
            durable=durable,
            start=start,
            window=window,
            expire=expire,
            reset=reset,
            on_gap=on_gap,
            closed=self._forget_subscription,
        )
        self._subscriptions.append(subscription)
        self._wake()  # the background thread is to look at it from now on
        return subscription

    def forget(self, durable: str, timeout: float | None = None) -> None:
        """Has the gateway forget the position of a durable name."""
        lines = f"durable: {durable}\n".encode()
        future = Future(self)
        with self._lock:
            self._check()
            id = self._core.encode("", b"", 0, None, None, 0)[0]
            frame = wire.encode(self._digest, wire.UNSUBSCRIBE, payload=lines, id=id, flags=wire.WANT_REPLY)
            self._core.add(id, Pending(frame, future, False, False))
            self._push(frame)
            self._send()
        future.result(timeout)

    @property
    def pending(self) -> int:
        """Frames that have no reply yet."""
        return len(self._core.pending)

    def close(self) -> None:
        """Ends the connection and its subscriptions at once; ``flush`` before it, to wait for replies."""
        for subscription in list(self._subscriptions):
            subscription.close()
        if self._fault is None:
            with self._lock:
                self._send()
        super().close()
        self._bell.set()
        thread = getattr(self, "_thread", None)
        if thread is not None and thread is not threading.current_thread():
            thread.join(1.0)

    def __enter__(self) -> Gate:
        return self

    def __exit__(self, kind: type[BaseException] | None, why: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None and self._fault is None:
                self.flush()
        finally:
            self.close()

    # How frames get out

    def _deadline(self, timeout: float | None) -> float:
        return time.monotonic() + (self._options.timeout if timeout is None else timeout)

    def _check(self) -> None:
        if self._fault is not None:
            raise self._fault_again()

    def _enqueue(
        self,
        topic: str,
        payload: Bytes,
        key: int,
        id: int | None,
        fragment: tuple[int, int] | None,
        future: Future,
        is_call: bool,
        strict: bool,
        timeout: float | None,
        now: bool = False,
    ) -> int:
        core = self._core
        id, frame = core.encode(topic, payload, key, id, fragment, wire.WANT_REPLY)
        while True:
            with self._lock:
                if self._fault is not None:
                    raise self._fault_again()
                if core.has_room(len(frame)):
                    # Alone it goes at once; while replies are on their way, with those that follow.
                    now = now or not core.pending
                    core.add(id, Pending(frame, future, is_call, strict))
                    self._out.append(frame)
                    self._out_size += len(frame)
                    if now or self._out_size >= WRITE_AT:
                        self._send()
                    elif not self._dirty:
                        self._gather()
                    return id
                self._send()
            self._wait_here(lambda: core.has_room(len(frame)), self._deadline(timeout), "room in the window")

    def _send_plain(self, frame: bytes, timeout: float | None) -> None:
        """A frame that is not kept: it waits for the socket to take those before it."""
        deadline = self._deadline(timeout)

        def has_room() -> bool:
            return self._sock is not None and self._sending is None

        while True:
            with self._lock:
                self._check()
                if has_room():
                    self._plain = True
                    self._push(frame)
                    if self._out_size >= WRITE_AT:
                        self._send()
                    elif not self._dirty:
                        self._gather()
                    return
            self._wait_here(has_room, deadline, "room in the socket")

    def _gather(self) -> None:
        """The background thread is to write what has come together."""
        self._dirty = True
        self._bell.set()
        if self._polling and not self._wanted:
            self._wake()

    def _send_now(self) -> None:
        with self._lock:
            self._send()

    def _ask(self) -> int:
        """A PING behind all that was sent; how many must be answered."""
        with self._lock:
            self._check()
            self._pings += 1
            self._push(wire.encode(self._digest, wire.PING, id=OWN_ID, flags=wire.WANT_REPLY))
            self._send()
            return self._pings

    _pings = 0
    _answered_pings = 0
    #: Whether frames without a reply were sent that no PING has followed.
    _plain = False

    def _wait_here(self, done: Callable[[], bool], deadline: float, what: str) -> None:
        """Waits, and moves the bytes meanwhile in the place of the background thread."""
        with self._lock:
            self._wanted += 1
            self._send()
            if self._polling:
                self._wake()
        try:
            self._wait(done, deadline, what)
        finally:
            with self._lock:
                self._wanted -= 1
                self._wanted_at = time.monotonic()

    # What the link asks

    def _greet(self) -> list[bytes]:
        # The PING of the greeting and those of flushes are answered in order; those of the last connection are gone.
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

    def _after_take(self) -> None:
        while self._callbacks:
            future = self._callbacks.pop()
            calls, future._callbacks = future._callbacks or [], None
            for call in calls:
                try:
                    call(future)
                except Exception:
                    log.exception("a callback of a future failed")

    def _lost(self, why: str) -> None:
        self._core.lost()

    def _failed(self, fault: FramegateError) -> None:
        left = len(self._core.pending)
        self._core.fail(fault)
        if left:
            log.warning("%s: frames without a reply: %d: %s", self._options.address, left, fault)
        elif not isinstance(fault, Closed):
            log.warning("%s: %s", self._options.address, fault)

    def _is_needed(self) -> bool:
        return bool(self._core.pending) or self._answered_pings < self._pings

    def _at_exit(self) -> None:
        if self._fault is None:
            self._send_now()
            if self._core.pending:
                log.warning("%d frames have no reply, and the program ends: flush(), or use `with`", len(self._core.pending))

    def _forget_subscription(self, subscription: Subscription) -> None:
        with contextlib.suppress(ValueError):
            self._subscriptions.remove(subscription)

    # The thread for what nobody waits for

    def _background(self) -> None:
        """Writes what has come together, reads replies that nobody waits for, and keeps connections alive."""
        looked = time.monotonic()
        while self._fault is None:
            if self._dirty:
                time.sleep(GATHER)
                self._send_now()
            now = time.monotonic()
            if self._subscriptions and now - looked >= LOOK:
                looked = now
                for subscription in list(self._subscriptions):
                    subscription._look()
            if self._wanted or now - self._wanted_at < LINGER:
                self._bell.wait(LINGER)
                self._bell.clear()
            elif self._pump.acquire(blocking=False):
                try:
                    self._step_guarded(now + (LOOK if self._subscriptions else 5.0))
                finally:
                    self._pump.release()
                    self._tell()

    def _step_guarded(self, until: float) -> None:
        try:
            if not self._wanted and not self._dirty:
                self._step(until)
        except Exception as why:  # whatever it is, somebody must be told
            log.exception("the connection to %s failed", self._options.address)
            self._fail(FramegateError(f"the connection failed: {why!r}"))

    def _forked(self) -> None:
        super()._forked()
        self._subscriptions = []
        self._thread = threading.current_thread()

"""A connection that is made again, on an event loop."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, Callable

from . import _wire as wire
from ._core import Pauses, not_a_gateway
from ._link import CONNECT
from ._options import ATTEMPT_EVERY, PING_EVERY, Options
from .errors import Closed, FramegateError, TimedOut, Unauthorized

log = logging.getLogger("framegate")

#: What a transport buffers before a frame without a reply waits.
HIGH_WATER = 1 << 20


class Link(asyncio.Protocol):
    """One connection and the next; all on the thread of its event loop. Subclasses say what is sent first, and take what
    comes, as those of the blocking link do."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._digest = wire.digest_of(options.secret)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._decoder = wire.Decoder(options.secret, options.max_payload)
        self._out: list[bytes] = []
        self._fault: FramegateError | None = None
        self._waiters: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self._pauses = Pauses()
        self._trouble_since: float | None = None
        self._trouble = ""
        self._heard_at = 0.0
        self._pinged_at = 0.0
        self._generation = 0
        self._paused = False
        self._full = False
        self._answered = False
        self._was_confirmed = False
        self._watch: asyncio.TimerHandle | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._end: asyncio.Future[None] = self._loop.create_future()

    # What subclasses say

    def _greet(self) -> list[bytes]:
        raise NotImplementedError

    def _take(self, frames: list[wire.Frame]) -> FramegateError | None:
        raise NotImplementedError

    def _is_confirmed(self) -> bool:
        raise NotImplementedError

    def _lost(self, why: str) -> None:
        raise NotImplementedError

    def _failed(self, fault: FramegateError) -> None:
        raise NotImplementedError

    def _is_needed(self) -> bool:
        raise NotImplementedError

    # Waiting

    def _check(self) -> None:
        if self._fault is not None:
            raise self._fault.with_traceback(None)

    async def _wait(self, done: Callable[[], bool], timeout: float | None, what: str) -> None:
        while True:
            self._check()
            if done():
                return
            waiter: asyncio.Future[None] = self._loop.create_future()
            entry = (done, waiter)
            self._waiters.append(entry)
            try:
                await self._await(waiter, timeout, what)
            finally:
                if entry in self._waiters:
                    self._waiters.remove(entry)

    async def _await(self, future: asyncio.Future[Any], timeout: float | None, what: str) -> None:
        """Waits for it as long as may be; what it raises is for who asks it."""
        seconds = self._options.timeout if timeout is None else timeout
        await asyncio.wait([future], timeout=None if seconds == float("inf") else max(seconds, 0.0))
        if not future.done():
            why = f" ({self._trouble})" if self._transport is None and self._trouble else ""
            raise TimedOut(f"{what}: no answer from {self._options.address} in time{why}")

    def _tell(self) -> None:
        if self._waiters:
            for done, waiter in self._waiters:
                if not waiter.done() and (self._fault is not None or done()):
                    waiter.set_result(None)

    # Connecting

    async def _connect_first(self) -> None:
        began = time.monotonic()
        try:
            while True:
                try:
                    await self._open(self._options.timeout)
                    break
                except ConnectionRefusedError:
                    # It may have been started on the line before.
                    if time.monotonic() - began >= min(self._options.patience, self._options.timeout):
                        raise
                    await asyncio.sleep(ATTEMPT_EVERY)
        except (OSError, asyncio.TimeoutError, UnicodeError) as why:
            text = f"cannot connect to {self._options.address}: {why}"
            if type(why).__name__ in ("SSLCertVerificationError", "SSLError"):
                raise Unauthorized(text) from why
            if isinstance(why, (asyncio.TimeoutError, TimeoutError)):
                raise TimedOut(text + "timed out") from why
            raise Closed(text) from why
        try:
            await self._wait(self._is_confirmed, None, "connecting")
            self._was_confirmed = True
        except BaseException:
            self._fail(Closed("it did not connect"))
            raise

    async def _open(self, timeout: float) -> None:
        options = self._options
        name = (options.server_name or options.host) if options.tls is not None else None
        connecting = self._loop.create_connection(
            lambda: self, options.host, options.port, ssl=options.tls, server_hostname=name
        )
        await asyncio.wait_for(connecting, timeout)

    async def _connect_again(self) -> None:
        began = self._trouble_since or time.monotonic()
        while self._fault is None:
            await asyncio.sleep(self._pauses.pause())
            if time.monotonic() - began > self._options.retry:
                tried = f"tried for {self._options.retry:g} s" if self._options.retry else "retry=0"
                self._fail(Closed(f"{self._options.address} is gone ({self._trouble}; {tried})"))
                return
            try:
                await self._open(CONNECT)
                log.info("connected to %s again", self._options.address)
                return
            except (OSError, asyncio.TimeoutError, UnicodeError) as why:
                self._trouble = f"cannot connect: {why or 'timed out'}"

    def _progressed(self) -> None:
        self._trouble_since = None
        self._pauses.reset()

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        if self._fault is not None:
            transport.abort()
            return
        self._transport = transport
        transport.set_write_buffer_limits(high=HIGH_WATER)
        self._decoder = wire.Decoder(self._options.secret, self._options.max_payload)
        self._out.clear()
        self._paused = self._full = self._answered = False
        self._generation += 1
        self._heard_at, self._pinged_at = time.monotonic(), 0.0
        transport.write(b"".join(self._greet()))
        self._watch = self._loop.call_later(self._look_every(), self._look)

    def data_received(self, data: bytes) -> None:
        if self._fault is not None:
            return
        self._heard_at = time.monotonic()
        self._answered = True
        decoder = self._decoder
        fault = self._take(decoder.feed(data))
        if fault is None and decoder.fault is not None:
            fault = not_a_gateway(self._options.address, decoder.fault, self._options.secret)
        if fault is not None:
            self._fail(fault)
        self._tell()

    def eof_received(self) -> None:
        """The transport closes itself."""

    def connection_lost(self, why: Exception | None) -> None:
        if self._transport is None:
            return
        self._transport = None
        self._out.clear()
        if self._watch is not None:
            self._watch.cancel()
        self._trouble = f"the connection broke: {why}" if why else "it closed the connection"
        if self._fault is None:
            log.warning("%s: %s; connecting again", self._options.address, self._trouble)
            if type(why).__name__ == "SSLError" and not self._answered:
                self._fail(Unauthorized(f"{self._options.address} refused the connection: {why}"))
            elif not self._was_confirmed and not self._options.retry:
                self._fail(Closed(f"{self._options.address}: {self._trouble}"))
            else:
                if self._trouble_since is None:
                    self._trouble_since = time.monotonic()
                self._lost(self._trouble)
                self._connecting = self._loop.create_task(self._connect_again())
        self._tell()
        if self._fault is not None and not self._end.done():
            self._end.set_result(None)

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._tell()

    # Writing

    def _is_writable(self) -> bool:
        return self._transport is not None and not self._full

    def _push(self, frame: bytes) -> None:
        """Frames of one turn of the loop are written together."""
        if self._transport is None:
            return  # what has no reply is sent when there is a connection again
        if not self._out:
            self._loop.call_soon(self._send)
        self._out.append(frame)

    def _send(self) -> None:
        if self._transport is not None and self._out:
            data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
            self._transport.write(data)
        self._out.clear()

    def _pause(self, paused: bool) -> None:
        """Whether the connection is not read for the time being."""
        if self._transport is not None and paused != self._paused:
            self._paused = paused
            (self._transport.pause_reading if paused else self._transport.resume_reading)()

    # Silence

    def _look_every(self) -> float:
        return min(PING_EVERY, self._options.timeout / 2)

    def _look(self) -> None:
        transport, now = self._transport, time.monotonic()
        if transport is None:
            return
        if self._is_needed() and self._pinged_at > self._heard_at and now - self._heard_at >= self._options.timeout * 2:
            self._trouble = f"it said nothing for {self._options.timeout * 2:g} s, not even to a PING"
            transport.abort()
            return
        if now - max(self._heard_at, self._pinged_at) >= self._look_every() * 0.9:
            self._pinged_at = now
            self._push(wire.encode(self._digest, wire.PING, id=wire.U64_MAX))
        self._watch = self._loop.call_later(self._look_every(), self._look)

    # The end

    def _fail(self, fault: FramegateError) -> None:
        if self._fault is None:
            self._fault = fault
            self._failed(fault)
        if self._connecting is not None and self._connecting is not asyncio.current_task(self._loop):
            self._connecting.cancel()
        if self._transport is not None:
            self._send()
            self._transport.close()
        elif not self._end.done():
            self._end.set_result(None)
        self._tell()

    async def _closed(self) -> None:
        """Waits until the socket is closed, for 2 s at most: what is written waits for the other side."""
        await asyncio.wait([self._end], timeout=2.0)
        if not self._end.done() and self._transport is not None:
            self._transport.abort()

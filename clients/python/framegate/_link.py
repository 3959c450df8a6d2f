"""A connection that is made again, for programs with threads.

No thread of its own moves the bytes: whoever waits does. The one that holds ``_pump`` reads the socket, settles what came,
and connects again where that is due; others that wait sleep on ``_told`` meanwhile, and one of them takes over. So a call
that is answered costs no change of threads, and a publisher that is far ahead none either.
"""

from __future__ import annotations

import atexit
import logging
import os
import select
import socket
import threading
import time
import weakref
from typing import Any, Callable, NoReturn

from . import _wire as wire
from ._core import Pauses, not_a_gateway
from ._options import ATTEMPT_EVERY, PING_EVERY, Options
from .errors import Closed, FramegateError, TimedOut, Unauthorized

log = logging.getLogger("framegate")

#: 256 KiB of a read: some thousand small frames are parsed in one go.
READ = 256 << 10
#: 1 MiB of small frames is joined and written at once at most.
WRITE = 1 << 20
#: 5 s for one attempt to connect, while others wait for the outcome.
CONNECT = 5.0
#: What a socket says where a TLS library wants to read or write first: names, since ``ssl`` may be missing.
_WAIT = ("SSLWantReadError", "SSLWantWriteError")

_links: weakref.WeakSet[Link] = weakref.WeakSet()


class Link:
    """One connection and the next. Subclasses say what is sent first, and take what comes.

    ``_lock`` guards all state but the decoder and the poll, which belong to the holder of ``_pump``. ``_lock`` is never
    held while something is waited for.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._digest = wire.digest_of(options.secret)
        self._reset_locks()
        self._sock: socket.socket | None = None
        self._fd = -1
        self._decoder = wire.Decoder(options.secret, options.max_payload)
        self._poll = select.poll()
        self._wake_r, self._wake_w = os.pipe()
        os.set_blocking(self._wake_r, False)
        os.set_blocking(self._wake_w, False)
        self._out: list[bytes] = []
        self._out_size = 0
        self._sending: memoryview | None = None
        self._write_broken = False
        #: Why nothing more happens.
        self._fault: FramegateError | None = None
        self._pauses = Pauses()
        self._retry_at = 0.0
        self._trouble_since: float | None = None
        self._trouble = ""
        self._answered = False  # whether the gateway said anything on this connection
        self._heard_at = 0.0
        self._pinged_at = 0.0
        self._polling = False
        #: Whether frames were left for the background thread to write.
        self._dirty = False
        self._generation = 0
        _links.add(self)

    def _reset_locks(self) -> None:
        self._lock = threading.Lock()
        self._pump = threading.Lock()
        self._told = threading.Condition(threading.Lock())
        self._followers = 0

    # What subclasses say

    def _greet(self) -> list[bytes]:
        """The first frames of a connection; under the lock."""
        raise NotImplementedError

    def _take(self, frames: list[wire.Frame]) -> FramegateError | None:
        """What came; under the lock. Returns what ends all."""
        raise NotImplementedError

    def _after_take(self) -> None:
        """The same without the lock."""

    def _lost(self, why: str) -> None:
        """A connection has ended; under the lock."""

    def _failed(self, fault: FramegateError) -> None:
        """No other will be made; under the lock."""

    def _is_needed(self) -> bool:
        """Whether an answer is waited for, so that silence means something."""
        return False

    # Waiting

    def _wait(self, done: Callable[[], bool], deadline: float, what: str) -> None:
        """Moves bytes until it is done."""
        while not done():
            if self._fault is not None:
                raise self._fault_again()
            now = time.monotonic()
            if now >= deadline:
                why = f" ({self._trouble})" if self._sock is None and self._trouble else ""
                raise TimedOut(f"{what}: no answer from {self._options.address} in time{why}")
            if self._pump.acquire(blocking=False):
                try:
                    self._step(deadline)
                finally:
                    self._pump.release()
                    self._tell()
            else:
                self._follow(done, deadline)

    def _follow(self, done: Callable[[], bool], deadline: float) -> None:
        """Waits until the holder of the pump has something new, or lets it go."""
        with self._told:
            self._followers += 1
            try:
                if not done() and self._fault is None and self._pump.locked():
                    # Not for ever: the pump may have been let go of between the two lines above.
                    self._told.wait(min(max(deadline - time.monotonic(), 0.0), 0.05))
            finally:
                self._followers -= 1

    def _tell(self) -> None:
        if self._followers:
            with self._told:
                self._told.notify_all()

    def _wake(self) -> None:
        """Has the holder of the pump look again."""
        try:
            os.write(self._wake_w, b"\0")
        except (BlockingIOError, OSError):
            pass  # full, so it looks anyway; or closed

    def _fault_again(self) -> FramegateError:
        """The same error for each who asks, with a traceback of their own."""
        fault = self._fault
        assert fault is not None
        return fault.with_traceback(None)

    # One step; with the pump

    def _step(self, until: float) -> None:
        """Reads what is there, or waits until something is, at most until then."""
        if self._sock is None:
            self._connect_again(until)
            return
        with self._lock:
            self._send()
            blocked = self._sending is not None and not self._write_broken
            sock = self._sock
            if sock is None:
                return
            # From here on whoever has something to write wakes the poll.
            self._polling = True
        try:
            wait = 0.0 if self._buffered(sock) else max(min(until, self._due()) - time.monotonic(), 0.0)
            # By its number: another thread may close it just now, and then the read says so.
            self._poll.modify(self._fd, select.POLLIN | select.POLLOUT if blocked else select.POLLIN)
            events = self._poll.poll(wait * 1000 + 0.5 if wait > 0 else 0)
        finally:
            self._polling = False
        try:
            self._moved(sock, events)
        except BaseException:
            # Ctrl-C, say, between a read and what was to be done with it: what is unanswered is sent again.
            self._drop("interrupted")
            raise

    def _moved(self, sock: socket.socket, events: list[tuple[int, int]]) -> None:
        for fd, _ in events:
            if fd == self._wake_r:
                os.read(self._wake_r, 4096)
        if any(fd != self._wake_r and event & ~select.POLLOUT for fd, event in events) or self._buffered(sock):
            self._read(sock)
        elif not events:
            self._look_at_silence()

    def _due(self) -> float:
        """When the silence is to be looked at."""
        since = max(self._heard_at, self._pinged_at)
        return since + min(PING_EVERY, self._options.timeout / 2)

    def _look_at_silence(self) -> None:
        now = time.monotonic()
        if now < self._due():
            return
        timeout = self._options.timeout
        if self._is_needed() and self._pinged_at > self._heard_at and now - self._heard_at >= timeout * 2:
            self._drop(f"it said nothing for {timeout * 2:g} s, not even to a PING")
            return
        self._ping()

    def _ping(self) -> None:
        with self._lock:
            self._pinged_at = time.monotonic()
            self._push(wire.encode(self._digest, wire.PING, id=wire.U64_MAX))
            self._send()

    def _buffered(self, sock: Any) -> bool:
        """Whether TLS has read more than it gave."""
        return self._options.tls is not None and sock.pending() > 0

    def _read(self, sock: socket.socket) -> None:
        try:
            data = sock.recv(READ) if self._options.tls is None else self._read_tls(sock)
        except OSError as why:
            if isinstance(why, BlockingIOError) or type(why).__name__ in _WAIT:
                return
            self._drop(f"the connection broke: {why}", why)
            return
        if not data:
            self._drop("it closed the connection")
            return
        self._heard_at = time.monotonic()
        self._answered = True
        decoder = self._decoder
        frames = decoder.feed(data)
        with self._lock:
            fault = self._take(frames)
        if fault is None and decoder.fault is not None:
            fault = not_a_gateway(self._options.address, decoder.fault, self._options.secret)
        if fault is not None:
            self._fail(fault)
        self._after_take()

    def _read_tls(self, sock: socket.socket) -> bytes:
        # A TLS session is one state for both directions, so nobody writes meanwhile.
        with self._lock:
            return sock.recv(READ)

    # Writing; under the lock

    def _push(self, frame: bytes) -> None:
        self._out.append(frame)
        self._out_size += len(frame)

    def _send(self) -> None:
        """Writes what there is, as far as the socket takes it."""
        self._dirty = False
        sock = self._sock
        if sock is None or self._write_broken:
            self._out.clear()
            self._out_size = 0
            return
        try:
            while True:
                if self._sending is None:
                    if not self._out:
                        return
                    self._sending = self._next_write()
                sent = sock.send(self._sending)
                self._sending = self._sending[sent:] if sent < len(self._sending) else None
        except OSError as why:
            if isinstance(why, BlockingIOError) or type(why).__name__ in _WAIT:
                if self._polling:
                    self._wake()  # so that it waits for room, too
                return
            # Why it broke is for the reader to find out: the gateway's last word may be on its way.
            self._write_broken = True
            self._sending = None

    def _next_write(self) -> memoryview:
        out = self._out
        if self._out_size <= WRITE or len(out) == 1:
            joined = out[0] if len(out) == 1 else b"".join(out)
            out.clear()
            self._out_size = 0
            return memoryview(joined)
        size = count = 0
        while count < len(out) and (size == 0 or size + len(out[count]) <= WRITE):
            size += len(out[count])
            count += 1
        joined = b"".join(out[:count])
        del out[:count]
        self._out_size -= size
        return memoryview(joined)

    # Connecting; with the pump

    def _connect_first(self) -> None:
        """The first connection, whose errors are the caller's."""
        began = time.monotonic()
        deadline = began + self._options.timeout
        try:
            while True:
                try:
                    self._use(self._options.open(self._options.timeout))
                    break
                except ConnectionRefusedError:
                    # It may have been started on the line before.
                    if time.monotonic() - began >= min(self._options.patience, self._options.timeout):
                        raise
                    time.sleep(ATTEMPT_EVERY)
        except (OSError, UnicodeError) as why:
            self.close()
            self._raise_connecting(why)
        try:
            self._wait(lambda: self._confirmed, deadline, "connecting")
        except BaseException:
            self.close()
            raise

    _confirmed = False

    def _raise_connecting(self, why: BaseException) -> NoReturn:
        text = f"cannot connect to {self._options.address}: {why}"
        if type(why).__name__ in ("SSLCertVerificationError", "SSLError"):
            raise Unauthorized(text) from why
        if isinstance(why, TimeoutError):
            raise TimedOut(text) from why
        raise Closed(text) from why

    def _use(self, sock: socket.socket) -> None:
        with self._lock:
            if self._fault is not None:
                sock.close()  # it was closed meanwhile
                return
            self._decoder = wire.Decoder(self._options.secret, self._options.max_payload)
            self._poll = select.poll()
            self._poll.register(self._wake_r, select.POLLIN)
            self._fd = sock.fileno()
            self._poll.register(self._fd, select.POLLIN)
            self._sock = sock
            self._out, self._sending, self._write_broken = [], None, False
            self._answered = False
            self._generation += 1
            self._heard_at = time.monotonic()
            self._pinged_at = 0.0
            for frame in self._greet():
                self._push(frame)
            self._out_size = sum(map(len, self._out))
            self._send()

    def _connect_again(self, until: float) -> None:
        now = time.monotonic()
        if self._trouble_since is None:
            self._trouble_since = now
        if now - self._trouble_since > self._options.retry:
            tried = f"tried for {self._options.retry:g} s" if self._options.retry else "retry=0"
            self._fail(Closed(f"{self._options.address} is gone ({self._trouble}; {tried})"))
            return
        if self._retry_at > now:
            pause = min(self._retry_at, until) - now
            poll = select.poll()
            poll.register(self._wake_r, select.POLLIN)
            if poll.poll(max(pause, 0) * 1000 + 0.5):
                os.read(self._wake_r, 4096)
            return
        try:
            self._use(self._options.open(min(CONNECT, max(until - now, 0.05))))
            log.info("connected to %s again", self._options.address)
        except (OSError, UnicodeError) as why:
            self._trouble = f"cannot connect: {why}"
            self._retry_at = time.monotonic() + self._pauses.pause()

    def _progressed(self) -> None:
        """The gateway did something for this program: the next trouble begins with short pauses."""
        self._trouble_since = None
        self._pauses.reset()

    def _drop(self, why: str, cause: BaseException | None = None) -> None:
        """This connection has ended."""
        refused = type(cause).__name__ == "SSLError"
        with self._lock:
            sock, self._sock = self._sock, None
            if sock is None:
                return
            self._trouble = why
            self._out, self._out_size, self._sending = [], 0, None
            if self._trouble_since is None:
                self._trouble_since = time.monotonic()
            self._retry_at = time.monotonic() + self._pauses.pause()
            self._lost(why)
        sock.close()
        again = "; connecting again" if self._options.retry else ""
        log.log(logging.DEBUG if self._fault else logging.WARNING, "%s: %s%s", self._options.address, why, again)
        if refused and not self._answered:
            # With TLS 1.3 a certificate is refused only after the handshake.
            self._fail(Unauthorized(f"{self._options.address} refused the connection: {cause}"))
        self._after_take()

    def _fail(self, fault: FramegateError) -> None:
        """Nothing more happens."""
        with self._lock:
            if self._fault is None:
                self._fault = fault
                self._failed(fault)
            sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()
        self._wake()
        self._tell()
        self._after_take()

    def _at_exit(self) -> None:
        """The program ends."""

    def close(self) -> None:
        """Ends it at once."""
        self._fail(Closed("this program closed the connection"))

    def _forked(self) -> None:
        """In the child of a fork: the connection is the parent's."""
        self._reset_locks()
        self._fault = FramegateError("this connection belongs to the process that made it: connect again after a fork")
        sock, self._sock = self._sock, None
        if sock is not None:
            os.close(sock.detach())  # without a word to the other side
        for fd in (self._wake_r, self._wake_w):
            os.close(fd)
        self._wake_r, self._wake_w = os.pipe()

    def __del__(self) -> None:
        for fd in (getattr(self, "_wake_r", -1), getattr(self, "_wake_w", -1)):
            if fd >= 0:
                os.close(fd)


@atexit.register
def _at_exit() -> None:
    for link in list(_links):
        link._at_exit()


def _after_fork() -> None:
    for link in list(_links):
        link._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

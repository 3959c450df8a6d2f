"""What ``framegate serve --handler`` starts: a function that answers each frame.

    from framegate.handler import serve

    def shout(topic, key, payload):         # str, int of 64 bits, bytes
        return payload.decode().upper().encode()

    serve(shout)

What the function returns: ``bytes`` or ``None`` lets the frame pass, and its publisher gets that as the answer; ``(topic,
key, payload)`` takes the frame's place. What it raises refuses the frame, with the exception's text as the reason, and is
logged; :class:`Busy` says later. What it prints goes to the gateway's log.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import stat
import sys
import traceback
from collections.abc import Awaitable
from typing import Callable, NamedTuple, Union

from . import _wire as wire
from ._wire import Frame, Status
from .errors import Busy, FramegateError, Rejected

__all__ = ["Answer", "Busy", "Rejected", "Sender", "sender", "serve", "serve_async"]

#: What a handler gives: bytes or nothing lets the frame pass; (topic, key, payload) takes its place.
Answer = Union[bytes, bytearray, memoryview, None, tuple[str, int, bytes]]

#: 1 MiB of a read; a pipe holds 64 KiB unless set.
READ = 1 << 20
#: 4 KiB of a reason, as much as the gateway's log has of a line.
REASON_MAX = 4096

_digest = wire.digest_of(None)
_sender: contextvars.ContextVar[Sender | None] = contextvars.ContextVar("sender", default=None)


class Sender(NamedTuple):
    """Who sent a frame: the name of an identity (``""`` without one), and the address of its connection."""

    name: str
    address: str


def sender() -> Sender | None:
    """Who sent the frame that is being answered; ``None`` without ``serve --handler-identity``."""
    return _sender.get()


def serve(handle: Callable[[str, int, bytes], Answer], *, dismissed: Callable[[int], object] | None = None) -> None:
    """Answers each frame with ``handle(topic, key, payload)``, one after the other, until the gateway ends the program.

    ``dismissed(key)`` is called when the lease of a key has ended (``--handler-by key``): what is known of it can go.
    """
    calls, answers = _take_pipes()
    decoder = wire.Decoder(limit=wire.PAYLOAD_MAX)
    while data := os.read(calls, READ):
        for frame in _frames(decoder, data):
            if frame.kind == wire.DATA:
                try:
                    answer = _answer(frame, handle(frame.topic.decode(), frame.key, frame.payload))
                except Exception as why:
                    answer = _refusal(frame, why)
                _write(answers, answer)
            else:
                _told(frame, dismissed)


def serve_async(
    handle: Callable[[str, int, bytes], Awaitable[Answer]],
    *,
    dismissed: Callable[[int], object] | None = None,
) -> None:
    """The same for a coroutine: as many at once as the gateway gives (``--max-in-flight``)."""
    asyncio.run(_serve_async(handle, dismissed))


async def _serve_async(
    handle: Callable[[str, int, bytes], Awaitable[Answer]], dismissed: Callable[[int], object] | None
) -> None:
    calls, answers = _take_pipes()
    loop = asyncio.get_running_loop()
    decoder = wire.Decoder(limit=wire.PAYLOAD_MAX)
    tasks: set[asyncio.Task[None]] = set()
    gathered: list[bytes] = []
    reader = asyncio.StreamReader(limit=READ)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(calls, "rb", 0))

    def flush() -> None:
        joined = b"".join(gathered)
        gathered.clear()
        _write(answers, joined)

    async def one(frame: Frame) -> None:
        try:
            answer = _answer(frame, await handle(frame.topic.decode(), frame.key, frame.payload))
        except Exception as why:
            answer = _refusal(frame, why)
        if not gathered:
            loop.call_soon(flush)
        gathered.append(answer)

    while data := await reader.read(READ):
        for frame in _frames(decoder, data):
            if frame.kind == wire.DATA:
                task = loop.create_task(one(frame))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            else:
                _told(frame, dismissed)
    if tasks:
        await asyncio.wait(tasks)
    if gathered:
        flush()


def _keep_prints_out() -> None:
    """Where both are pipes, a gateway has started us: what is printed before ``serve`` is no answer either."""
    try:
        pipes = all(stat.S_ISFIFO(os.fstat(fd).st_mode) for fd in (0, 1))
    except OSError:
        return  # closed
    if pipes and sys.stderr is not None:
        if sys.stdout is not None:
            sys.stdout.flush()
        sys.stdout = sys.stderr


_keep_prints_out()


def _take_pipes() -> tuple[int, int]:
    """The gateway's pipes, out of the way of what else uses standard input and output, subprocesses included."""
    if sys.stdin is not None and sys.stdin.isatty():
        sys.exit("this is a handler: framegate serve --handler starts it, and gives it frames on its standard input")
    calls, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    try:
        # Ctrl-C ends the gateway, which finishes what it has with us and then closes the pipe.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    except ValueError:
        pass  # not the main thread, where signals do not arrive
    return calls, answers


def _frames(decoder: wire.Decoder, data: bytes) -> list[Frame]:
    frames = decoder.feed(data)
    if decoder.fault is not None:
        raise FramegateError(f"what came on standard input is not from a gateway: {decoder.fault}")
    return frames


def _write(fd: int, data: bytes) -> None:
    try:
        written = os.write(fd, data)
        view = memoryview(data)[written:]
        while view:
            view = view[os.write(fd, view) :]
    except BrokenPipeError:
        sys.exit("the gateway has gone, and nobody takes answers any more")


def _answer(frame: Frame, answer: Answer) -> bytes:
    if answer is None:
        return wire.encode(_digest, wire.REPLY, id=frame.id)
    if isinstance(answer, tuple):
        if len(answer) != 3:
            raise TypeError(f"what takes a frame's place is (topic, key, payload), not {len(answer)} values")
        topic, key, payload = answer
        return wire.encode(_digest, wire.DATA, wire.topic_bytes(topic), _bytes(payload), key=key, id=frame.id)
    return wire.encode(_digest, wire.REPLY, payload=_bytes(answer), id=frame.id)


def _bytes(payload: wire.Bytes) -> wire.Bytes:
    if not isinstance(payload, (bytes, bytearray, memoryview)):
        raise TypeError(f"an answer is bytes, None or (topic, key, payload), not {type(payload).__name__}")
    return payload if isinstance(payload, bytes) else bytes(payload)


def _refusal(frame: Frame, why: Exception) -> bytes:
    status, reason = Status.REJECTED, str(why) or type(why).__name__
    if isinstance(why, Busy):
        status = Status.BUSY
    elif isinstance(why, Rejected):
        reason = why.reason
    else:
        traceback.print_exception(type(why), why, why.__traceback__)
        sys.stderr.flush()
    return wire.encode(_digest, wire.REPLY, payload=reason.encode()[:REASON_MAX], id=frame.id, status=status)


def _told(frame: Frame, dismissed: Callable[[int], object] | None) -> None:
    """What is not to be answered: who sends the frames that follow, and that a key's lease has ended."""
    if frame.kind == wire.AUTH:
        _sender.set(Sender(frame.topic.decode(), frame.payload.decode()))
    elif frame.kind == wire.UNSUBSCRIBE:
        if dismissed is not None:
            try:
                dismissed(frame.key)
            except Exception:
                # No frame is to blame, so there is nobody to tell but the log.
                traceback.print_exc()
    else:
        raise FramegateError(f"a frame of kind {frame.kind}, which this version of the package does not know")

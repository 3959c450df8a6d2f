"""What a publisher's and a subscriber's connection know, apart from how bytes come and go. Pure: the blocking and the
asyncio side drive the same code, each under its own rules for threads."""

from __future__ import annotations

import itertools
import random
import struct
from typing import Callable, NamedTuple, Protocol

from . import _wire as wire
from ._wire import Bytes, Frame, Reply, Status
from .errors import Busy, Closed, Duplicate, FramegateError, Malformed, Rejected, Unauthorized

#: 64 MiB of frames without a reply are kept to be sent again; one larger frame is taken where there is no other.
WINDOW_BYTES = 64 << 20
#: 0.1 s to 5 s between attempts to connect again, doubling, each between half of it and all of it.
PAUSE_FIRST, PAUSE_MAX = 0.1, 5.0
#: So many topics are remembered as bytes (or as text), so that few programs encode one twice.
TOPICS_REMEMBERED = 10_000

#: The id of this package's own PINGs; that of an AUTH is one higher.
OWN_ID = 0x9F3A_61C7_04D2_8BE5


class Pauses:
    """How long to wait before the next attempt. A thousand clients do not come back in the same instant."""

    def __init__(self) -> None:
        self._next = PAUSE_FIRST

    def pause(self) -> float:
        whole = self._next
        self._next = min(whole * 2, PAUSE_MAX)
        return whole * random.uniform(0.5, 1.0)

    def reset(self) -> None:
        self._next = PAUSE_FIRST


class Settles(Protocol):
    """What waits for a reply."""

    def _settle(self, reply: Reply | None, fault: FramegateError | None) -> None: ...


class Pending(NamedTuple):
    """A frame without its reply: its bytes, to be sent again, and what waits for it."""

    frame: bytes
    future: Settles
    #: A caller that wants an answer now: where the gateway drains it is told so, and the frame is not sent again.
    is_call: bool
    strict: bool


def text(payload: bytes) -> str:
    """A reason, whatever its bytes."""
    return payload.decode("utf-8", "replace")


def ends_all(status: int, reason: str) -> FramegateError | None:
    """The error after which connecting again would be the same again."""
    if status == Status.UNAUTHORIZED:
        return Unauthorized(reason or "the gateway does not let this connection in")
    if status == Status.MALFORMED:
        return Malformed(f"the gateway takes what was sent for no frame: {reason}")
    if status == Status.TAKEN:
        return Closed(f"a newer connection took this durable name: {reason}".rstrip(": "))
    return None


def not_a_gateway(address: str, why: wire.NotAFrame, secret: bytes | None) -> FramegateError:
    """The error of what cannot be cut or verified."""
    if isinstance(why, wire.WrongDigest) and why.status == Status.UNAUTHORIZED:
        mend = "secret= is another" if secret is not None else "give it as secret="
        return Unauthorized(f"{address} has a secret: {mend}")
    return Malformed(f"{address} does not talk as a gateway does: {why}")


class PublisherCore:
    """Frames on their way and their replies: ``0 <= len(pending) <= window``, ``pending_bytes`` the sum of theirs.

    ``pending`` is in the order in which the frames were sent, so what is sent again keeps it.
    """

    def __init__(self, secret: bytes | None, window: int) -> None:
        if window < 1:
            raise ValueError("a window has at least 1 frame")
        self.digest = wire.digest_of(secret)
        self.window = window
        self.pending: dict[int, Pending] = {}
        self.pending_bytes = 0
        #: Why the gateway closes, while it does.
        self.closing: str | None = None
        #: Replies to frames of this program since it was last asked.
        self.progress = False
        self._topics: dict[str, bytes] = {}
        # Not from 1: to a gateway that deduplicates, the same reading of another day is another frame.
        self._ids = itertools.count(random.SystemRandom().getrandbits(62))

    def encode(
        self, topic: str, payload: Bytes, key: int, id: int | None, fragment: tuple[int, int] | None, flags: int
    ) -> tuple[int, bytes]:
        """Its id and its bytes. What is not bytes or does not fit is an error here."""
        encoded = self._topics.get(topic)
        if encoded is None:
            encoded = wire.topic_bytes(topic)
            if len(self._topics) >= TOPICS_REMEMBERED:
                self._topics.clear()
            self._topics[topic] = encoded
        if id is None:
            id = next(self._ids)
        index, count = fragment or (0, 0)
        try:
            size = len(payload) if payload.__class__ is bytes else memoryview(payload).nbytes
            head = wire.HEAD.pack(wire.MAGIC, flags, len(encoded), 0, size, index, count, key, id)
            body = b"".join((head, encoded, payload))
        except struct.error:
            raise ValueError(
                f"key {key!r} and id {id!r} have 64 bits, a fragment 16, a payload at most {wire.PAYLOAD_MAX:,} bytes"
            ) from None
        except TypeError:
            raise TypeError(f"a payload is bytes, not {type(payload).__name__}") from None
        return id, body + self.digest(body)

    def has_room(self, size: int) -> bool:
        """Whether a frame of so many bytes may be sent now."""
        return len(self.pending) < self.window and (not self.pending or self.pending_bytes + size <= WINDOW_BYTES)

    def add(self, id: int, pending: Pending) -> None:
        """A frame is on its way."""
        if id in self.pending:
            raise ValueError(f"a frame with id {id} has no reply yet")
        self.pending[id] = pending
        self.pending_bytes += len(pending.frame)

    def forget(self, id: int) -> None:
        """Nobody waits for this one any more, and it is not sent again."""
        pending = self.pending.pop(id, None)
        if pending is not None:
            self.pending_bytes -= len(pending.frame)

    def take(self, frames: list[Frame], heard: Callable[[Frame], None]) -> FramegateError | None:
        """Settles what these replies are for; ``heard`` gets those to frames of :data:`OWN_ID`.

        Returns what ends all.
        """
        pop = self.pending.pop
        for frame in frames:
            kind, status, _, id, _, payload = frame
            if kind != wire.REPLY:
                return Malformed(f"a frame of kind {kind}, where nothing is subscribed to")
            if status == Status.CLOSING:
                self._close(id, text(payload))
                continue
            fault = ends_all(status, text(payload)) if status >= 16 else None
            if fault is not None:
                return fault
            pending = pop(id, None)
            if pending is None:
                if id == OWN_ID:
                    heard(frame)
                continue  # of a call that was given up, or a frame that wanted no reply
            self.pending_bytes -= len(pending.frame)
            self.progress = True
            if status == Status.OK:
                pending.future._settle(Reply(status, payload), None)
            else:
                self._refuse(pending, status, payload)
        return None

    @staticmethod
    def _refuse(pending: Pending, status: int, payload: bytes) -> None:
        reason = text(payload)
        if status == Status.DUPLICATE and not (pending.strict or pending.is_call):
            pending.future._settle(Reply(status, payload), None)
        elif status == Status.DUPLICATE:
            pending.future._settle(None, Duplicate(reason or "the very bytes were accepted before"))
        elif status == Status.BUSY:
            pending.future._settle(None, Busy(reason or "the gateway has no room for it now"))
        else:
            pending.future._settle(None, Rejected(status, reason))

    def _close(self, id: int, reason: str) -> None:
        """The gateway drains: a call is told so, the rest waits for the next connection."""
        self.closing = reason or "the gateway is draining"
        pending = self.pending.get(id)
        if pending is not None and pending.is_call:
            self.forget(id)
            pending.future._settle(None, Closed(self.closing))

    def lost(self) -> None:
        """The connection has ended. What had no reply waits for the next one, but for calls that a draining gateway left."""
        if self.closing is not None:
            for id, pending in list(self.pending.items()):
                if pending.is_call:
                    self.forget(id)
                    pending.future._settle(None, Closed(self.closing))
        self.closing = None

    def fail(self, fault: FramegateError) -> None:
        """No connection will come."""
        left = list(self.pending.values())
        self.pending.clear()
        self.pending_bytes = 0
        for pending in left:
            pending.future._settle(None, fault)

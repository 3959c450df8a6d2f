"""Frames as bytes: made, and cut out of what was received. Pure, without a clock or a socket."""

from __future__ import annotations

import hashlib
import hmac
import struct
from typing import Callable, NamedTuple, Union

Bytes = Union[bytes, bytearray, memoryview]
Digest = Callable[[Bytes], bytes]

DATA, REPLY, SUBSCRIBE, UNSUBSCRIBE, PING, ACK, AUTH = range(7)
WANT_REPLY = 1

#: Magic, version and kind in one integer, flags, topic length, status, payload length, fragment index and count,
#: key, id: the 32 bytes before the topic, big-endian.
HEAD = struct.Struct(">IBBHIHHQQ")
#: ``FG``, version 1, kind 0.
MAGIC = 0x46470100
#: A frame is so much larger than its topic and payload.
OVERHEAD = 64
#: What fits into the field of a key or an id.
U64_MAX = 2**64 - 1
#: What fits into the field of a payload's length.
PAYLOAD_MAX = 2**32 - 1
#: 64 MiB: what one frame of a gateway may take here, unless ``max_payload=`` says otherwise. Four times what gateways
#: take unless set, so that a server that is none cannot fill the memory.
RECEIVED_MAX = 64 << 20


class Status:
    """Statuses of a reply, as numbers."""

    OK = 0
    BAD_DIGEST = 1
    BUSY = 2
    REJECTED = 3
    EXPIRED = 4
    DUPLICATE = 5
    GAP = 6
    POSITION = 7
    MALFORMED = 16
    TOO_LARGE = 17
    UNAUTHORIZED = 18
    CLOSING = 19
    SLOW = 20
    TAKEN = 21

    @classmethod
    def name_of(cls, status: int) -> str:
        """``"REJECTED"`` of 3; of what has no name the number."""
        return _NAMES.get(status, f"status {status}")


_NAMES = {number: name for name, number in vars(Status).items() if isinstance(number, int)}


class Reply(NamedTuple):
    """What became of a frame: ``status`` (:class:`Status`), and the ``payload`` that a handler answered, else ``b""``."""

    status: int
    payload: bytes


class Frame(NamedTuple):
    """A frame that was received, its digest right."""

    kind: int
    status: int
    key: int
    id: int
    topic: bytes
    payload: bytes


class NotAFrame(Exception):
    """Why what was received cannot be cut any further."""


class WrongDigest(NotAFrame):
    """A frame whose digest is wrong, so nothing of it can be trusted; ``status`` is what it claims."""

    def __init__(self, status: int) -> None:
        super().__init__("the digest of a frame is wrong")
        self.status = status


def digest_of(secret: bytes | None) -> Digest:
    """SHA-256, or HMAC-SHA-256 under the secret: 32 bytes of any number of bytes."""
    if secret is None:
        sha256 = hashlib.sha256
        return lambda data: sha256(data).digest()
    key = secret
    return lambda data: hmac.digest(key, data, "sha256")


def encode(
    digest: Digest,
    kind: int,
    topic: bytes = b"",
    payload: Bytes = b"",
    *,
    key: int = 0,
    id: int = 0,
    flags: int = 0,
    status: int = 0,
    index: int = 0,
    count: int = 0,
) -> bytes:
    """One frame, its digest included."""
    head = HEAD.pack(MAGIC + kind, flags, len(topic), status, len(payload), index, count, key, id)
    body = b"".join((head, topic, payload))
    return body + digest(body)


class Decoder:
    """Cuts a stream into frames and verifies each.

    What is kept between two calls is the beginning of one frame, ``0 <= have < need``, in the pieces in which it came.
    """

    __slots__ = ("_digest", "_have", "_keyed", "_limit", "_need", "_pieces", "fault")

    def __init__(self, secret: bytes | None = None, limit: int = RECEIVED_MAX) -> None:
        self._digest = digest_of(secret)
        self._keyed = secret is not None
        self._limit = limit
        self._pieces: list[bytes] = []
        self._have = 0
        self._need = 0
        #: Why nothing more can be cut: its frame is not one, or its digest is wrong.
        self.fault: NotAFrame | None = None

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are complete now. Behind the last of them is a ``fault`` where what follows is no frame."""
        if self._pieces:
            self._pieces.append(data)
            self._have += len(data)
            if self._have < self._need:
                return []
            data = b"".join(self._pieces)
            self._pieces.clear()
        frames: list[Frame] = []
        add, unpack, make, digest = frames.append, HEAD.unpack_from, tuple.__new__, self._digest
        sha256, keyed, frame = hashlib.sha256, self._keyed, Frame
        at, end, need = 0, len(data), 32
        view = memoryview(data)
        while end - at >= 32:
            magic, _, topic_len, status, payload_len, _, _, key, id = unpack(data, at)
            kind = magic - MAGIC
            if not 0 <= kind <= AUTH:
                self.fault = NotAFrame(f"not a frame: it begins with {data[at : at + 4].hex(' ')}")
                return frames
            if payload_len > self._limit:
                self.fault = NotAFrame(f"a frame of {payload_len:,} bytes, at most {self._limit:,} are taken (max_payload=)")
                return frames
            need = OVERHEAD + topic_len + payload_len
            stop = at + need
            if stop > end:
                break
            body = stop - 32
            # The plain digest in line: a call fewer for each frame.
            if keyed:
                right = hmac.compare_digest(digest(view[at:body]), data[body:stop])
            else:
                right = sha256(view[at:body]).digest() == data[body:stop]
            if not right:
                self.fault = WrongDigest(status if kind == REPLY else 0)
                return frames
            start = at + 32
            split = start + topic_len
            add(make(frame, (kind, status, key, id, data[start:split], data[split:body])))
            at, need = stop, 32
        if at < end:
            self._pieces.append(data[at:] if at else data)
            self._have = end - at
            self._need = need
        return frames


def topic_bytes(topic: str) -> bytes:
    """The field of a topic or a pattern. Whether it is a valid one the gateway says."""
    encoded = topic.encode()
    if len(encoded) > 255:
        raise ValueError(f"a topic has at most 255 bytes, this one has {len(encoded)}")
    return encoded

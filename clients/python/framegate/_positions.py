"""What a subscriber's connection knows: patterns, and of a durable one where it is. Pure, as ``_core`` is."""

from __future__ import annotations

import datetime
import re
from collections import deque
from typing import NamedTuple, Protocol, Union

from . import _wire as wire
from ._core import TOPICS_REMEMBERED, ends_all, text
from ._wire import Frame, Status
from .errors import Closed, FramegateError, Malformed, Rejected

Start = Union[str, int, datetime.datetime, datetime.timedelta]

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SEQUENCE = re.compile(r"^(position|oldest):\s*(\d+)", re.MULTILINE)

#: The id of SUBSCRIBEs, each numbered on from it, and of ACKs that want a reply.
SUBSCRIBE_ID = 0x2D5B_90E1_77C4_0000
ACK_ID = 0x2D5B_90E1_77C5_0000


class Acknowledges(Protocol):
    def _acknowledge(self, sequence: int) -> None: ...


class Message:
    """A frame of a topic that is subscribed to; its digest was right.

    ``topic`` is text, ``key`` and ``id`` are numbers of 64 bits as its publisher chose them, ``payload`` is bytes.
    ``sequence`` is its place in the store where the subscription is durable or a replay, else ``None``.
    """

    __slots__ = ("_subscription", "id", "key", "payload", "sequence", "topic")

    def __init__(
        self,
        topic: str,
        key: int,
        id: int,
        payload: bytes,
        sequence: int | None = None,
        subscription: Acknowledges | None = None,
    ) -> None:
        self.topic = topic
        self.key = key
        self.id = id
        self.payload = payload
        self.sequence = sequence
        self._subscription = subscription

    def ack(self) -> None:
        """This message and all before it are done: they do not come again.

        It is sent with the next ones, within a second or so; :meth:`Gate.flush` waits until it is on disk.
        """
        if self._subscription is None or self.sequence is None:
            raise FramegateError("only messages of a durable subscription are acknowledged")
        self._subscription._acknowledge(self.sequence)

    def __repr__(self) -> str:
        payload = self.payload if len(self.payload) <= 32 else self.payload[:32] + b"..."
        sequence = "" if self.sequence is None else f", sequence={self.sequence}"
        return f"Message(topic={self.topic!r}, key={self.key}, id={self.id}, payload={payload!r}{sequence})"


class Gap(NamedTuple):
    """Frames that a subscriber missed: how many (``None`` where nobody knows), and why."""

    frames: int | None
    reason: str


def start_line(start: Start) -> str:
    """``from:`` as the protocol has it."""
    if isinstance(start, bool):
        raise TypeError("start= is text, a sequence, a datetime or a timedelta")
    if isinstance(start, int):
        return f"seq {start}"
    if isinstance(start, datetime.datetime):
        if start.tzinfo is None:
            raise ValueError("start= wants a datetime with a time zone")
        utc = start.astimezone(datetime.timezone.utc).replace(tzinfo=None)
        return f"time {utc.isoformat(timespec='microseconds')}Z"
    if isinstance(start, datetime.timedelta):
        if start < datetime.timedelta(0):
            raise ValueError("start= as a timedelta says how long ago")
        return f"ago {start.total_seconds() * 1000:.0f}ms"
    if "\n" in start:
        raise ValueError("start= is one line")
    if start in ("new", "oldest") or start.split(" ")[0] in ("seq", "time", "ago"):
        return start
    raise ValueError(f"start={start!r}: expected 'new', 'oldest', 'seq N', 'time ...', 'ago 2h', or a number or time")


class SubscriberCore:
    """The state of one subscription.

    Of a durable one ``acked <= delivered`` holds on each connection of what is *sent*: a gateway takes an ACK for what it
    has not delivered for a broken client, and after a reconnect it delivers anew.
    """

    def __init__(
        self,
        secret: bytes | None,
        patterns: tuple[str, ...],
        owner: Acknowledges,
        *,
        durable: str | None,
        start: Start | None,
        window: int,
        expire: str | None,
        reset: bool,
    ) -> None:
        if not patterns:
            raise ValueError("subscribe to at least one pattern")
        if durable is not None and not _NAME.fullmatch(durable):
            raise ValueError("a durable name is 1 to 64 of A-Z a-z 0-9 . _ -")
        if window < 1:
            raise ValueError("a window has at least 1 frame")
        self.digest = wire.digest_of(secret)
        self.patterns = tuple(wire.topic_bytes(pattern) for pattern in patterns)
        self.durable = durable
        self.window = window
        self.messages: deque[Message] = deque()
        #: Bytes of the payloads in ``messages``.
        self.queued = 0
        self.gaps: list[Gap] = []
        #: Where the gateway said that it begins, and the oldest that it has.
        self.position: int | None = None
        self.oldest: int | None = None
        self.confirmed = 0
        #: Whether anything came on this connection that shows that the subscription works.
        self.progress = False
        self._owner = owner
        self._start = None if start is None else start_line(start)
        self._expire = expire
        self._reset = reset
        self._is_replay = durable is None and start is not None
        self._topics: dict[bytes, str] = {}
        self._sequence: int | None = None
        self._acked = -1
        self._ack_sent = -1
        self._delivered = -1
        self._connected_delivered = -1
        self._ack_asked = 0
        self._ack_done = 0
        #: Why the gateway closes, while it does.
        self._last_word = ""

    def _lines(self) -> bytes:
        lines = []
        if self.durable is not None:
            lines.append(f"durable: {self.durable}")
        if self._is_replay and self._delivered >= 0:
            lines.append(f"from: seq {self._delivered + 1}")
        elif self._start is not None:
            lines.append(f"from: {self._start}")
        if self.durable is not None:
            lines.append(f"window: {self.window}")
            if self._expire is not None:
                lines.append(f"expire: {self._expire}")
            if self._reset:
                lines.append("reset: yes")
        return "".join(line + "\n" for line in lines).encode()

    def greet(self) -> bytes:
        """The SUBSCRIBEs of a new connection, each of which is confirmed."""
        lines = self._lines()
        self.confirmed = 0
        self.progress = False
        if self.durable is not None:
            # They come again.
            self.messages.clear()
            self.queued = 0
        self._sequence = None
        self._connected_delivered = -1
        self._ack_sent = -1
        return b"".join(
            wire.encode(self.digest, wire.SUBSCRIBE, pattern, lines, id=SUBSCRIBE_ID + n, flags=wire.WANT_REPLY)
            for n, pattern in enumerate(self.patterns)
        )

    @property
    def is_confirmed(self) -> bool:
        """Whether every pattern is, on this connection."""
        return self.confirmed == len(self.patterns)

    def take(self, frames: list[Frame]) -> FramegateError | None:
        """Queues what came. Returns what ends the subscription."""
        topics, add, owner = self._topics, self.messages.append, self._owner
        sequence, queued = self._sequence, 0
        durable = owner if self.durable is not None else None
        for kind, status, key, id, topic_field, payload in frames:
            if kind == wire.DATA:
                topic = topics.get(topic_field)
                if topic is None:
                    topic = self._remember(topic_field)
                if sequence is None:
                    add(Message(topic, key, id, payload))
                    queued += len(payload)
                else:
                    self._delivered = self._connected_delivered = sequence
                    if sequence > self._acked:
                        add(Message(topic, key, id, payload, sequence, durable))
                        queued += len(payload)
                    sequence += 1
            elif kind != wire.REPLY:
                return Malformed(f"a frame of kind {kind} to a subscriber")
            elif status == Status.POSITION:
                sequence = key
            else:
                fault = self._reply(status, key, id, text(payload))
                if fault is not None:
                    return fault
        self._sequence = sequence
        self.queued += queued
        self.progress |= queued > 0 or self.is_confirmed
        return None

    def _remember(self, field: bytes) -> str:
        if len(self._topics) >= TOPICS_REMEMBERED:
            self._topics.clear()
        topic = self._topics[field] = text(field)
        return topic

    def _reply(self, status: int, key: int, id: int, reason: str) -> FramegateError | None:
        if status == Status.GAP:
            self.gaps.append(Gap(None if key == wire.U64_MAX else key, reason or "the subscriber was too slow"))
        elif status in (Status.SLOW, Status.CLOSING):
            self._last_word = reason
        elif status >= 16:
            return ends_all(status, reason) or Closed(f"{Status.name_of(status)}: {reason}")
        elif SUBSCRIBE_ID <= id < SUBSCRIBE_ID + len(self.patterns):
            if status != Status.OK:
                return Rejected(status, reason)
            self.confirmed += 1
            self._reset &= not self.is_confirmed
            found = dict(_SEQUENCE.findall(reason))
            if "position" in found:
                self.position = int(found["position"])
            if "oldest" in found:
                self.oldest = int(found["oldest"])
        elif ACK_ID < id <= ACK_ID + self._ack_asked:
            if status != Status.OK:
                return Rejected(status, reason)
            self._ack_done = max(self._ack_done, id - ACK_ID)
        elif status == Status.REJECTED and id == 0:
            return Rejected(status, reason)  # a reload of the access file took the pattern away
        return None

    # Acknowledging

    def acknowledge(self, sequence: int) -> bool:
        """Whether enough is done that the gateway should be told without being waited for."""
        self._acked = max(self._acked, sequence)
        return self._acked - self._ack_sent >= max(self.window // 4, 1)

    def _ackable(self) -> int:
        return min(self._acked, self._connected_delivered)

    def ack_frame(self) -> bytes:
        """The ACK that is due, or nothing."""
        ackable = self._ackable()
        if ackable <= self._ack_sent:
            return b""
        self._ack_sent = ackable
        return wire.encode(self.digest, wire.ACK, key=ackable)

    def ack_and_ask(self) -> tuple[int, bytes]:
        """An ACK that is answered when the position is on disk, and its ticket for :meth:`is_on_disk`."""
        self._ack_asked += 1
        ackable = self._ackable()
        if ackable < 0:
            self._ack_done = self._ack_asked
            return self._ack_asked, b""
        self._ack_sent = ackable
        id = ACK_ID + self._ack_asked
        return self._ack_asked, wire.encode(self.digest, wire.ACK, key=ackable, id=id, flags=wire.WANT_REPLY)

    @property
    def awaits_ackable(self) -> bool:
        """Whether more is done than this connection has delivered again, so that it cannot be told yet."""
        return self._acked > self._connected_delivered

    def is_on_disk(self, ticket: int) -> bool:
        """Whether that ACK, or a later one, was answered."""
        return self._ack_done >= ticket

    def next_message(self) -> Message | None:
        """The next one that is here."""
        if not self.messages:
            return None
        message = self.messages.popleft()
        self.queued -= len(message.payload)
        return message

    def lost(self, why: str) -> None:
        """The connection has ended; another follows."""
        why, self._last_word = self._last_word or why, ""
        if self.durable is None and not self._is_replay and self.progress:
            self.gaps.append(Gap(None, f"the connection was lost: {why}"))

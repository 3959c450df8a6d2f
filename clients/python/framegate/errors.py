"""What can go wrong, by name."""

from __future__ import annotations

from ._wire import Status


class FramegateError(Exception):
    """Everything that this package raises on its own account."""


class Rejected(FramegateError):
    """The gateway, a handler or a sink refused a frame.

    ``status`` is the :class:`Status` of the reply, ``reason`` its text; it stays refused if it is sent again.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason

    def __str__(self) -> str:
        return f"{Status.name_of(self.status)}: {self.reason}" if self.reason else Status.name_of(self.status)


class Busy(FramegateError):
    """There was no room for a frame (``--overflow reject``), or a handler said so: send it again later.

    A handler raises it to say the same.
    """


class Duplicate(FramegateError):
    """The very bytes were accepted before, so there is no answer. ``publish`` raises it where ``strict=True``."""


class Unauthorized(FramegateError):
    """The gateway does not let this connection in: a wrong token, secret or certificate."""


class TimedOut(FramegateError, TimeoutError):
    """A wait had its time. What was waited for may still happen."""


class Closed(FramegateError):
    """The connection is closed, by this program or because the gateway is gone for good."""


class Malformed(FramegateError):
    """What came is not what a gateway sends (a wrong digest, another protocol), or it said so of what was sent."""

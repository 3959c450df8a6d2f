"""Framegate: verified frames in, in order out.

    import framegate

    with framegate.connect("127.0.0.1:7450") as gate:
        gate.publish("orders.eu", b"hello", key=7).result()
        thumbnail = gate.call("pictures", image, timeout=10)

:mod:`framegate.aio` has the same names for asyncio, :mod:`framegate.handler` is what ``framegate serve --handler`` starts,
and ``python -m framegate`` runs the program.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ._gate import Future, Gate
from ._options import PATIENCE, RETRY, TIMEOUT, options
from ._positions import Gap, Message
from ._subscription import Subscription
from ._wire import RECEIVED_MAX, Reply, Status
from .errors import (
    Busy,
    Closed,
    Duplicate,
    FramegateError,
    Malformed,
    Rejected,
    TimedOut,
    Unauthorized,
)

if TYPE_CHECKING:
    from ._options import Tls

__all__ = [
    "Busy",
    "Closed",
    "Duplicate",
    "FramegateError",
    "Future",
    "Gap",
    "Gate",
    "Malformed",
    "Message",
    "Rejected",
    "Reply",
    "Status",
    "Subscription",
    "TimedOut",
    "Unauthorized",
    "connect",
]


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
) -> Gate:
    """Connects to a gateway at ``"HOST:PORT"``, and returns when it has answered.

    ``tls=True`` uses TLS with the certificates that the system trusts (or takes an ``ssl.SSLContext``); ``ca`` is a PEM file
    of those to trust instead, ``cert`` and ``key`` are the client's own, ``server_name`` is the name in the server's
    certificate where it is not the host. ``name`` and ``token`` say who this is (``serve --access``); ``secret`` is the
    listener's (``--secret-file``). A gateway reads a file without its last newline, so strip it.

    ``timeout`` is in seconds: how long a wait takes at most unless it says otherwise; after twice as long without a word,
    not even to a PING, the gateway is taken for gone. ``window`` frames have no reply at most. For ``retry`` seconds a
    connection that is lost is made again (0: never); what had no reply is sent again, the same bytes, in order. Where nobody
    listens yet, it tries again for ``patience`` seconds. A received payload has at most ``max_payload`` bytes.
    """
    return Gate(
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

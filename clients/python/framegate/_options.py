"""How a connection is made: addresses, TLS, tokens, times. Both sides, blocking and asyncio, are told the same."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Union

from . import _wire as wire
from ._core import OWN_ID
from .errors import FramegateError

if TYPE_CHECKING:
    import ssl

    Tls = Union[bool, ssl.SSLContext, None]

#: 30 s: how long a wait takes at most, and how long a gateway may say nothing, not even to a PING.
TIMEOUT = 30.0
#: 60 s without a gateway before a connection is given up, as ``framegate send`` does.
RETRY = 60.0
#: 3 s for a gateway that was started a moment ago, as for `framegate send`, and 0.05 s between attempts.
PATIENCE, ATTEMPT_EVERY = 3.0, 0.05
#: 20 s without a word before a PING, so that a gateway that closes idle connections sees that this one is meant to stay.
PING_EVERY = 20.0


@dataclass(frozen=True)
class Options:
    """What :func:`framegate.connect` was told."""

    host: str
    port: int
    timeout: float
    retry: float
    patience: float
    window: int
    max_payload: int
    secret: bytes | None
    name: str | None
    token: bytes | None
    tls: Any  # an ssl.SSLContext; the module may be missing
    server_name: str | None

    @property
    def address(self) -> str:
        """For messages."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def greeting(self, digest: wire.Digest) -> bytes:
        """The first frames of a connection: who it is, and a PING by whose answer a gateway is known."""
        auth = b""
        if self.token is not None:
            name = wire.topic_bytes(self.name or "")
            auth = wire.encode(digest, wire.AUTH, name, self.token, id=OWN_ID + 1, flags=wire.WANT_REPLY)
        # To a server of lines the payload is the end of a request that makes no sense: it answers at once.
        return auth + wire.encode(digest, wire.PING, payload=b"\r\n\r\n", id=OWN_ID, flags=wire.WANT_REPLY)

    def open(self, timeout: float) -> socket.socket:
        """A connected socket, after the handshake where there is TLS; blocks for at most about ``timeout``."""
        sock = socket.create_connection((self.host, self.port), max(timeout, 0.001))
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls is not None:
                sock = self.tls.wrap_socket(sock, server_hostname=self.server_name or self.host)
            sock.setblocking(False)
        except BaseException:
            sock.close()
            raise
        return sock


def options(
    address: str,
    *,
    tls: Tls,
    ca: str | os.PathLike[str] | None,
    cert: str | os.PathLike[str] | None,
    key: str | os.PathLike[str] | None,
    server_name: str | None,
    name: str | None,
    token: str | bytes | None,
    secret: str | bytes | None,
    timeout: float,
    window: int,
    retry: float,
    patience: float,
    max_payload: int,
) -> Options:
    """Checks them. What is wrong is a ``ValueError`` that says what would be right."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535 or not host:
        raise ValueError(f"address {address!r}: expected HOST:PORT, such as 127.0.0.1:7450 or [::1]:7450")
    if (name is None) != (token is None):
        raise ValueError("name= and token= belong together: the name of an identity, and its token")
    if timeout <= 0:
        raise ValueError("timeout= is in seconds, more than 0")
    return Options(
        host=host.strip("[]"),
        port=int(port),
        timeout=timeout,
        retry=retry,
        patience=patience,
        window=window,
        max_payload=max_payload,
        secret=secret.encode() if isinstance(secret, str) else secret,
        name=name,
        token=token.encode() if isinstance(token, str) else token,
        tls=_context(tls, ca, cert, key, server_name),
        server_name=server_name,
    )


def _context(tls: Tls, ca: Any, cert: Any, key: Any, server_name: str | None) -> Any:
    if key is not None and cert is None:
        raise ValueError("key= is the private key of cert=, which is missing")
    if tls is False and (ca or cert or server_name):
        raise ValueError("ca=, cert=, key= and server_name= are for TLS, and tls=False says that there is none")
    if not tls and not (ca or cert or server_name):
        return None
    try:
        import ssl
    except ImportError:
        raise FramegateError("this Python has no ssl module, so it cannot connect with TLS") from None
    if isinstance(tls, ssl.SSLContext):
        if ca or cert:
            raise ValueError("an SSLContext brings its own certificates: give either that, or ca= and cert=")
        return tls
    context = ssl.create_default_context(cafile=os.fspath(ca) if ca is not None else None)
    if cert is not None:
        context.load_cert_chain(os.fspath(cert), os.fspath(key) if key is not None else None)
    return context

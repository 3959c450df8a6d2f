"""TLS, against a server of Python's own, with certificates made for the test."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import tempfile
import unittest
from pathlib import Path

import framegate
from framegate import Closed, Status, Unauthorized
from framegate import _wire as wire
from framegate.aio import connect

from .support import Case, Peer, Server, needs


def echo(peer: Peer) -> None:
    """Answers each frame with its payload, and each SUBSCRIBE with a frame of 3 MB."""
    while True:
        frame = peer.next()
        peer.reply(frame.id, payload=frame.payload if frame.kind == wire.DATA else b"")
        if frame.kind == wire.SUBSCRIBE:
            peer.send(wire.DATA, "a", bytes(3_000_000))


def refuse(peer: Peer) -> None:
    """What a gateway without TLS does with a handshake."""
    peer.sock.recv(1000)
    peer.reply(0, Status.MALFORMED, b"not a frame")


class Tls(Case, unittest.IsolatedAsyncioTestCase):
    @classmethod
    def setUpClass(cls) -> None:
        openssl = needs("openssl")
        cls.home = Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, cls.home)
        for name in ("server", "client", "stranger"):
            command = f"{openssl} req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={name}"
            subject = "subjectAltName=DNS:gate.test" if name == "server" else f"subjectAltName=DNS:{name}.test"
            files = ["-addext", subject, "-keyout", cls.home / f"{name}.key", "-out", cls.home / f"{name}.pem"]
            subprocess.run([*command.split(), *files], check=True, capture_output=True)

    home: Path

    def tls_server(self, client: bool = False) -> Server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.home / "server.pem", self.home / "server.key")
        if client:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.home / "client.pem")
        return self.server(echo, tls=context)

    def test_large_and_small_both_ways(self) -> None:
        server = self.tls_server()
        with framegate.connect(server.address, ca=self.home / "server.pem", server_name="gate.test") as gate:
            for size in (0, 1, 17_000, 2_000_000):
                self.assertEqual(gate.call("a", bytes(size)), bytes(size))
            futures = list(gate.publish_many(("a", b"%d" % n) for n in range(5000)))
            self.assertEqual([f.result().payload for f in futures], [b"%d" % n for n in range(5000)])
            self.assertEqual(len(gate.subscribe("a").next().payload), 3_000_000)

    async def test_for_asyncio(self) -> None:
        server = self.tls_server(client=True)
        files = {"cert": self.home / "client.pem", "key": self.home / "client.key"}
        async with connect(server.address, ca=self.home / "server.pem", server_name="gate.test", **files) as gate:
            self.assertEqual(await gate.call("a", bytes(2_000_000)), bytes(2_000_000))
            messages = await gate.subscribe("a")
            self.assertEqual(len((await messages.next()).payload), 3_000_000)
        with self.assertRaises(Unauthorized):
            await connect(server.address, tls=True, server_name="gate.test")

    def test_who_is_not_trusted_is_unauthorized(self) -> None:
        server = self.tls_server()
        with self.assertRaisesRegex(Unauthorized, "certificate"):
            framegate.connect(server.address, tls=True, server_name="gate.test")
        with self.assertRaises(Unauthorized):
            framegate.connect(server.address, ca=self.home / "stranger.pem", server_name="gate.test")
        with self.assertRaises(Unauthorized):
            framegate.connect(server.address, ca=self.home / "server.pem", server_name="other.test")

    def test_a_client_without_the_right_certificate(self) -> None:
        server = self.tls_server(client=True)
        more = {"ca": self.home / "server.pem", "server_name": "gate.test"}
        files = {"cert": self.home / "client.pem", "key": self.home / "client.key"}
        with framegate.connect(server.address, **more, **files) as gate:  # type: ignore[arg-type]
            self.assertEqual(gate.call("a", b"x"), b"x")
        wrong = {"cert": self.home / "stranger.pem", "key": self.home / "stranger.key"}
        for given in ({}, wrong):
            with self.assertRaises((Unauthorized, Closed)):
                framegate.connect(server.address, **more, **given, retry=0)  # type: ignore[arg-type]

    def test_one_side_speaks_tls_and_the_other_does_not(self) -> None:
        with self.assertRaises((Unauthorized, Closed)):
            framegate.connect(self.server(refuse).address, tls=True, timeout=5)
        with self.assertRaises((framegate.Malformed, Closed)):
            framegate.connect(self.tls_server().address, retry=0)

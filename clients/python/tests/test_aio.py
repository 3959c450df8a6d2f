"""The same for asyncio."""

from __future__ import annotations

import asyncio
import unittest
from typing import Any

import framegate
from framegate import Busy, Closed, Malformed, Rejected, Status, TimedOut, Unauthorized
from framegate import _wire as wire
from framegate.aio import connect

from .support import Case, Peer, until
from .test_trouble import WAITING


class Aio(Case, unittest.IsolatedAsyncioTestCase):
    async def test_each_frame_has_its_reply_and_its_subscriber(self) -> None:
        gateway = self.gateway()
        async with connect(gateway.address) as gate:
            messages = await gate.subscribe("orders.*")
            future = await gate.publish("orders.eu", b"hello", key=7, id=5)
            assert future is not None
            self.assertEqual(await future, (Status.OK, b""))
            message = await messages.next()
            self.assertEqual((message.topic, message.key, message.id, message.payload), ("orders.eu", 7, 5, b"hello"))
            self.assertIsNone(await gate.publish("orders.us", b"plain", reply=False))
            async for message in messages:
                self.assertEqual(message.payload, b"plain")
                break
            with self.assertRaises(TimedOut):
                await messages.next(timeout=0.05)
            refused = await gate.publish("a..b", b"")
            assert refused is not None
            with self.assertRaises(Rejected):
                await refused
            with self.assertRaises(Rejected):
                await gate.subscribe("a.>.b")
            await messages.close()
            self.assertEqual([m async for m in messages], [])
        gate = await connect(gateway.address)
        await gate.close()
        with self.assertRaises(Closed):
            await gate.publish("a", b"")

    async def test_many_keep_their_order_and_a_slow_reader_gets_all(self) -> None:
        gateway = self.gateway()
        async with connect(gateway.address, window=100) as gate:
            messages = await gate.subscribe(">")
            sizes = [0, 1, 100, 70_000, 300_000, 3_000_000, 17] * 3 + [40] * 20_000

            async def items() -> Any:
                for n, size in enumerate(sizes):
                    yield "a", bytes(size), n

            async for future in gate.publish_many(items()):
                self.assertEqual((await future).status, 0)
            for n, size in enumerate(sizes):
                message = await messages.next()
                self.assertEqual((message.key, len(message.payload)), (n, size))

    async def test_a_hundred_callers_at_once(self) -> None:
        handler = self.script("""
            from framegate.handler import serve
            serve(lambda topic, key, payload: payload[::-1])
        """)
        gateway = self.gateway("--handler", handler, "--handlers", "2")
        async with connect(gateway.address) as gate:
            answers = await asyncio.gather(*(gate.call("a", b"<%d>" % n) for n in range(100)))
            self.assertEqual(answers, [(b"<%d>" % n)[::-1] for n in range(100)])

    async def test_paused_full_and_draining(self) -> None:
        go = self.folder() / "go"
        options = ["--handlers", "1", "--max-in-flight", "1", "--max-queued", "0", "--overflow", "reject"]
        gateway = self.gateway("--handler", self.script(WAITING), *options, "--drain", "20s")
        async with connect(gateway.address) as gate:
            first = await gate.publish("a", str(go).encode())
            with self.assertRaises(Busy):
                await gate.call("a", str(go).encode())
            gateway.ctl("pause")
            with self.assertRaises(TimedOut):
                await gate.call("a", b"", timeout=0.1)
            self.assertEqual(gate.pending, 1)
            gateway.ctl("resume")
            gateway.process.terminate()
            until(lambda: any("draining" in line for line in gateway.log))
            asyncio.get_running_loop().call_later(0.3, go.touch)
            with self.assertRaises(Closed):
                await gate.call("a", str(go).encode(), timeout=10)
            assert first is not None
            self.assertEqual((await first).payload, b"done")

    async def test_cancelled_it_is_not_sent_again(self) -> None:
        gateway = self.gateway()
        async with connect(gateway.address) as gate:
            gateway.ctl("pause")
            call = asyncio.create_task(gate.call("a", b""))
            await asyncio.sleep(0.05)
            self.assertEqual(gate.pending, 1)
            call.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await call
            self.assertEqual(gate.pending, 0)
            gateway.ctl("resume")

    async def test_killed_and_started_again(self) -> None:
        gateway = self.gateway("--dedup", "1m")
        gaps: list[framegate.Gap] = []
        async with connect(gateway.address) as gate:
            messages = await gate.subscribe("a", on_gap=gaps.append)
            await gate.call("a", b"1")
            gateway.ctl("pause")
            futures = [await gate.publish("a", b"%d" % n) for n in range(2, 50)]
            gateway.kill()
            await asyncio.to_thread(self.gateway, listen=gateway.address)
            for future in futures:
                assert future is not None
                self.assertEqual((await future).status, Status.OK)
            self.assertEqual((await messages.next()).payload, b"1")
            while messages._generation < 2 or not messages._core.is_confirmed:
                await asyncio.sleep(0.01)
            await gate.call("a", b"last")
            got = [await messages.next()]
            while got[-1].payload != b"last":  # some of those before it may have come, too
                got.append(await messages.next())
            self.assertEqual([gap.frames for gap in gaps], [None])

    async def test_given_up(self) -> None:
        gateway = self.gateway()
        gate = await connect(gateway.address, retry=0.3)
        messages = await gate.subscribe("a")
        gateway.kill()
        with self.assertRaises(Closed):
            await gate.call("a", b"")
        with self.assertRaises(Closed):
            await messages.next()
        await gate.close()
        with self.assertRaises(Closed):
            await connect(gateway.address, patience=0.1)

    async def test_strangers(self) -> None:
        def broken(peer: Peer) -> None:
            peer.reply(peer.expect(wire.PING).id)
            sent = bytearray(wire.encode(wire.digest_of(None), wire.REPLY, id=peer.next().id))
            sent[-1] ^= 1
            peer.sock.sendall(sent)
            peer.next()

        gate = await connect(self.server(broken).address)
        with self.assertRaisesRegex(Malformed, "digest"):
            await gate.call("a", b"")
        await gate.close()

        def strict(peer: Peer) -> None:
            auth = peer.next()
            self.assertEqual((auth.kind, auth.topic, auth.payload), (wire.AUTH, b"pump", b"hush"))
            peer.reply(auth.id, Status.UNAUTHORIZED, b"wrong name or token")

        with self.assertRaises(Unauthorized):
            await connect(self.server(strict).address, name="pump", token="hush")

        def mute(peer: Peer) -> None:
            while peer.sock.recv(100):
                pass

        with self.assertRaises(TimedOut):
            await connect(self.server(mute).address, timeout=0.2)

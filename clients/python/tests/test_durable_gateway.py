"""Durable subscriptions against the real gateway, where it is one that has them."""

from __future__ import annotations

import datetime
import subprocess
import unittest

import framegate
from framegate import Closed
from framegate.__main__ import program
from framegate.aio import connect

from .support import Case


def has_durable() -> bool:
    """Programs before 1.1 of the protocol do not."""
    path = program()
    assert path is not None
    return "--durable" in subprocess.run([path, "tail", "--help"], capture_output=True, text=True, check=True).stdout


if has_durable():

    class Durable(Case, unittest.IsolatedAsyncioTestCase):
        def test_killed_in_the_middle_it_goes_on_where_it_was(self) -> None:
            store = ["--store", str(self.folder() / "store")]
            gateway = self.gateway(*store)
            with framegate.connect(gateway.address) as gate:
                for future in gate.publish_many((f"a.{n % 3}", b"%d" % n, n) for n in range(3000)):
                    future.result()
                messages = gate.subscribe("a.*", durable="billing", start="oldest", window=100)
                self.assertEqual((messages.position, messages.oldest), (1, 1))
                keys: list[int] = []
                while len(keys) < 1500:
                    keys.append((message := next(messages)).key)
                    message.ack()
                gate.flush()
                gateway.kill()
                self.gateway(*store, listen=gateway.address)
                while len(keys) < 3000:
                    keys.append((message := next(messages)).key)
                    message.ack()
                gate.flush()
                self.assertEqual(keys, list(range(3000)), "what was flushed does not come again")
                messages.close()
                future = gate.publish("a.1", b"next")
                assert future is not None
                future.result()
                self.assertEqual(gate.subscribe("a.*", durable="billing").next().payload, b"next")

        def test_what_was_not_acknowledged_comes_again(self) -> None:
            gateway = self.gateway("--store", str(self.folder() / "store"))
            with framegate.connect(gateway.address) as gate:
                for future in gate.publish_many([("a", b"%d" % n) for n in range(10)]):
                    future.result()
                with gate.subscribe("a", durable="x", start="oldest") as messages:
                    got = [messages.next() for _ in range(10)]
                    got[3].ack()
                with gate.subscribe("a", durable="x") as messages:
                    self.assertEqual([messages.next().payload for _ in range(6)], [b"%d" % n for n in range(4, 10)])
                newer = gate.subscribe("a", durable="x")
                with self.assertRaises(Closed):  # the newest has the name
                    older, newer = newer, gate.subscribe("a", durable="x")
                    while older.next(10):
                        pass
                newer.close()
                gate.forget("x")
                self.assertEqual(gate.subscribe("a", durable="x", start="oldest").next().payload, b"0")

        def test_replays(self) -> None:
            gateway = self.gateway("--store", str(self.folder() / "store"))
            now = datetime.datetime.now(datetime.timezone.utc)
            with framegate.connect(gateway.address) as gate:
                for future in gate.publish_many([("a", b"%d" % n) for n in range(10)]):
                    future.result()
                hour = datetime.timedelta(hours=1)
                for start, first in (("oldest", 1), (5, 5), ("seq 7", 7), (hour, 1), (now - hour, 1), ("ago 1h", 1)):
                    with gate.subscribe("a", start=start) as messages:  # type: ignore[arg-type]
                        self.assertEqual(messages.next().sequence, first)

        async def test_for_asyncio(self) -> None:
            gateway = self.gateway("--store", str(self.folder() / "store"))
            async with connect(gateway.address) as gate:
                async for future in gate.publish_many([("a", b"%d" % n) for n in range(500)]):
                    await future
                messages = await gate.subscribe("a", durable="x", start="oldest", window=50)
                for n in range(500):
                    message = await messages.next()
                    self.assertEqual(message.sequence, n + 1)
                    message.ack()
                await gate.flush()
                await messages.close()
                self.assertEqual((await gate.subscribe("a", durable="x")).position, 501)

"""Durable subscriptions, against a server that does what the protocol says of a gateway, and breaks where it is told to."""

from __future__ import annotations

import datetime
import socket
import threading
import time
import unittest

import framegate
from framegate import Closed, Gap, Rejected, Status
from framegate import _wire as wire
from framegate._positions import start_line
from framegate.aio import connect

from .support import Case, Peer, until


class Store:
    """Frames 1 to ``frames`` of topic ``a``, and one name's position in them."""

    def __init__(self, frames: int, hole: int = 0) -> None:
        self.frames = frames
        self.hole = hole  # this sequence is of another topic
        self.position = 1
        self.lines: list[str] = []
        self.patterns: list[bytes] = []
        self.acks: list[int] = []
        self.break_after: list[int] = []  # of each connection, how many frames it gets before it breaks
        self.early = 0  # ACKs of what was not delivered

    def serve(self, peer: Peer) -> None:
        subscribe = peer.expect(wire.SUBSCRIBE)
        self.lines.append(subscribe.payload.decode())
        self.patterns.append(subscribe.topic)
        peer.reply(subscribe.id, payload=f"position: {self.position}\noldest: 1\n".encode())
        window = int(dict(line.split(": ", 1) for line in self.lines[-1].splitlines()).get("window", 1000))
        last = min(self.frames, self.break_after.pop(0) + self.position - 1 if self.break_after else self.frames)
        at = self.position
        delivered = at - 1
        told = False
        reader = threading.Thread(target=self._acks, args=(peer, lambda: delivered), daemon=True)
        reader.start()
        while at <= last:
            if at == self.hole:
                at, told = at + 1, False
                continue
            until(lambda at=at: at - self.position < window or not reader.is_alive())
            if not reader.is_alive():
                return
            if not told:
                peer.reply(0, Status.POSITION, key=at)
                told = True
            delivered = at
            peer.send(wire.DATA, "a", b"%d" % at, id=at)
            at += 1
        if last < self.frames:
            until(lambda: self.acks and not time.sleep(0.05))
            peer.sock.shutdown(socket.SHUT_RDWR)
        reader.join()

    def _acks(self, peer: Peer, delivered: object) -> None:
        try:
            while True:
                frame = peer.expect(wire.ACK)
                if frame.key > delivered():  # type: ignore[operator]
                    self.early += 1
                self.acks.append(frame.key)
                self.position = max(self.position, frame.key + 1)
                if frame.id:
                    peer.reply(frame.id)
        except (EOFError, OSError):
            pass


class Durable(Case):
    def subscribe(self, store: Store, **more: object) -> tuple[framegate.Gate, framegate.Subscription]:
        server = self.server(lambda peer: self._either(store, peer))
        gate = framegate.connect(server.address)
        self.addCleanup(gate.close)
        return gate, gate.subscribe("a", durable="billing", **more)  # type: ignore[arg-type]

    @staticmethod
    def _either(store: Store, peer: Peer) -> None:
        """The first connection is the publisher's."""
        if peer.number == 0:
            while True:
                peer.reply(peer.expect(wire.PING).id)
        store.serve(peer)

    def test_lines_sequences_and_holes(self) -> None:
        store = Store(10, hole=4)
        gate, messages = self.subscribe(store, start="oldest", window=7, expire="2d", reset=True)
        self.assertEqual(store.lines, ["durable: billing\nfrom: oldest\nwindow: 7\nexpire: 2d\nreset: yes\n"])
        self.assertEqual((messages.position, messages.oldest), (1, 1))
        got = []
        for message in messages:
            got.append(message.sequence)
            self.assertEqual(message.payload, b"%d" % message.sequence)  # type: ignore[operator]
            message.ack()
            if message.sequence == 10:
                break
        self.assertEqual(got, [1, 2, 3, 5, 6, 7, 8, 9, 10])
        gate.flush()
        self.assertEqual((store.position, store.early), (11, 0))
        self.assertEqual(store.acks, sorted(store.acks))

    def test_what_was_not_acknowledged_comes_again_and_the_rest_does_not(self) -> None:
        store = Store(30)
        store.break_after = [20]
        _, messages = self.subscribe(store, start="oldest", reset=True)
        seen: list[int] = []
        while len(seen) < 20:
            message = messages.next()
            assert message.sequence is not None
            seen.append(message.sequence)
            if message.sequence == 10:
                message.ack()
        late = message  # acknowledged on the next connection, which has not delivered it yet
        until(lambda: store.acks)
        while seen[-1] != 30:
            message = messages.next()
            assert message.sequence is not None
            seen.append(message.sequence)
            if message.sequence == 11:
                late.ack()
        self.assertEqual(seen[:20], list(range(1, 21)))
        # From 11 on again; what had come before 20 was acknowledged may come, nothing behind it is missing.
        self.assertEqual(seen[20], 11)
        self.assertEqual(sorted(set(seen[20:]))[-10:], list(range(21, 31)))
        self.assertEqual(store.early, 0)
        self.assertIn("reset: yes", store.lines[0])
        self.assertNotIn("reset", store.lines[1])

    def test_flush_waits_for_the_disk_over_a_broken_connection(self) -> None:
        store = Store(10)
        store.break_after = [5]
        gate, messages = self.subscribe(store)
        for _ in range(5):
            messages.next().ack()
        gate.flush()
        self.assertEqual(store.position, 6)
        for _ in range(5):
            messages.next().ack()
        gate.flush()
        self.assertEqual(store.position, 11)

    def test_acks_are_sent_while_nobody_asks_for_more(self) -> None:
        store = Store(5)
        _, messages = self.subscribe(store)
        for _ in range(5):
            messages.next().ack()
        until(lambda: store.position == 6)
        self.assertLess(len(store.acks), 5 + 1)

    def test_closing_sends_them_as_well(self) -> None:
        store = Store(5)
        _, messages = self.subscribe(store)
        for _ in range(5):
            messages.next().ack()
        messages.close()
        until(lambda: store.position == 6)

    def test_a_replay_without_a_name_goes_on_where_it_was(self) -> None:
        store = Store(10)

        def serve(peer: Peer) -> None:
            if peer.number == 0:
                self._either(store, peer)
            subscribe = peer.expect(wire.SUBSCRIBE)
            store.lines.append(subscribe.payload.decode())
            first = 1 if peer.number == 1 else 4
            peer.reply(subscribe.id, payload=b"position: %d\noldest: 1" % first)
            peer.reply(0, Status.POSITION, key=first)
            for n in range(first, first + 3):
                peer.send(wire.DATA, "a", b"%d" % n)
            if peer.number == 1:
                until(lambda: len(got) == 3)
                return
            peer.expect(wire.ACK)

        got: list[int] = []
        gate = framegate.connect(self.server(serve).address)
        messages = gate.subscribe("a", start=datetime.timedelta(hours=2))
        while len(got) < 6:
            message = messages.next()
            assert message.sequence is not None
            got.append(message.sequence)
        self.assertEqual(got, [1, 2, 3, 4, 5, 6])
        self.assertEqual(store.lines, ["from: ago 7200000ms\n", "from: seq 4\n"])
        with self.assertRaises(framegate.FramegateError):
            message.ack()
        gate.close()

    def test_gaps_are_told_and_taken_is_the_end(self) -> None:
        def serve(peer: Peer) -> None:
            if peer.number == 0:
                self._either(Store(0), peer)
            peer.reply(peer.expect(wire.SUBSCRIBE).id, payload=b"position: 5\noldest: 5")
            peer.reply(0, Status.GAP, b"from 1 to 4", key=4)
            peer.reply(0, Status.GAP, b"from 7 to 9", key=2**64 - 1)
            peer.reply(0, Status.TAKEN, b"another one has it")
            peer.next()

        gaps: list[Gap] = []
        gate = framegate.connect(self.server(serve).address)
        messages = gate.subscribe("a", durable="x", on_gap=gaps.append)
        with self.assertRaisesRegex(Closed, "durable name"):
            next(messages)
        self.assertEqual(gaps, [Gap(4, "from 1 to 4"), Gap(None, "from 7 to 9")])
        gate.close()

    def test_a_gateway_that_knows_none_rejects_it(self) -> None:
        def serve(peer: Peer) -> None:
            if peer.number == 0:
                self._either(Store(0), peer)
            peer.reply(peer.expect(wire.SUBSCRIBE).id, Status.REJECTED, b"there is no store")
            peer.next()

        gate = framegate.connect(self.server(serve).address)
        with self.assertRaisesRegex(Rejected, "no store"):
            gate.subscribe("a", durable="x")
        gate.close()

    def test_forget(self) -> None:
        told: list[wire.Frame] = []

        def serve(peer: Peer) -> None:
            peer.reply(peer.expect(wire.PING).id)
            told.append(peer.expect(wire.UNSUBSCRIBE))
            peer.reply(told[0].id)
            peer.next()

        gate = framegate.connect(self.server(serve).address)
        gate.forget("billing")
        self.assertEqual(told[0].payload, b"durable: billing\n")
        gate.close()

    def test_names_and_starts_are_checked_here(self) -> None:
        gate, _ = self.subscribe(Store(0))
        for name in ("", "a b", "n" * 65, "ä", "a\nb"):
            with self.assertRaises(ValueError):
                gate.subscribe("a", durable=name)
        utc = datetime.timezone.utc
        for start, line in (
            (7, "seq 7"),
            ("ago 2h", "ago 2h"),
            (datetime.datetime(2026, 11, 29, 22, tzinfo=utc), "time 2026-11-29T22:00:00.000000Z"),
            (datetime.timedelta(seconds=1.5), "ago 1500ms"),
        ):
            self.assertEqual(start_line(start), line)  # type: ignore[arg-type]
        for wrong in ("yesterday", "oldest\nreset: yes", datetime.datetime(2026, 1, 1), datetime.timedelta(-1)):
            with self.assertRaises(ValueError):
                start_line(wrong)


class AioDurable(Case, unittest.IsolatedAsyncioTestCase):
    """The same for asyncio."""

    async def test_breaks_acks_and_flush_for_asyncio(self) -> None:
        store = Store(30)
        store.break_after = [20]
        server = self.server(lambda peer: Durable._either(store, peer))
        async with connect(server.address) as gate:
            messages = await gate.subscribe("a", durable="billing", start=1, window=50)
            seen: list[int] = []
            async for message in messages:
                assert message.sequence is not None
                seen.append(message.sequence)
                message.ack()
                if message.sequence == 30:
                    break
            await gate.flush()
            self.assertEqual(store.position, 31)
        self.assertEqual(list(dict.fromkeys(seen)), list(range(1, 31)))
        self.assertEqual(store.early, 0)
        self.assertEqual(store.lines[0], "durable: billing\nfrom: seq 1\nwindow: 50\n")

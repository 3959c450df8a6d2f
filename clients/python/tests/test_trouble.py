"""Gateways that are paused, full, draining, killed, or none."""

from __future__ import annotations

import hashlib
import json
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import framegate
from framegate import Busy, Closed, Malformed, Rejected, Status, TimedOut, Unauthorized
from framegate import _wire as wire

from .support import Case, Peer, until

#: Answers each frame when a file of its payload's name is there.
WAITING = """
import os, time
from framegate.handler import serve
def handle(topic, key, payload):
    while not os.path.exists(payload.decode()):
        time.sleep(0.005)
    return b"done"
serve(handle)
"""


class Calls(Case):
    def test_a_paused_gateway_is_timed_out_and_goes_on(self) -> None:
        gateway = self.gateway()
        with framegate.connect(gateway.address) as gate:
            gateway.ctl("pause")
            began = time.monotonic()
            with self.assertRaises(TimedOut) as caught:
                gate.call("a", b"", timeout=0.3)
            self.assertIsInstance(caught.exception, TimeoutError)
            self.assertLess(time.monotonic() - began, 5)
            self.assertEqual(gate.pending, 0)
            future = gate.publish("a", b"")
            assert future is not None
            with self.assertRaises(TimedOut):
                future.result(0.1)
            with self.assertRaises(TimedOut):
                gate.flush(0.1)
            gateway.ctl("resume")
            self.assertEqual(future.result().status, Status.OK)
            gate.call("a", b"")

    def test_a_full_window_waits_as_long_as_may_be(self) -> None:
        gateway = self.gateway()
        with framegate.connect(gateway.address, window=10) as gate:
            gateway.ctl("pause")
            for _ in range(10):
                gate.publish("a", b"")
            with self.assertRaises(TimedOut):
                gate.publish("a", b"", timeout=0.1)
            self.assertEqual(gate.pending, 10)
            gateway.ctl("resume")

    def test_a_full_gateway_is_busy(self) -> None:
        go = self.folder() / "go"
        options = ["--handlers", "1", "--max-in-flight", "1", "--max-queued", "0", "--overflow", "reject"]
        gateway = self.gateway("--handler", self.script(WAITING), *options)
        with framegate.connect(gateway.address) as gate:
            first = gate.publish("a", str(go).encode())
            assert first is not None
            with self.assertRaises(Busy):
                gate.call("a", str(go).encode())
            self.assertFalse(first.done())
            go.touch()
            self.assertEqual(first.result().payload, b"done")
            self.assertEqual(gate.call("a", str(go).encode()), b"done")

    def test_a_draining_gateway_is_closed_and_finishes_what_it_had(self) -> None:
        go = self.folder() / "go"
        gateway = self.gateway("--handler", self.script(WAITING), "--handlers", "1", "--drain", "20s")
        with framegate.connect(gateway.address, retry=2) as gate:
            first = gate.publish("a", str(go).encode())
            gate.subscribe("a").close()  # a later connection was served, so it has the frame
            gateway.process.send_signal(signal.SIGTERM)
            until(lambda: any("draining" in line for line in gateway.log))
            # It takes nothing more, and says so when it has finished what it had.
            threading.Timer(0.3, go.touch).start()
            with self.assertRaises(Closed):
                gate.call("a", str(go).encode(), timeout=10)
            assert first is not None
            self.assertEqual(first.result().payload, b"done")
            # Then nobody is there any more.
            with self.assertRaises((Closed, TimedOut)):
                gate.call("a", b"", timeout=0.3)

    def test_too_large_a_message_is_told_and_costs_no_other(self) -> None:
        gateway = self.gateway("--max-payload", "64KiB")
        with framegate.connect(gateway.address) as gate:
            messages = gate.subscribe("a")
            futures = [gate.publish("a", bytes(size), key=size) for size in (1, 2, 100_000, 3, 4_000_000, 4)]
            for size, future in zip((1, 2, 100_000, 3, 4_000_000, 4), futures):
                assert future is not None
                if size > 65536:
                    with self.assertRaises(Rejected) as caught:
                        future.result()
                    self.assertEqual(caught.exception.status, Status.TOO_LARGE)
                else:
                    self.assertIn(future.result().status, (Status.OK, Status.DUPLICATE))
            with self.assertRaises(Rejected):
                gate.call("a", bytes(70_000))
            keys = [messages.next().key for _ in range(4)]
            self.assertEqual(keys, [1, 2, 3, 4])

    def test_a_caller_that_goes_away_costs_nobody_anything(self) -> None:
        go = self.folder() / "go"
        gateway = self.gateway("--handler", self.script(WAITING), "--handlers", "1", "--max-in-flight", "1")
        with framegate.connect(gateway.address) as gate:
            gone = framegate.connect(gateway.address)
            for _ in range(5):
                gone.publish("a", str(go).encode())
            gone.close()
            with self.assertRaises(TimedOut):
                gate.call("a", str(go).encode(), timeout=0.2)
            go.touch()
            self.assertEqual(gate.call("a", str(go).encode()), b"done")


class Restarts(Case):
    def test_killed_and_started_again_under_load_nothing_is_lost_and_the_order_is_kept(self) -> None:
        store = self.folder() / "store"
        gateway = self.gateway("--store", str(store), "--dedup", "1m", "--store-rotate", "100ms")
        listen, frames, killed = gateway.address, 30_000, 3
        gateways = [gateway]
        gate = framegate.connect(listen, retry=60, window=500)

        def kill() -> None:
            for _ in range(killed):
                time.sleep(0.25)
                gateways[-1].kill()
                gateways.append(self.gateway("--store", str(store), "--dedup", "1m", listen=listen))

        killer = threading.Thread(target=kill)
        killer.start()
        told = 0
        for future in gate.publish_many(("load", b"%d" % n, n) for n in range(frames)):
            self.assertIn(future.result(60).status, (Status.OK, Status.DUPLICATE))
            told += 1
            if told % 500 == 0 and killer.is_alive():
                time.sleep(0.01)
        killer.join()
        gate.close()
        gateways[-1].stop()
        self.assertEqual(told, frames)
        # What was stored twice is the same frame again: the first of each are all, in order.
        self.assertEqual(list(dict.fromkeys(_keys(gateway.program, store))), list(range(frames)))

    def test_subscriptions_are_taken_up_again_and_the_gap_is_told(self) -> None:
        gateway = self.gateway()
        gaps: list[framegate.Gap] = []
        with framegate.connect(gateway.address) as gate:
            messages = gate.subscribe("a", on_gap=gaps.append)
            gate.publish("a", b"1")
            self.assertEqual(next(messages).payload, b"1")
            gateway.kill()
            waiting = threading.Thread(target=self.gateway, kwargs={"listen": gateway.address})
            waiting.start()
            got: list[bytes] = []
            reader = threading.Thread(target=lambda: got.append(messages.next(20).payload))
            reader.start()
            waiting.join()
            until(lambda: gaps)
            until(lambda: messages._core.is_confirmed and messages._sock is not None)
            gate.publish("a", b"2")
            reader.join()
            self.assertEqual(got, [b"2"])
            self.assertIsNone(gaps[0].frames)

    def test_a_gateway_that_stays_away_is_given_up(self) -> None:
        gateway = self.gateway()
        gate = framegate.connect(gateway.address, retry=0.3)
        messages = gate.subscribe("a")
        gateway.kill()
        future = gate.publish("a", b"")
        assert future is not None
        with self.assertRaisesRegex(Closed, "is gone"):
            future.result()
        with self.assertRaises(Closed):
            next(messages)
        gate.close()

    def test_without_retry_a_lost_connection_is_final(self) -> None:
        gateway = self.gateway()
        gate = framegate.connect(gateway.address, retry=0)
        gateway.kill()
        with self.assertRaises(Closed):
            gate.call("a", b"")
        gate.close()

    def test_what_had_no_reply_is_sent_again_the_same_bytes_in_order(self) -> None:
        got: list[list[wire.Frame]] = []

        def serve(peer: Peer) -> None:
            got.append([])
            peer.reply(peer.expect(wire.PING).id)
            while len(got[-1]) < 10:
                frame = peer.expect(wire.DATA)
                got[-1].append(frame)
                if peer.number:
                    peer.reply(frame.id)
            if peer.number == 0:
                # Two were taken, in any order, and then it dies.
                peer.reply(got[0][7].id)
                peer.reply(got[0][2].id)
                until(lambda: futures[2].done())
                peer.sock.shutdown(socket.SHUT_RDWR)

        server = self.server(serve)
        with framegate.connect(server.address) as gate:
            futures = [f for n in range(10) if (f := gate.publish("a", b"%d" % n, key=n)) is not None]
            futures += [f for n in range(10, 12) if (f := gate.publish("a", b"%d" % n, key=n)) is not None]
            for future in futures:
                future.result()
        left = [frame for n, frame in enumerate(got[0]) if n not in (2, 7)]
        self.assertEqual(got[1][:8], left)


class Strangers(Case):
    def test_a_wrong_token(self) -> None:
        access = self.folder() / "access.toml"
        token = hashlib.sha256(b"right").hexdigest()
        access.write_text(f'[who.pump]\ntoken-sha256 = "{token}"\npublish = ["plant.>"]\nsubscribe = ["plant.>"]\n')
        gateway = self.gateway("--access", str(access))
        with framegate.connect(gateway.address, name="pump", token="right") as gate:
            messages = gate.subscribe("plant.>")
            gate.publish("plant.flow", b"1")
            self.assertEqual(next(messages).payload, b"1")
            gate.flush()
            future = gate.publish("elsewhere", b"1")
            assert future is not None
            with self.assertRaisesRegex(Rejected, "may not publish"):
                future.result()
            with self.assertRaises(Rejected):
                gate.subscribe("elsewhere")
        for wrong in ({"name": "pump", "token": "wrong"}, {"name": "nobody", "token": "right"}, {}):
            with self.assertRaises(Unauthorized):
                framegate.connect(gateway.address, **wrong)  # type: ignore[arg-type]
        # One that is revoked later.
        with framegate.connect(gateway.address, name="pump", token=b"right") as gate:
            messages = gate.subscribe("plant.>")
            (access.parent / "next").write_text('revoked = ["pump"]\n' + access.read_text())
            (access.parent / "next").rename(access)
            gateway.ctl("reload")
            with self.assertRaises(Unauthorized):
                gate.call("plant.flow", b"1")
            with self.assertRaises(Unauthorized):
                next(messages)

    def test_a_wrong_digest_from_a_broken_server(self) -> None:
        def serve(peer: Peer) -> None:
            peer.reply(peer.expect(wire.PING).id)
            frame = peer.next()
            if frame.kind == wire.SUBSCRIBE:
                peer.reply(frame.id)
                sent = bytearray(wire.encode(wire.digest_of(None), wire.DATA, b"a", b"hello"))
            else:
                sent = bytearray(wire.encode(wire.digest_of(None), wire.REPLY, id=frame.id))
            sent[-1] ^= 1
            peer.sock.sendall(sent)
            peer.next()

        server = self.server(serve)
        gate = framegate.connect(server.address)
        messages = gate.subscribe("a")
        with self.assertRaisesRegex(Malformed, "digest"):
            next(messages)
        with self.assertRaisesRegex(Malformed, "digest"):
            gate.call("a", b"")
        with self.assertRaises(Malformed):
            gate.publish("a", b"")
        gate.close()

    def test_what_is_no_gateway(self) -> None:
        def http(peer: Peer) -> None:
            peer.sock.recv(100)
            peer.sock.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            peer.sock.recv(100)

        def mute(peer: Peer) -> None:
            while peer.sock.recv(100):
                pass

        def large(peer: Peer) -> None:
            peer.sock.sendall(wire.HEAD.pack(wire.MAGIC + wire.REPLY, 0, 0, 0, 2**31, 0, 0, 0, 0))
            peer.sock.recv(100)

        with self.assertRaisesRegex(Malformed, "not a frame"):
            framegate.connect(self.server(http).address)
        with self.assertRaises(TimedOut):
            framegate.connect(self.server(mute).address, timeout=0.3)
        with self.assertRaisesRegex(Malformed, "max_payload"):
            framegate.connect(self.server(large).address)
        with self.assertRaises((Closed, TimedOut)):
            framegate.connect(self.server(lambda peer: None).address, timeout=1, retry=0.5)

    def test_one_that_goes_silent_is_left_for_another_connection(self) -> None:
        def serve(peer: Peer) -> None:
            peer.reply(peer.expect(wire.PING).id)
            if peer.number == 0:
                peer.expect(wire.DATA)
                while True:
                    peer.next()  # and not a word
            peer.reply(peer.expect(wire.DATA).id)
            peer.next()

        server = self.server(serve)
        with self.assertLogs("framegate", "WARNING") as logged:
            gate = framegate.connect(server.address, timeout=0.4)
            future = gate.publish("a", b"")
            assert future is not None
            self.assertEqual(future.result(10).status, 0)
            gate.close()
        self.assertIn("said nothing", logged.output[0])


def _keys(program: str, store: Path) -> list[int]:
    command = [program, "tail", "--store", str(store), "load", "--format", "json"]
    lines = subprocess.run(command, capture_output=True, check=True, text=True, timeout=60).stdout
    return [json.loads(line)["key"] for line in lines.splitlines()]

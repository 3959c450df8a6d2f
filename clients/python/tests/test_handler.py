"""Programs that answer frames: good ones, and others."""

from __future__ import annotations

import os
import subprocess
import unittest

import framegate
from framegate import Busy, Rejected, Status
from framegate import _wire as wire

from .support import Case, until


class Serving(Case):
    def test_it_passes_replaces_refuses_and_says_later(self) -> None:
        handler = self.script("""
            import os, subprocess, sys
            from framegate.handler import Busy, Rejected, serve
            print("hello from the start", flush=True)
            def handle(topic, key, payload):
                print("a line on standard output", payload)
                os.system("echo of a child process; cat")
                if topic == "bad":
                    raise ValueError("not this one")
                if topic == "refused":
                    raise Rejected(3, "never")
                if topic == "busy":
                    raise Busy("later")
                if topic == "wrong":
                    return "text"
                if topic == "old":
                    return "new.topic", key + 1, payload[::-1]
                return payload.upper() or None
            serve(handle)
        """)
        gateway = self.gateway("--handler", handler, "--handlers", "1")
        with framegate.connect(gateway.address) as gate:
            messages = gate.subscribe(">")
            self.assertEqual(gate.call("good", b"hello"), b"HELLO")
            self.assertEqual(gate.call("good", b""), b"")
            large = b"a" * 3_000_000
            self.assertEqual(gate.call("good", large), large.upper())
            for topic, reason in (("bad", "not this one"), ("refused", "never"), ("wrong", "not str")):
                with self.assertRaises(Rejected) as caught:
                    gate.call(topic, b"")
                self.assertIn(reason, caught.exception.reason)
                self.assertEqual(caught.exception.status, Status.REJECTED)
            with self.assertRaisesRegex(Busy, "later"):
                gate.call("busy", b"")
            gate.call("old", b"abc", key=7)
            got = [messages.next() for _ in range(4)]
            self.assertEqual([m.topic for m in got], ["good", "good", "good", "new.topic"])
            self.assertEqual((got[3].key, got[3].payload), (8, b"cba"))
            log = "".join(gateway.log)
            for line in (
                "hello from the start",
                "a line on standard output",
                "of a child process",
                "ValueError: not this one",
            ):
                self.assertIn(line, log)
        self.assertEqual(gateway.stop(), 0)

    def test_coroutines_are_answered_as_they_end(self) -> None:
        handler = self.script("""
            import asyncio
            from framegate.handler import Busy, serve_async
            async def handle(topic, key, payload):
                await asyncio.sleep(0.3 if key == 0 else 0.001)
                if key == 13:
                    raise Busy()
                return str(key).encode()
            serve_async(handle)
        """)
        gateway = self.gateway("--handler", handler, "--handlers", "1", "--max-in-flight", "50")
        with framegate.connect(gateway.address) as gate:
            done: list[int] = []
            futures = []
            for key in range(40):
                future = gate.publish("a", b"", key=key)
                assert future is not None
                future.add_done_callback(lambda _, key=key: done.append(key))  # type: ignore[misc]
                futures.append(future)
            for key, future in enumerate(futures):
                if key == 13:
                    self.assertIsInstance(future.exception(), Busy)
                else:
                    self.assertEqual(future.result().payload, b"%d" % key)
            until(lambda: len(done) == 40)
            self.assertEqual(done[-1], 0, "nobody waits for the slow one")
        self.assertEqual(gateway.stop(), 0)

    def test_it_is_told_who_sent_a_frame(self) -> None:
        for serve, coroutine in (("serve", ""), ("serve_async", "async ")):
            handler = self.script(f"""
                from framegate.handler import sender, {serve}
                {coroutine}def handle(topic, key, payload):
                    return repr(sender()).encode()
                {serve}(handle)
            """)
            gateway = self.gateway("--handler", handler, "--handler-identity", "--handlers", "1")
            with framegate.connect(gateway.address) as gate:
                for _ in range(2):
                    self.assertRegex(gate.call("a").decode(), r"^Sender\(name='', address='127.0.0.1:\d+'\)$")

    def test_the_end_of_a_lease_is_told_and_not_answered(self) -> None:
        handler = self.script("""
            from framegate.handler import serve
            gone = []
            def dismissed(key):
                gone.append(key)
                if key == 1:
                    raise RuntimeError("about key 1")
            serve(lambda topic, key, payload: repr(gone).encode(), dismissed=dismissed)
        """)
        # The gateway's own end of a lease comes with --handler-by key: here a test stands for it.
        digest = wire.digest_of(None)
        calls = b"".join(
            [
                wire.encode(digest, wire.UNSUBSCRIBE, key=1),
                wire.encode(digest, wire.UNSUBSCRIBE, key=2),
                wire.encode(digest, wire.DATA, b"a", b"x", id=9),
            ]
        )
        done = subprocess.run(handler.split(), input=calls, capture_output=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        frames = wire.Decoder().feed(done.stdout)
        self.assertEqual([(f.kind, f.id, f.payload) for f in frames], [(wire.REPLY, 9, b"[1, 2]")])
        self.assertIn(b"about key 1", done.stderr)

    @unittest.skipUnless(hasattr(os, "openpty"), "no terminals here")
    def test_by_hand_it_says_what_it_is_for(self) -> None:
        handler = self.script("from framegate.handler import serve\nserve(lambda *_: None)\n")
        main, terminal = os.openpty()
        try:
            done = subprocess.run(handler.split(), stdin=terminal, capture_output=True, text=True, timeout=60)
        finally:
            os.close(main)
            os.close(terminal)
        self.assertEqual(done.returncode, 1)
        self.assertIn("framegate serve --handler starts it", done.stderr)


class Misbehaving(Case):
    """What a handler may do to itself, it does to no other frame."""

    def answers(self, body: str, *options: str, topic: str = "bad") -> Rejected:
        """What one frame of ``topic`` is told by a raw handler, while those of ``good`` are answered."""
        handler = self.script(f"""
            import os, sys, time
            from framegate import _wire as wire
            decoder, digest = wire.Decoder(), wire.digest_of(None)
            def say(id, payload=b"", kind=wire.REPLY):
                os.write(1, wire.encode(digest, kind, payload=payload, id=id))
            while data := os.read(0, 1 << 16):
                for frame in decoder.feed(data):
                    if frame.topic == b"good":
                        say(frame.id, b"good")
                    else:
                        {body}
        """)
        gateway = self.gateway("--handler", handler, "--handlers", "1", *options)
        with framegate.connect(gateway.address) as gate:
            self.assertEqual(gate.call("good", b""), b"good")
            with self.assertRaises(Rejected) as caught:
                gate.call(topic, b"x")
            self.assertEqual(gate.call("good", b""), b"good")
        return caught.exception

    def test_it_is_slow(self) -> None:
        why = self.answers("time.sleep(60)", "--handler-timeout", "3s")
        self.assertTrue(why.reason)

    def test_it_dies(self) -> None:
        self.assertTrue(self.answers("os._exit(3)").reason)

    def test_it_prints_among_its_answers(self) -> None:
        self.assertTrue(self.answers("os.write(1, b'hello\\n' * 20)").reason)

    def test_it_answers_for_another_id(self) -> None:
        self.assertTrue(self.answers("say(frame.id + 1000)").reason)

    def test_it_answers_with_a_wrong_digest(self) -> None:
        self.assertTrue(self.answers("os.write(1, wire.encode(lambda _: bytes(32), wire.REPLY, id=frame.id))").reason)

    def test_it_answers_twice(self) -> None:
        handler = self.script("""
            import os
            from framegate import _wire as wire
            decoder, digest = wire.Decoder(), wire.digest_of(None)
            while data := os.read(0, 1 << 16):
                for frame in decoder.feed(data):
                    os.write(1, wire.encode(digest, wire.REPLY, payload=frame.payload, id=frame.id) * 2)
        """)
        gateway = self.gateway("--handler", handler, "--handlers", "1")
        with framegate.connect(gateway.address) as gate:
            told = [gate.publish("a", b"%d" % n) for n in range(20)]
            for n, future in enumerate(told):
                assert future is not None
                # Each has one reply: its own answer, or that its handler is to blame.
                why = future.exception()
                if why is None:
                    self.assertEqual(future.result().payload, b"%d" % n)
                else:
                    self.assertIsInstance(why, Rejected)

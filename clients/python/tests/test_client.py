"""Publishing, calling and subscribing, blocking."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings

import framegate
from framegate import Closed, Duplicate, FramegateError, Rejected, Status, TimedOut

from .support import Case, until


class Publishing(Case):
    def test_each_frame_has_its_reply_and_its_subscriber(self) -> None:
        gateway = self.gateway()
        with framegate.connect(gateway.address) as gate:
            messages = gate.subscribe("orders.*")
            future = gate.publish("orders.eu", b"hello", key=7, id=5)
            assert future is not None
            self.assertEqual(future.result(), (Status.OK, b""))
            self.assertIsNone(future.exception())
            message = messages.next()
            self.assertEqual((message.topic, message.key, message.id, message.payload), ("orders.eu", 7, 5, b"hello"))
            self.assertIsNone(message.sequence)
            with self.assertRaises(FramegateError):
                message.ack()
            self.assertIn("orders.eu", repr(message))
            with self.assertRaises(TimedOut):
                messages.next(timeout=0.05)
            messages.close()
            self.assertEqual(list(messages), [])

    def test_what_has_no_reply_arrives_as_well(self) -> None:
        gateway = self.gateway()
        with framegate.connect(gateway.address) as gate:
            messages = gate.subscribe("a")
            for n in range(1000):
                self.assertIsNone(gate.publish("a", b"%d" % n, reply=False))
            self.assertEqual([next(messages).payload for _ in range(1000)], [b"%d" % n for n in range(1000)])

    def test_many_keep_their_order_and_every_size_arrives(self) -> None:
        gateway = self.gateway()
        with framegate.connect(gateway.address, window=100) as gate:
            messages = gate.subscribe("big", "small.>")
            payloads = [os.urandom(size) for size in (0, 1, 100, 70_000, 300_000, 5_000_000, 17) * 3]
            items = [("big" if len(p) > 1000 else "small.x", p, n) for n, p in enumerate(payloads)]
            replies = [future.result() for future in gate.publish_many(iter(items))]
            self.assertEqual([reply.status for reply in replies], [0] * len(items))
            got = [next(messages) for _ in items]
            self.assertEqual([(m.topic, m.payload, m.key) for m in got], items)

    def test_buffers_are_payloads_and_text_is_not(self) -> None:
        gateway = self.gateway()
        with framegate.connect(gateway.address) as gate:
            messages = gate.subscribe("a")
            for payload in (bytearray(b"abc"), memoryview(b"abc"), memoryview(bytearray(b"xabcx"))[1:4]):
                gate.publish("a", payload)
                self.assertEqual(next(messages).payload, b"abc")
            for wrong in ("abc", None, 7):
                with self.assertRaises(TypeError):
                    gate.publish("a", wrong)  # type: ignore[arg-type]
            for key in (-1, 2**64):
                with self.assertRaises(ValueError):
                    gate.publish("a", b"", key=key)
            with self.assertRaises(ValueError):
                gate.publish("t" * 256, b"")
            gate.publish("a", b"", key=2**64 - 1)
            self.assertEqual(next(messages).key, 2**64 - 1)

    def test_a_topic_that_is_none_is_rejected_with_the_reason(self) -> None:
        gateway = self.gateway()
        with framegate.connect(gateway.address) as gate:
            future = gate.publish("a..b", b"")
            assert future is not None
            with self.assertRaises(Rejected) as caught:
                future.result()
            self.assertEqual(caught.exception.status, Status.REJECTED)
            self.assertTrue(caught.exception.reason)
            self.assertIn("REJECTED: ", str(caught.exception))
            self.assertIsInstance(future.exception(), Rejected)
            with self.assertRaises(Rejected):
                gate.subscribe("a.>.b")
            with self.assertLogs("framegate", "WARNING") as logged:
                gate.publish("a b", b"")
                gate.flush()
                until(lambda: logged.output)
            self.assertIn("nobody asked", logged.output[0])

    def test_duplicates_are_replies_unless_they_are_asked_about(self) -> None:
        gateway = self.gateway("--dedup", "1m")
        with framegate.connect(gateway.address) as gate:
            for expected in (Status.OK, Status.DUPLICATE):
                future = gate.publish("a", b"x", id=1)
                assert future is not None
                self.assertEqual(future.result().status, expected)
            with self.assertRaises(Duplicate):
                future = gate.publish("a", b"x", id=1, strict=True)
                assert future is not None
                future.result()
            # Without an id of their own the same readings are two, on another connection, too.
            for _ in range(2):
                with framegate.connect(gateway.address) as other:
                    future = other.publish("a", b"x")
                    assert future is not None
                    self.assertEqual(future.result().status, Status.OK)

    def test_fragments_become_one_message(self) -> None:
        gateway = self.gateway()
        with framegate.connect(gateway.address) as gate, framegate.connect(gateway.address) as other:
            messages = gate.subscribe("orders")
            futures = [(gate, other)[n % 2].publish("orders", b"%d" % n, key=9, fragment=(n, 4)) for n in (2, 0, 3, 1)]
            self.assertEqual([f.result().status for f in futures if f], [0] * 4)
            message = next(messages)
            self.assertEqual((message.key, message.payload), (9, b"0123"))

    def test_callbacks_are_called_once_whether_somebody_waits_or_not(self) -> None:
        gateway = self.gateway()
        with framegate.connect(gateway.address) as gate:
            called: list[framegate.Future] = []
            future = gate.publish("a", b"")
            assert future is not None
            future.add_done_callback(called.append)
            until(lambda: called == [future])
            future.add_done_callback(called.append)
            self.assertEqual(called, [future, future])
            self.assertIn("status=0", repr(future))

    def test_an_id_in_use_is_refused(self) -> None:
        gateway = self.gateway()
        with framegate.connect(gateway.address) as gate:
            gateway.ctl("pause")
            first = gate.publish("a", b"", id=3)
            with self.assertRaises(ValueError):
                gate.publish("a", b"", id=3)
            gateway.ctl("resume")
            assert first is not None
            first.result()

    def test_a_secret(self) -> None:
        secret = self.folder() / "secret"
        secret.write_bytes(b"0123456789abcdef")
        gateway = self.gateway("--secret-file", str(secret))
        with framegate.connect(gateway.address, secret="0123456789abcdef") as gate:
            messages = gate.subscribe("a")
            gate.publish("a", b"x")
            self.assertEqual(next(messages).payload, b"x")
        for wrong in (None, b"0123456789abcdeX"):
            with self.assertRaises(framegate.Unauthorized):
                framegate.connect(gateway.address, secret=wrong, timeout=10)


class Threads(Case):
    def test_threads_share_a_connection(self) -> None:
        gateway = self.gateway()
        faults: list[BaseException] = []
        with framegate.connect(gateway.address, window=50) as gate:
            messages = gate.subscribe("t.>")

            def work(number: int) -> None:
                try:
                    for n in range(300):
                        if n % 10 == 0:
                            gate.call(f"t.{number}", b"%d" % n)
                        else:
                            gate.publish(f"t.{number}", b"%d" % n)
                    gate.flush()
                except BaseException as why:
                    faults.append(why)

            threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
            for thread in threads:
                thread.start()
            got: dict[str, list[int]] = {}
            for _ in range(8 * 300):
                message = messages.next()
                got.setdefault(message.topic, []).append(int(message.payload))
            for thread in threads:
                thread.join()
        self.assertEqual(faults, [])
        self.assertEqual(got, {f"t.{n}": list(range(300)) for n in range(8)})

    def test_close_wakes_those_who_wait(self) -> None:
        gateway = self.gateway()
        gate = framegate.connect(gateway.address)
        messages = gate.subscribe("a")
        gateway.ctl("pause")
        future = gate.publish("a", b"")
        assert future is not None
        told: list[object] = []
        threads = [
            threading.Thread(target=lambda: told.append(type(future.exception()))),
            threading.Thread(target=lambda: told.append(list(messages))),
        ]
        for thread in threads:
            thread.start()
        until(lambda: gate._wanted and not messages._pump.acquire(blocking=False), "both wait")
        gate.close()
        for thread in threads:
            thread.join(10)
        self.assertCountEqual(told, [Closed, []])
        with self.assertRaises(Closed):
            gate.publish("a", b"")
        with self.assertRaises(Closed):
            gate.subscribe("a")

    def test_the_child_of_a_fork_is_refused_and_the_parent_goes_on(self) -> None:
        gateway = self.gateway()
        with framegate.connect(gateway.address) as gate:
            messages = gate.subscribe("a")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # threads and fork
                child = os.fork()
            if child == 0:
                code = 1
                try:
                    gate.publish("a", b"from the child")
                except FramegateError as why:
                    try:
                        next(messages)
                    except FramegateError:
                        code = 0 if "fork" in str(why) else 2
                    # Another connection is the child's own.
                    with framegate.connect(gateway.address) as own:
                        own.publish("a", b"own")
                finally:
                    os._exit(code)
            self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
            self.assertEqual(next(messages).payload, b"own")
            future = gate.publish("a", b"from the parent")
            assert future is not None
            future.result()
            self.assertEqual(next(messages).payload, b"from the parent")

    def test_ctrl_c_ends_a_wait_and_the_connection_goes_on(self) -> None:
        gateway = self.gateway()
        with framegate.connect(gateway.address) as gate:
            messages = gate.subscribe("a")
            for wait in (lambda: next(messages), lambda: gate.call("a", b"")):
                gateway.ctl("pause")
                began = time.monotonic()
                interrupt = threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGINT])
                interrupt.start()
                with self.assertRaises(KeyboardInterrupt):
                    wait()
                self.assertLess(time.monotonic() - began, 5)
                gateway.ctl("resume")
            future = gate.publish("a", b"after")
            assert future is not None
            future.result()
            until(lambda: next(messages).payload == b"after")


class Connecting(Case):
    def test_nobody_is_there(self) -> None:
        with self.assertRaises(Closed) as caught:
            framegate.connect("127.0.0.1:1", patience=0)
        self.assertIn("cannot connect to 127.0.0.1:1", str(caught.exception))

    def test_one_that_is_started_a_moment_later_is_waited_for(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            listen = f"127.0.0.1:{free.getsockname()[1]}"
        starting = threading.Timer(0.3, self.gateway, kwargs={"listen": listen})
        starting.start()
        with framegate.connect(listen, patience=30) as gate:
            gate.call("a", b"")
        starting.join()

    def test_what_is_wrong_is_said(self) -> None:
        for address in ("", "localhost", "7450", ":7450", "host:port", "host:70000"):
            with self.assertRaisesRegex(ValueError, "HOST:PORT"):
                framegate.connect(address)
        for wrong in ({"name": "a"}, {"token": "t"}, {"key": "k"}, {"tls": False, "ca": "x"}, {"timeout": 0}, {"window": 0}):
            with self.assertRaises(ValueError):
                framegate.connect("127.0.0.1:1", **wrong)  # type: ignore[arg-type]

    def test_without_ssl_all_but_tls_works(self) -> None:
        gateway = self.gateway()
        text = """
import sys
sys.modules['ssl'] = None
import framegate, framegate.handler
with framegate.connect(sys.argv[1]) as gate:
    assert gate.publish('a', b'').result().status == 0
try:
    framegate.connect(sys.argv[1], tls=True)
except framegate.FramegateError as why:
    assert 'ssl' in str(why)
else:
    sys.exit('TLS without ssl')
"""
        subprocess.run([sys.executable, "-c", text, gateway.address], check=True, timeout=60)

    def test_the_program_runs_as_a_module(self) -> None:
        command = [sys.executable, "-m", "framegate"]
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=60)
        self.assertRegex(done.stdout, r"^framegate \d")
        done = subprocess.run([*command, "serve", "--listen", "nonsense"], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 2, done.stderr)

"""A gateway to talk to, and a server that says what a test wants."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import unittest
from pathlib import Path
from typing import Any, Callable

from framegate import _wire as wire
from framegate.__main__ import program

#: 30 s for what takes a moment: a machine may be busy.
PATIENCE = 30.0


def needs(tool: str) -> str:
    """Where it is; skips the test without it, but in CI."""
    path = shutil.which(tool)
    if path is None:
        if os.environ.get("FRAMEGATE_TOOLS_REQUIRED"):
            raise AssertionError(f"{tool} is missing")
        raise unittest.SkipTest(f"{tool} is missing")
    return path


def until(done: Callable[[], Any], what: str = "it") -> None:
    """Looks again and again, since nobody tells."""
    deadline = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < deadline, f"{what} did not happen within {PATIENCE:g} s"
        time.sleep(0.005)


class Gateway:
    """``framegate serve`` with these options, and its log."""

    def __init__(self, *args: str, listen: str = "127.0.0.1:0", cwd: str | None = None) -> None:
        path = program()
        assert path is not None, "FRAMEGATE names no program, and none is installed beside this Python"
        self.program = path
        self.log: list[str] = []
        command = [path, "serve", "--listen", listen, "--admin", "127.0.0.1:0", *args]
        env = {name: value for name, value in os.environ.items() if name != "RUST_LOG"}
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace", env=env, cwd=cwd
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.address = self.logged(r" listening on (\S+?),")
        self.admin = self.logged(r" ctl on http://(\S+?)/")

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)

    def logged(self, pattern: str) -> str:
        found: list[str] = []

        def look() -> bool:
            assert self.process.poll() is None, "it ended: " + "".join(self.log)
            found.extend(match[1] for line in list(self.log) if (match := re.search(pattern, line)))
            return bool(found)

        until(look, pattern)
        return found[0]

    def ctl(self, *verb: str) -> str:
        """``framegate ctl``."""
        command = [self.program, "ctl", "--admin", self.admin, *verb]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE).stdout

    def kill(self) -> None:
        """As a crash does."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Ends it; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.kill()
        self._reader.join(5)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return self.process.returncode


class Case(unittest.TestCase):
    """Gateways, scripts and servers of a test, which end with it."""

    def folder(self) -> Path:
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder, True)
        return Path(folder)

    def gateway(self, *args: str, **more: Any) -> Gateway:
        gateway = Gateway(*args, **more)
        self.addCleanup(gateway.stop)
        return gateway

    def script(self, text: str) -> str:
        """A ``--handler`` that runs this Python with the package under test."""
        path = self.folder() / "handler.py"
        package = str(Path(wire.__file__).parent.parent)
        path.write_text(f"import sys; sys.path.insert(0, {package!r})\n" + textwrap.dedent(text))
        return f"{sys.executable} {path}"

    def server(self, serve: Callable[[Peer], None], **more: Any) -> Server:
        server = Server(serve, **more)
        self.addCleanup(server.close)
        return server


class Peer:
    """One connection, as a gateway sees it."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.sock = sock
        self.number = number  # 0 for the first connection
        self._decoder = wire.Decoder()
        self._frames: list[wire.Frame] = []

    def next(self) -> wire.Frame:
        """The next frame; ``EOFError`` where the client has gone."""
        while not self._frames:
            data = self.sock.recv(1 << 16)
            if not data:
                raise EOFError
            self._frames = self._decoder.feed(data)
            assert self._decoder.fault is None, self._decoder.fault
        return self._frames.pop(0)

    def expect(self, kind: int) -> wire.Frame:
        """The next frame of this kind; a PING is answered meanwhile."""
        while (frame := self.next()).kind != kind:
            if frame.kind == wire.PING or frame.kind == wire.AUTH:
                self.reply(frame.id)
        return frame

    def send(self, kind: int, topic: str = "", payload: bytes = b"", **fields: int) -> None:
        self.sock.sendall(wire.encode(wire.digest_of(None), kind, topic.encode(), payload, **fields))

    def reply(self, id: int, status: int = 0, payload: bytes = b"", key: int = 0) -> None:
        self.send(wire.REPLY, payload=payload, id=id, status=status, key=key)


class Server:
    """Serves each connection on a thread of its own with a function, until the client goes away."""

    def __init__(self, serve: Callable[[Peer], None], tls: Any = None) -> None:
        self._serve = serve
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.faults: list[BaseException] = []
        self._threads: list[threading.Thread] = []
        self._peers: list[Peer] = []
        accepting = threading.Thread(target=self._accept, daemon=True)
        accepting.start()

    def _accept(self) -> None:
        number = 0
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._one, args=(sock, number), daemon=True)
            self._threads.append(thread)
            thread.start()
            number += 1

    def _one(self, sock: socket.socket, number: int) -> None:
        try:
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
            peer = Peer(sock, number)
            self._peers.append(peer)
            self._serve(peer)
        except (EOFError, OSError):
            pass
        except BaseException as why:
            self.faults.append(why)
        finally:
            sock.close()

    def close(self) -> None:
        """Ends it, and raises what went wrong in it."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for peer in self._peers:
            try:
                peer.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self._threads:
            thread.join(PATIENCE)
        if self.faults:
            raise self.faults[0]

"""How fast the package is, against a gateway of its own.

    python3 clients/python/bench/bench.py [--seconds 5] [--payload 256] [--rounds 3]

The program is the one that FRAMEGATE names, or that the wheel carries. Of each round the best and the median are printed,
frames a second or microseconds. What is received comes from `framegate send`, so that no other Python takes part.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import framegate
from framegate import _wire as wire
from framegate.__main__ import program
from framegate.aio import connect as aio_connect


@contextlib.contextmanager
def gateway(*args: str) -> Iterator[str]:
    """A gateway's address."""
    command = [str(program()), "serve", "--listen", "127.0.0.1:0", "--admin", "off", *args]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        found = re.search(r"listening on (\S+?),", line)
        if found:
            break
    else:
        sys.exit("the gateway did not start")
    try:
        yield found[1]
    finally:
        process.terminate()
        process.communicate()


def publish(address: str, payload: bytes, seconds: float) -> float:
    """Frames a second with replies: publish(), and a flush at the end."""
    with framegate.connect(address) as gate:
        frames, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            for _ in range(1000):
                gate.publish("bench.publish", payload)
            frames += 1000
        gate.flush()
        return frames / (time.perf_counter() - began)


def publish_many(address: str, payload: bytes, seconds: float) -> float:
    """The same with publish_many(), and each reply looked at."""
    end = time.perf_counter() + seconds

    def items() -> Iterator[tuple[str, bytes]]:
        while time.perf_counter() < end:
            for _ in range(1000):
                yield "bench.many", payload

    with framegate.connect(address) as gate:
        frames, began = 0, time.perf_counter()
        for future in gate.publish_many(items()):
            assert future.result().status == framegate.Status.OK
            frames += 1
        return frames / (time.perf_counter() - began)


async def _publish_aio(address: str, payload: bytes, seconds: float) -> float:
    end = time.perf_counter() + seconds

    def items() -> Iterator[tuple[str, bytes]]:
        while time.perf_counter() < end:
            for _ in range(1000):
                yield "bench.aio", payload

    async with aio_connect(address) as gate:
        frames, began = 0, time.perf_counter()
        async for future in gate.publish_many(items()):
            await future
            frames += 1
        return frames / (time.perf_counter() - began)


def publish_aio(address: str, payload: bytes, seconds: float) -> float:
    """The same for asyncio."""
    return asyncio.run(_publish_aio(address, payload, seconds))


def _sender(address: str, payload: bytes, frames: int, folder: Path) -> subprocess.Popen[bytes]:
    lines = folder / "lines"
    with lines.open("wb") as file:
        for _ in range(frames // 1000):
            file.write((payload + b"\n") * 1000)
    command = [str(program()), "send", "-q", "--to", address, "--topic", "bench.receive", str(lines)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def receive(address: str, payload: bytes, seconds: float) -> float:
    """Messages a second, digests checked, from the first to the last."""
    frames = int(seconds * 200_000) // 1000 * 1000
    with framegate.connect(address) as gate, tempfile.TemporaryDirectory() as folder:
        messages = gate.subscribe("bench.receive")
        sender = _sender(address, payload, frames, Path(folder))
        next(messages)
        began = time.perf_counter()
        for _ in range(frames - 1):
            next(messages)
        took = time.perf_counter() - began
        sender.wait()
        return (frames - 1) / took


async def _receive_aio(address: str, payload: bytes, seconds: float) -> float:
    frames = int(seconds * 200_000) // 1000 * 1000
    async with aio_connect(address) as gate:
        messages = await gate.subscribe("bench.receive")
        with tempfile.TemporaryDirectory() as folder:
            sender = _sender(address, payload, frames, Path(folder))
            await messages.next()
            left, began = frames - 1, time.perf_counter()
            async for _ in messages:
                left -= 1
                if not left:
                    break
            took = time.perf_counter() - began
            sender.wait()
            return (frames - 1) / took


def receive_aio(address: str, payload: bytes, seconds: float) -> float:
    """The same for asyncio."""
    return asyncio.run(_receive_aio(address, payload, seconds))


def call(address: str, payload: bytes, seconds: float) -> float:
    """Microseconds of a call(), one after the other: the median."""
    took = []
    with framegate.connect(address) as gate:
        end = time.perf_counter() + seconds
        while (began := time.perf_counter()) < end:
            gate.call("bench.call", payload)
            took.append(time.perf_counter() - began)
    return statistics.median(took) * 1e6


def echo(address: str, payload: bytes, seconds: float) -> float:
    """Microseconds of the gateway's own echo: a blocking socket, the same bytes, nothing looked at: the median."""
    host, port = address.rsplit(":", 1)
    frame = wire.encode(wire.digest_of(None), wire.DATA, b"bench.call", payload, flags=wire.WANT_REPLY)
    took = []
    with socket.create_connection((host, int(port))) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end = time.perf_counter() + seconds
        while (began := time.perf_counter()) < end:
            sock.sendall(frame)
            sock.recv(65536)
            took.append(time.perf_counter() - began)
    return statistics.median(took) * 1e6


MEASURES: list[tuple[str, Callable[[str, bytes, float], float], str]] = [
    ("publish, with replies", publish, "frames/s"),
    ("publish_many, each reply", publish_many, "frames/s"),
    ("aio publish_many", publish_aio, "frames/s"),
    ("receive", receive, "frames/s"),
    ("aio receive", receive_aio, "frames/s"),
    ("call p50", call, "us"),
    ("the gateway's echo p50", echo, "us"),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--payload", type=int, default=256, help="bytes")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    payload = b"x" * given.payload
    got: dict[str, list[float]] = collections.defaultdict(list)
    # A subscriber that is slower than `send` holds it up: nothing is lost, and its own speed is what is measured.
    with gateway("--slow", "pause") as address:
        # By turns, so that what else the machine does meets all of them.
        for _ in range(given.rounds):
            for name, measure, _ in MEASURES:
                got[name].append(measure(address, payload, given.seconds))
    for name, _, unit in MEASURES:
        best = min(got[name]) if unit == "us" else max(got[name])
        print(f"{name:<26} {statistics.median(got[name]):>12,.1f} {unit:<9} best {best:,.1f}")


if __name__ == "__main__":
    main()

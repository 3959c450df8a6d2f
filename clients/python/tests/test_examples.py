"""The programs in ``examples/python`` of the repository."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import unittest
from pathlib import Path

from framegate import _wire as wire

from .support import PATIENCE, Case, until

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "python"


@unittest.skipUnless(EXAMPLES.is_dir(), "the examples are in the repository")
class Examples(Case):
    def environment(self) -> dict[str, str]:
        package = str(Path(wire.__file__).parent.parent)
        return {**os.environ, "PYTHONPATH": package}

    def run_example(self, name: str, *args: object) -> str:
        command = [sys.executable, str(EXAMPLES / name), *map(str, args)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=self.environment())
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def start_example(self, name: str, *args: object) -> subprocess.Popen[str]:
        command = [sys.executable, str(EXAMPLES / name), *map(str, args)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=self.environment())
        self.addCleanup(process.stdout.close)  # type: ignore[union-attr]
        self.addCleanup(process.kill)
        return process

    def test_the_image_server_and_its_caller(self) -> None:
        if importlib.util.find_spec("PIL") is None:
            if os.environ.get("FRAMEGATE_TOOLS_REQUIRED"):
                self.fail("Pillow is missing")
            self.skipTest("Pillow is missing")
        from PIL import Image

        folder = self.folder()
        images = [folder / f"{n}.png" for n in range(240)]
        for n, image in enumerate(images):
            Image.new("RGB", (200 + n, 300), (n, 255 - n, 9)).save(image)
        os.environ["PYTHONPATH"] = self.environment()["PYTHONPATH"]
        self.addCleanup(os.environ.pop, "PYTHONPATH")
        handler = f"{sys.executable} {EXAMPLES / 'thumbnails.py'}"
        for more in ([], ["--max-queued", "0", "--overflow", "reject"]):
            gateway = self.gateway("--handler", handler, "--handlers", "2", "--max-in-flight", "20", *more)
            out = folder / "out"
            said = self.run_example("thumbnails_caller.py", gateway.address, out, *images)
            self.assertEqual(said, f"240 thumbnails in {out}\n")
            for n in (0, 100, 239):
                with Image.open(out / f"{n}.jpg") as thumbnail:
                    self.assertEqual((thumbnail.format, max(thumbnail.size)), ("JPEG", 128))
                    red, green, _ = thumbnail.getpixel((5, 5))  # type: ignore[misc]
                    self.assertLess(abs(red - n) + abs(green - (255 - n)), 12, "its own thumbnail")
            gateway.stop()
        wrong = folder / "no picture"
        wrong.write_bytes(b"no picture")
        gateway = self.gateway("--handler", handler, "--handlers", "1")
        with self.assertRaisesRegex(AssertionError, "cannot identify image"):
            self.run_example("thumbnails_caller.py", gateway.address, folder / "out", wrong)

    def test_a_struct_of_ones_own_with_md5(self) -> None:
        layout = str(EXAMPLES / "struct_md5.toml")
        gateway = self.gateway("--layouts", layout, "--listen-layout", "hall=127.0.0.1:0")
        hall = gateway.logged(r"layout hall on (\S+)")
        said = self.run_example("struct_md5.py", gateway.address, hall)
        self.assertEqual(said, "20 sensors, 980 readings acknowledged, 20 refused\n")

    def test_the_factory(self) -> None:
        products, workers = 1000, 2
        store, emptied = self.folder() / "store", self.folder() / "emptied"
        line = self.gateway("--slow", "pause")
        warehouse = self.gateway("--store", str(store), "--store-rotate", "100ms")
        making = [self.start_example("factory_worker.py", line.address, warehouse.address, n) for n in range(workers)]
        for worker in making:
            assert worker.stdout is not None
            self.assertEqual(worker.stdout.readline(), "ready\n")
        said = self.run_example("factory_pieces.py", line.address, products, workers)
        self.assertEqual(said, "1000 products in 8000 pieces\n")
        self.run_example("factory_empty.py", store, emptied)
        line.stop()  # finishes what it has: each worker gets its last product
        made = [int(worker.communicate(timeout=PATIENCE)[0].split()[-1]) for worker in making]
        self.assertEqual(made, [products // workers] * workers)
        warehouse.stop()
        self.run_example("factory_empty.py", store, emptied)
        keys: list[int] = []
        for number, kind in enumerate(("bolt", "gear", "plate")):
            decoder = wire.Decoder()
            of_kind: list[int] = []
            for segment in sorted((emptied / f"warehouse.{kind}").iterdir()):
                of_kind.extend(frame.key for frame in decoder.feed(segment.read_bytes()))
            self.assertIsNone(decoder.fault)
            self.assertEqual({key % 3 for key in of_kind}, {number})
            keys += of_kind
        self.assertEqual(sorted(keys), list(range(1, products + 1)), "each product once")
        until(lambda: not list(store.glob("*/*.frames")))


class Bench(Case):
    BENCH = Path(__file__).resolve().parents[1] / "bench" / "bench.py"

    def test_it_measures(self) -> None:
        env = {**os.environ, "PYTHONPATH": str(Path(wire.__file__).parent.parent)}
        command = [sys.executable, str(self.BENCH), "--seconds", "0.05", "--rounds", "1"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=env)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(len(done.stdout.splitlines()), 7)

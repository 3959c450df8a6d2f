"""Asks the image server for thumbnails, 100 at once: python3 thumbnails_caller.py ADDRESS FOLDER IMAGE..."""

import asyncio
import sys
from pathlib import Path

from framegate import Busy, Rejected
from framegate.aio import connect


async def main(address, folder, images):
    folder.mkdir(exist_ok=True)
    at_once = asyncio.Semaphore(100)
    refused = []

    async def one(gate, image):
        async with at_once:
            while True:
                try:
                    answer = await gate.call("pictures", image.read_bytes(), timeout=60)
                except Busy:  # only with --overflow reject
                    await asyncio.sleep(0.05)
                except Rejected as why:
                    refused.append(f"{image}: {why.reason}")
                    return
                else:
                    (folder / f"{image.stem}.jpg").write_bytes(answer)
                    return

    async with connect(address) as gate:
        await asyncio.gather(*(one(gate, image) for image in images))
    print(f"{len(images) - len(refused)} thumbnails in {folder}", *refused, sep="\n")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1], Path(sys.argv[2]), [Path(name) for name in sys.argv[3:]])))

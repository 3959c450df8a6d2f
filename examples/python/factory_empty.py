"""Empties the warehouse once: moves finished segments of every type to TO, where they stay as they are.

python3 factory_empty.py STORE TO, each interval, as from cron
"""

import sys
from pathlib import Path


def main(store, to):
    moved = 0
    for segment in sorted(Path(store).glob("*/*.frames")):
        folder = Path(to) / segment.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        segment.rename(folder / segment.name)
        segment.with_suffix(".index").unlink(missing_ok=True)
        moved += 1
    print(f"{moved} segments")


if __name__ == "__main__":
    main(*sys.argv[1:])

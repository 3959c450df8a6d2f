"""The factory's belt: every product comes in 8 pieces, one on each of 8 connections.

python3 factory_pieces.py LINE PRODUCTS WORKERS
"""

import random
import sys
import threading

import framegate

BELTS = 8
TYPES = ["bolt", "gear", "plate"]


def belt(line, number, products, workers):
    """Publishes piece `number` of every product, in an order of its own."""
    keys = list(range(1, products + 1))
    random.Random(number).shuffle(keys)
    with framegate.connect(line, window=5000, timeout=60) as gate:
        for key in keys:
            piece = b"%s %d;" % (TYPES[key % len(TYPES)].encode(), number)
            # A product belongs to a worker by its key, so its pieces name that worker's topic.
            gate.publish(f"product.{key % workers}", piece, key=key, fragment=(number, BELTS))


def main(line, products, workers):
    belts = [threading.Thread(target=belt, args=(line, number, products, workers)) for number in range(BELTS)]
    for thread in belts:
        thread.start()
    for thread in belts:
        thread.join()
    print(f"{products} products in {products * BELTS} pieces")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))

"""A worker: owns the products of its topic, works on each, and puts the result into the warehouse by type.

python3 factory_worker.py LINE WAREHOUSE WORKER
It ends when the line drains.
"""

import hashlib
import sys

import framegate

STEPS = 200


def work(product):
    """The step that costs: 200 rounds of SHA-256."""
    digest = product
    for _ in range(STEPS):
        digest = hashlib.sha256(digest).digest()
    return digest.hex().encode()


def main(line, warehouse, worker):
    done = 0
    with framegate.connect(line, retry=0) as pieces, framegate.connect(warehouse) as results:
        products = pieces.subscribe(f"product.{worker}")
        print("ready", flush=True)
        try:
            for product in products:
                kind = product.payload.split(b" ", 1)[0].decode()
                results.publish(f"warehouse.{kind}", work(product.payload), key=product.key)
                done += 1
        except framegate.Closed:
            pass  # the line has drained
        results.flush()  # every result is on the warehouse's disk
        pieces.close()
    print(f"worker {worker} made {done}")


if __name__ == "__main__":
    main(*sys.argv[1:])

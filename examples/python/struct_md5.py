"""Devices with a struct of their own and an MD5, under the layout in struct_md5.toml, and a subscriber to them.

framegate serve --layouts struct_md5.toml --listen-layout hall=127.0.0.1:5027
python3 struct_md5.py 127.0.0.1:7450 127.0.0.1:5027
"""

import asyncio
import hashlib
import struct
import sys

from framegate.aio import connect

HEADER = struct.Struct(">2sHI")  # magic, sensor, length of the payload
READING = struct.Struct(">Id")  # number, degrees


def pack(sensor, number, degrees):
    payload = READING.pack(number, degrees)
    body = HEADER.pack(b"HL", sensor, len(payload)) + payload
    return body + hashlib.md5(body).digest()


def unpack(frame):
    """What a subscriber does: the payload is the whole frame of the device, whose MD5 was right."""
    _, sensor, _ = HEADER.unpack_from(frame)
    return sensor, *READING.unpack_from(frame, HEADER.size)


async def device(address, sensor, readings):
    """Sends each reading when the one before is acknowledged; one of them is broken on its way."""
    host, port = address.rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    acknowledged = 0
    for number in range(readings):
        frame = bytearray(pack(sensor, number, 20 + sensor / 10))
        if number == readings // 2:
            frame[-1] ^= 1
        writer.write(frame)
        acknowledged += await reader.readexactly(1) == b"\x06"
    writer.close()
    return acknowledged


async def main(native, hall, sensors=20, readings=50):
    async with connect(native) as gate:
        messages = await gate.subscribe("hall.*")
        counting = asyncio.gather(*(device(hall, sensor, readings) for sensor in range(sensors)))
        last = {}
        for _ in range(sensors * (readings - 1)):
            message = await messages.next()
            sensor, number, degrees = unpack(message.payload)
            assert (message.topic, message.key) == (f"hall.{sensor}", sensor)
            assert number > last.get(sensor, (-1,))[0], "in order"
            last[sensor] = number, degrees
        acknowledged = sum(await counting)
    print(f"{len(last)} sensors, {acknowledged} readings acknowledged, {sensors * readings - acknowledged} refused")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

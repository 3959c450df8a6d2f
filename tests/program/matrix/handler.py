"""A handler that does with each frame what the first letter of its payload says."""

import hashlib, os, struct, sys, threading, time

HEAD = struct.Struct(">2sBBBBHIHHQQ")
calls, answers = sys.stdin.buffer, sys.stdout.buffer
one = threading.Lock()


def write(kind, id, status=0, topic=b"", key=0, payload=b""):
    body = HEAD.pack(b"FG", 1, kind, 0, len(topic), status, len(payload), 0, 0, key, id) + topic + payload
    with one:
        answers.write(body + hashlib.sha256(body).digest())
        answers.flush()


while len(head := calls.read(32)) == 32:
    *_, size_of_topic, _, size, _, _, key, id = HEAD.unpack(head)
    rest = calls.read(size_of_topic + size + 32)
    if hashlib.sha256(head + rest[:-32]).digest() != rest[-32:]:
        print("a call with a wrong digest", file=sys.stderr)
        os._exit(7)
    topic, payload = rest[:size_of_topic], rest[size_of_topic:-32]
    what = payload[:1]
    if what == b"D":
        write(0, id, topic=b"made." + topic if topic else b"made", key=key ^ 0x55, payload=b"P" + payload[1:])
    elif what == b"R":
        write(1, id, status=3, payload=b"not wanted")
    elif what == b"B":
        write(1, id, status=2, payload=b"come again")
    elif what == b"S":
        time.sleep(0.01)
        write(1, id)
    elif what == b"L":
        threading.Timer(0.02, write, (1, id)).start()
    elif what == b"X":
        os._exit(1)
    else:
        write(1, id)

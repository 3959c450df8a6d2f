"""A subscriber in Python: prints the topic and payload of COUNT frames that match PATTERN.

usage: subscriber.py PORT PATTERN COUNT
"""
import hashlib, socket, struct, sys

HEADER = struct.Struct(">2sBBBBHIHHQQ")
DATA, REPLY, SUBSCRIBE = 0, 1, 2


def frame(kind, topic):
    body = HEADER.pack(b"FG", 1, kind, 1, len(topic), 0, 0, 0, 0, 0, 0) + topic
    return body + hashlib.sha256(body).digest()


def read_frame(stream):
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        sys.exit("the gateway went away")
    _, _, kind, _, topic_len, status, payload_len, _, _, key, _ = HEADER.unpack(header)
    rest = stream.read(topic_len + payload_len + 32)
    body, digest = header + rest[:-32], rest[-32:]
    assert hashlib.sha256(body).digest() == digest, "a wrong digest"
    return kind, status, rest[:topic_len], rest[topic_len:-32]


port, pattern, count = int(sys.argv[1]), sys.argv[2].encode(), int(sys.argv[3])
connection = socket.create_connection(("127.0.0.1", port))
stream = connection.makefile("rb")
connection.sendall(frame(SUBSCRIBE, pattern))
assert read_frame(stream)[:2] == (REPLY, 0), "the pattern is refused"
print("subscribed", flush=True)
while count:
    kind, status, topic, payload = read_frame(stream)
    if kind == DATA:
        print(topic.decode(), payload.decode(), flush=True)
        count -= 1

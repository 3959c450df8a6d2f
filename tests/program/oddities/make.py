"""Makes one file of each oddity in the current folder, and prints what Python's own readers make of it.

A line for each: the name, a tab, what was read. Members of archives are `name:bytes`, or `name(what)` where they are
no file; `error` is where the reader gave up.
"""

import bz2
import csv
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib


def write(name, *parts):
    with open(name, "wb") as f:
        for part in parts:
            f.write(part)


def member(name, data=b"", kind=b"0", size=None, link=b"", magic=b"ustar\x0000", signed=False, rest=b""):
    """A tar header and its data, with nothing that a library would put right."""
    size = len(data) if size is None else size
    head = bytearray(512)
    head[0 : len(name)] = name
    head[100:124] = b"0000644\x000000000\x000000000\x00"
    head[124:136] = b"%011o\0" % size
    head[136:148] = b"00000000000\0"
    head[148:156] = b" " * 8
    head[156:157] = kind
    head[157 : 157 + len(link)] = link
    head[257 : 257 + len(magic)] = magic
    head[265 : 265 + len(rest)] = rest
    total = sum(b - 256 if signed and b > 127 else b for b in head)
    head[148:156] = b"%06o\0 " % total
    return bytes(head) + data + b"\0" * (-len(data) % 512)


END = b"\0" * 1024


def pax(**records):
    body = b""
    for key, value in records.items():
        entry = b" " + key.replace("__", ".").encode() + b"=" + value + b"\n"
        n = len(entry)
        while len(str(n)) + len(entry) != n:
            n = len(str(n)) + len(entry)
        body += str(n).encode() + entry
    return member(b"PaxHeaders/x", body, b"x")


def sparse_00():
    pairs = b""
    for key, value in [("size", 9), ("numblocks", 1), ("offset", 4), ("numbytes", 4)]:
        text = "GNU.sparse.%s=%d\n" % (key, value)
        pairs += ("%d %s" % (len(text) + 3, text)).encode()
    return member(b"PaxHeaders/x", pairs, b"x") + member(b"GNUSparseFile.0/a", b"tail")


def long_name(name):
    return member(b"././@LongLink", name + b"\0", b"L", magic=b"ustar  \0")


def zip_of(*entries, comment=b"", method=zipfile.ZIP_STORED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as z:
        z.comment = comment
        for name, data in entries:
            info = name if isinstance(name, zipfile.ZipInfo) else zipfile.ZipInfo(name)
            info.compress_type = method
            z.writestr(info, data)
    return out.getvalue()


def unix(name, mode):
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = mode << 16
    return info


ONE = member(b"a", b"one\n")
TWO = member(b"b", b"two\n")


def gnu_sparse():
    data = b"tail"
    head = bytearray(member(b"a", data, b"S", magic=b"ustar  \0")[:512])
    head[386:410] = b"00000000004\0" + b"00000000004\0"
    head[410:434] = b"00000000010\0" + b"00000000000\0"
    head[483:495] = b"00000000010\0"
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + data + b"\0" * (512 - len(data))


# Tars.
write("plain.tar", ONE, TWO, END)
write("no-end.tar", ONE, TWO)
write("one-zero-block.tar", ONE, END[:512])
write("cut-in-data.tar", ONE, member(b"b", b"x" * 600)[:700])
write("cut-in-header.tar", ONE, TWO[:100])
write("two-tars.tar", ONE, END, TWO, END)
write("garbage-behind.tar", ONE, END, b"garbage")
write("zeros-behind.tar", ONE, b"\0" * (2 << 20))
write("old.tar", member(b"a", b"one\n", b"\0", magic=b""), member(b"d/", b"", b"\0", magic=b""), END)
write("signed-sum.tar", member(b"\xc3\xbc" * 9, b"one\n", signed=True), END)
write("contiguous.tar", member(b"a", b"one\n", b"7"), END)
write("links.tar", ONE, member(b"h", b"", b"1", link=b"a"), member(b"s", b"", b"2", link=b"a"), END)
write("specials.tar", *[member(kind, b"", kind) for kind in [b"3", b"4", b"5", b"6"]], ONE, END)
write("unknown-type.tar", member(b"q", b"what", b"Q"), ONE, END)
write("absolute.tar", member(b"/etc/a", b"one\n"), member(b"../b", b"two\n"), END)
write("twice.tar", ONE, member(b"a", b"two\n"), END)
write("empty-file.tar", member(b"a"), TWO, END)
write("long-name.tar", long_name(b"n" * 300), ONE, END)
write("long-name-alone.tar", ONE, long_name(b"n" * 300), END)
write("pax-name.tar", pax(path=b"p" * 300), ONE, END)
write("pax-size.tar", pax(size=b"4"), member(b"a", b"one\n"), END)
write("global.tar", member(b"pax_global_header", b"16 comment=hello\n", b"g"), ONE, END)
write("global-path.tar", member(b"pax_global_header", b"10 path=z\n", b"g"), ONE, END)
write("sparse-gnu.tar", gnu_sparse(), TWO, END)
write("sparse-0.0.tar", sparse_00(), TWO, END)
write("sparse-0.1.tar", pax(GNU__sparse__size=b"9", GNU__sparse__map=b"4,4,9,0", GNU__sparse__name=b"a"),
      member(b"GNUSparseFile.0/a", b"tail"), TWO, END)
write("sparse-1.0.tar",
      pax(GNU__sparse__major=b"1", GNU__sparse__minor=b"0", GNU__sparse__name=b"a", GNU__sparse__realsize=b"9"),
      member(b"GNUSparseFile.0/a", b"1\n4\n4\n".ljust(512, b"\0") + b"tail"), TWO, END)
write("empty.tar", END)
write("none.tar")
write("mac.tar", member(b"._a", b"\0\x05\x16\x07" + b"x" * 40), member(b"._b", b"text"), ONE, END)

# Zips.
write("plain.zip", zip_of(("a", b"one\n"), ("b", b"two\n")))
for name, method in [("deflate", 8), ("bzip2", 12), ("lzma", 14)]:
    write(name + ".zip", zip_of(("a", b"one\n" * 99), method=method))
write("empty.zip", zip_of())
write("folders.zip", zip_of(("d/", b""), ("d/a", b"one\n")))
write("links.zip", zip_of((unix("s", 0o120777), b"a"), (unix("p", 0o010644), b""), ("a", b"one\n")))
write("mac.zip", zip_of(("a", b"one\n"), ("__MACOSX/._a", b"\0\x05\x16\x07"), (".DS_Store", b"\0\0\0\1Bud1")))
write("absolute.zip", zip_of(("/a", b"one\n"), ("../b", b"two\n")))
write("twice.zip", zip_of(("a", b"one\n"), ("b", b"two\n")).replace(b"b", b"a"))
write("comment.zip", zip_of(("a", b"one\n"), comment=b"a comment"))
FALSE_END = b"PK\5\6" + b"\0" * 4 + b"\1\0\1\0" + struct.pack("<LLH", 40, 5, 9) + b"not one"
write("false-end.zip", zip_of(("a", b"one\n"), comment=b"a comment with " + FALSE_END))
write("stub.zip", b"#!/bin/sh\nexit\n", zip_of(("a", b"one\n")))
write("zeros-behind.zip", zip_of(("a", b"one\n")), b"\0" * 600)
write("garbage-behind.zip", zip_of(("a", b"one\n")), b"garbage")
write("two-zips.zip", zip_of(("a", b"one\n")), zip_of(("b", b"two\n")))
BAD = zip_of(("a", b"one\n"), ("b", b"two\n"))
write("wrong-crc.zip", BAD.replace(b"one\n", b"ONE\n"))
CRC = struct.pack("<L", zlib.crc32(b"one\n"))
write("wrong-size.zip", BAD.replace(CRC + struct.pack("<LL", 4, 4), CRC + struct.pack("<LL", 3, 3)))
# As of 65,536 entries, for some old programs.
write("no-count.zip", BAD[:-14], b"\0\0\0\0", BAD[-10:])
write("cut.zip", BAD[:-30])
write("cut-in-data.zip", BAD[:40])

# Packed lines.
LINES = b"one\ntwo\n"
for suffix, pack in [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)]:
    whole = pack(LINES)
    write("lines.txt." + suffix, whole)
    write("members.txt." + suffix, pack(b"one\n"), pack(b""), pack(b"two\n"))
    write("padded.txt." + suffix, whole, b"\0" * 512)
    write("garbage.txt." + suffix, whole, b"garbage")
    write("cut.txt." + suffix, whole[:-5])
    write("none.txt." + suffix)

# Tables.
TABLES = {
    "plain.csv": b"a,b\n1,2\n",
    "no-break.csv": b"a,b\n1,2",
    "crlf.csv": b"\xef\xbb\xbfa,b\r\n1,2\r\n",
    "cr.csv": b"a,b\r1,2\r",
    "blank.csv": b"a,b\n\n1,2\n\n",
    "quotes.csv": b'a,b\n"1,\n""x""",2\n',
    "open.csv": b'a,b\n1,"2\n3,4\n',
    "open-at-end.csv": b'a,b\n1,2\n"',
    "short.csv": b"a,b\n1\n2,3,4\n5,6\n",
    "same.csv": b"a,b,a\n1,2,3\n",
    "semicolons.csv": b"a;b\n1;2,5\n",
    "tabs.csv": b"a\tb\n1\t2\n",
    "pipes.csv": b"a|b\n1|2\n",
    "header.csv": b"a,b\n",
    "none.csv": b"",
    "nul.csv": b"a,b\n1,\0\n",
}
for name, text in TABLES.items():
    write(name, text)


def read_tar(name):
    with tarfile.open(name) as t:
        while (m := t.next()) is not None:
            yield f"{m.name}:{len(t.extractfile(m).read())}" if m.isfile() else f"{m.name}({m.type.decode()})"


def read_zip(name):
    with zipfile.ZipFile(name) as z:
        for i in z.infolist():
            try:
                yield f"{i.filename}:{len(z.read(i))}"
            except Exception:
                yield f"{i.filename} error"


def read_table(name):
    with open(name, encoding="utf-8-sig", newline="") as f:
        yield from (",".join(f"{k}={v}" for k, v in row.items()) for row in csv.DictReader(f))


def read_lines(name):
    unpack = {"gz": gzip.open, "bz2": bz2.open, "xz": lzma.open}[name.rsplit(".", 1)[1]]
    with unpack(name, "rb") as f:
        yield from (line.rstrip(b"\n").decode() for line in f)


def outcome(read, name):
    seen = []
    try:
        for one in read(name):
            seen.append(one)
    except Exception:
        seen.append("error")
    # A table's values hold line breaks.
    return repr("; ".join(seen).replace("n" * 300, "n*300").replace("p" * 300, "p*300"))[1:-1]


if __name__ == "__main__":
    import os

    for name in sorted(os.listdir(".")):
        kind = name.rsplit(".", 1)[1]
        read = {"tar": read_tar, "zip": read_zip, "csv": read_table}.get(kind, read_lines)
        print(name, outcome(read, name), sep="\t")

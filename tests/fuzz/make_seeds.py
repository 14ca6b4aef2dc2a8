# SPDX-License-Identifier: BSD-3-Clause
"""Write the seeds of tests/fuzz/corpus/: small inputs, by hand, that reach what mutations would not.

A seed is a file seed_<what>; what a fuzzer found has other names and is left alone. The forms of the
inputs are described at the top of each <target>_fuzz.c.
"""
import pathlib
import struct
import zlib

CORPUS = pathlib.Path(__file__).resolve().parent / "corpus"
PAGE = 4096
ALL, RAW = 0x1f, 0x00           # how frames are mended: fuzz_rig.h
SPLIT, CONTROL, OTHER_QUEUE = 0x20, 0x40, 0x80


def put(target, name, data):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"seed_{name}").write_bytes(data)


# Frames

def header(records=0, kind=1, epoch=7, slot=0, number=1, flags=0):
    return struct.pack(">BBBBIQIIHHI", 1, kind, 0, records, 0xc0105e55, number, epoch, slot, 0, flags, 0)


def record(kind, block, page, length=0, offset=0, count=1):
    return struct.pack(">IBBHHHI", page, block, kind, length, offset, count, 0)


def frame(payload, mend=ALL, split=None):
    data = struct.pack("<BH", mend | (SPLIT if split is not None else 0), len(payload))
    return data + (struct.pack("<H", split) if split is not None else b"") + payload


def zstd_page(byte):
    """A zstd frame of 4096 equal bytes: single segment, one RLE block."""
    return b"\x28\xb5\x2f\xfd\x60" + struct.pack("<H", PAGE - 256) + \
        struct.pack("<I", PAGE << 3 | 1 << 1 | 1)[:3] + bytes([byte])


def packet(*records, flags=0, **fields):
    """Records as (kind, block, page, contents, offset, count)."""
    table = b"".join(record(r[0], r[1], r[2], len(r[3]), *r[4:]) for r in records)
    return header(len(records), flags=flags, **fields) + table + b"".join(r[3] for r in records)


def page_of(byte):
    return bytes([byte]) * PAGE


def frames():
    raw = packet((1, 0, 3, page_of(0x41), 0, 1))
    zero = packet((2, 0, 1, b"", 0, 4))
    packed = packet((3, 0, 5, zstd_page(0x42), 0, 1), (3, 1, 0, zstd_page(0x43), 0, 1))
    mixed = packet((2, 0, 0, b"", 0, 3), (3, 0, 7, zstd_page(1), 0, 1), (2, 0, 8, b"", 0, 12), flags=1)
    part_size = (1280 - 48 - 32 - 16 - 16) // 16 * 16
    parts = [packet((1, 0, 2, bytes([9]) * min(part_size, PAGE - at), at, 1))
             for at in range(0, PAGE, part_size)]
    for target in ("frame", "frame_sealed"):
        put(target, "raw", b"\0" + frame(raw))
        put(target, "raw_split", b"\0" + frame(raw, split=60) + frame(zero, split=90))
        put(target, "zero", b"\0" + frame(zero))
        put(target, "zero_untouched", b"\4" + frame(zero))
        put(target, "zstd", b"\0" + frame(packed))
        put(target, "mixed_precopy", b"\2" + frame(mixed) + frame(zero))
        put(target, "twice", b"\0" + frame(zero) + frame(zero))
        put(target, "replayed", b"\0" + frame(zero) + frame(packet((2, 0, 9, b"", 0, 2)), mend=0x1b))
        put(target, "beyond", b"\0" + frame(packet((2, 0, 18, b"", 0, 3))))
        put(target, "control", b"\0" + frame(header(kind=3) + bytes(8), mend=ALL | CONTROL))
        put(target, "other_queue", b"\0" + frame(zero, mend=ALL | OTHER_QUEUE))
        put(target, "no_session", b"\x10" + frame(zero))
        put(target, "no_epoch", b"\x08" + frame(zero))
        put(target, "not_mended", b"\0" + frame(raw[:200], mend=RAW) + frame(zero, mend=1))
    put("frame_sealed", "forged", b"\0" + frame(raw, mend=0x0f) + frame(zero, mend=0x0f) +
        frame(header(kind=3) + bytes(8), mend=0x4f))
    put("frame", "parts_ipv6", b"\1" + b"".join(frame(p) for p in parts))
    put("frame", "outer", b"\0" + frame(bytes(12) + b"\x08\x00\x45" + bytes(60), mend=RAW) +
        frame(bytes(12) + b"\x86\xdd\x60" + bytes(80), mend=RAW))


def feedback(cum, credit, largest, words=(), delay=0):
    return header(kind=2) + struct.pack(">QQQIHH", cum, credit, largest, delay, len(words), 0) + \
        b"".join(struct.pack(">Q", w) for w in words)


def feedbacks():
    for sealed in (0, 1):
        tag = "_sealed" if sealed else ""
        put("feedback", f"cum{tag}", bytes([sealed]) + frame(feedback(3, 100, 5)))
        put("feedback", f"gaps{tag}", bytes([sealed]) + frame(feedback(1, 64, 9, [0x1f0])) +
            frame(feedback(9, 4096, 12)))
    put("feedback", "zstd", b"\2" + frame(feedback(0, 64, 20, [0xaaaa, 0])))
    put("feedback", "time", b"\x08" + frame(feedback(2, 64, 2, delay=77)) + frame(feedback(2, 64, 2)))
    put("feedback", "impossible", b"\0" + frame(feedback(999, 64, 1)) + frame(feedback(0, 9999, 1)) +
        frame(feedback(0, 64, 9999)) + frame(feedback(0, 64, 1, [1 << 63])))
    put("feedback", "control", b"\0" + frame(header(kind=3) + bytes(32), mend=ALL | CONTROL))
    put("feedback", "other_queue", b"\0" + frame(feedback(3, 100, 5), mend=ALL | OTHER_QUEUE))
    put("feedback", "no_session", b"\4" + frame(feedback(3, 100, 5)))


def request(sequence, op, kind=0, ends=()):
    return header(kind=3) + struct.pack(">IBBBB", sequence, op, kind, len(ends), 0) + \
        b"".join(struct.pack(">QQQ", *e) for e in ends)


def reply(sequence, op, result=0):
    return header(kind=3) + struct.pack(">IBBBBIIQQ", sequence, op, result, 0, 1, 11, 22, 33, 44)


def lanes():
    begin, end = request(1, 1, 2), request(2, 2, ends=[(0, 0, 0), (0, 0, 0)])
    put("lane", "requests", b"\0\0" + frame(begin) + frame(end) + frame(request(4, 3, ends=[(1, 2, 3)])))
    put("lane", "again", b"\0\0" + frame(begin) + frame(begin) + frame(end) + frame(end) + frame(begin))
    put("lane", "wrong", b"\0\0" + frame(request(0, 1)) + frame(request(1, 4)) +
        frame(request(1, 2, ends=[(1, 2, 3)] * 17)) + frame(begin + b"\0"))
    put("lane", "short", b"\0\0" + frame(request(1, 2, ends=[(1, 2, 3)] * 2)[:-24]))
    put("lane", "answers", b"\1\2" + frame(reply(7, 2)) + frame(reply(1, 1)) + frame(reply(1, 2, 4)) +
        frame(reply(1, 2, 2)) + frame(reply(1, 2)))
    put("lane", "answer_begin", b"\1\1" + frame(reply(1, 1)))
    put("lane", "answer_short", b"\1\3" + frame(reply(1, 3)[:-1]) + frame(reply(1, 3)))


# The session

def message(kind, body):
    return struct.pack(">HH", kind, len(body)) + body


def text(words):
    return bytes([len(words)]) + words.encode()


def address(version=4):
    ip = bytes([192, 0, 2, 1]) if version == 4 else bytes([0x20, 1, 0xd, 0xb8] + [0] * 11 + [1])
    return bytes([2, 1, 2, 3, 4, 5, version]) + ip + struct.pack(">H", 17990)


def hellos():
    numbers = struct.pack(">HIIHHIIQIIB", session_version(), 0x12345678, 4200, 2, 2, 1000, 500, 99, 0, 0,
                          31)
    blocks = text("pc.ram") + struct.pack(">Q", 1 << 30) + text("0000:00:02.0/vga.vram") + \
        struct.pack(">Q", 16 << 20)
    hello = numbers + address() + blocks
    accept = struct.pack(">HI", session_version(), 1024) + address(6) + struct.pack(">HHI", 100, 65535, 7) \
        + text("resumed")
    start = struct.pack(">HHH", 2, 100, 200)
    put("hello", "hello", b"\1\0" + message(1, hello))
    put("hello", "hello_ipv6", b"\1\x20" + message(1, numbers + address(6) + blocks))
    put("hello", "accept", b"\1\0" + message(2, accept))
    put("hello", "refuse", b"\1\3" + message(3, text("the secondary is busy")))
    put("hello", "start", b"\1\0" + message(4, start))
    put("hello", "life", b"\1\x40" + message(1, hello) + message(4, start) + message(5, b"") +
        message(6, b"") + message(7, text("ended")) + message(8, b""))
    for name, words, size in (("long_name", "n" * 64, PAGE), ("odd_size", "n", PAGE + 1),
                              ("huge", "n", 1 << 43), ("name_twice", "vga", PAGE)):
        put("hello", name, b"\1\0" + message(1, numbers + address() + text("vga") +
                                             struct.pack(">Q", PAGE) + text(words) + struct.pack(">Q", size)))
    put("hello", "too_long", b"\1\0" + struct.pack(">HH", 1, 4097) + bytes(64))
    put("hello", "cut", b"\1\0" + message(1, hello)[:70])


def session_version():
    header_text = (CORPUS.parents[2] / "lib" / "session" / "session.h").read_text("utf-8")
    return int(header_text.split("#define COLO_SESSION_VERSION")[1].split()[0].rstrip("u"))


# Files

def journals():
    tail = struct.pack("<IIQQ", 0, 0, 77, 5 << 1)
    flushing = struct.pack("<IIQQ", 0, 0, 77, 5 << 1 | 1)
    for name, options, commit in (("kept", 7, tail), ("flushing", 7, flushing), ("none", 7, bytes(24)),
                                  ("refused", 6, tail), ("new", 6, bytes(24)), ("created", 0x17, tail)):
        put("journal", name, bytes([options]) + bytes(32 - 4 - 4) + commit)
    head = struct.pack("<QIIQ", 0x434f4c4f4a524e31, 2, 1, 0)
    put("journal", "other_blocks", b"\5" + head + tail)
    put("journal", "crc", b"\3" + bytes(24) + tail)
    put("journal", "version", b"\1" + struct.pack("<QII", 0x434f4c4f4a524e31, 3, 1))
    put("journal", "empty", b"\1")
    put("journal", "short", b"\x09\0\0" + tail)
    put("journal", "short_new", b"\x08\xff\x0f")


# QEMU

def qmps():
    greeting = b'{"QMP": {"version": {}, "capabilities": ["oob"]}}\r\n'
    ok = b'{"return": {}, "id": 1}\n'
    stop = b'{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "STOP"}\n'
    status = b'{"return": {"running": true, "status": "running"}, "id": %d}\n'
    put("qmp", "status", b"\0\1" + greeting + ok + stop + status % 2)
    put("qmp", "oob", b"\1\x10" + greeting + ok + b'{"return": {"a": [1, [2, "x"]]}, "id": 2}\n')
    put("qmp", "qom", b"\0\2" + greeting + ok + b'{"id": 2, "return": "\\u00e9\\ud83d\\ude00/m\\n"}\n')
    put("qmp", "memdev", b"\0\4" + greeting + ok +
        b'{"return": [{"id": "pc.ram", "size": 4096, "share": true}], "id": 2}\n'
        b'{"return": "/dev/null", "id": 3}\n')
    put("qmp", "memdev_private", b"\0\4" + greeting + ok +
        b'{"return": [{"id": "a/b"}, {"id": "x", "size": 1, "share": false}], "id": 2}\n'
        b'{"error": {"class": "GenericError", "desc": "Property not found"}, "id": 3}\n')
    put("qmp", "pump", b"\0\x09" + greeting + ok + status % 2 + stop + b'{"event": "RESUME"}\n'
        b'{"event": "SHUTDOWN"}\n')
    put("qmp", "refused", b"\0\x1f" + greeting + ok +
        b"".join(b'{"error": {"desc": "no"}, "id": %d}\n' % i for i in range(2, 8)))
    put("qmp", "two_lines", b"\0\1" + greeting + ok +
        b'{"error": {"desc": "two\\nlines\\u001b[31m"}, "id": 2}\n')
    put("qmp", "no_oob", b"\1\0" + b'{"QMP": {"capabilities": []}}\n')
    zeros = b"0," * 7000
    put("qmp", "long_greeting", b"\1\0" + b'{"QMP": {"capabilities": [' + zeros + b"0]}}\n")
    put("qmp", "long_memdev", b"\0\4" + greeting + ok + b'{"return": [' + zeros + b'0], "id": 2}\n')
    put("qmp", "no_json", b"\0\0" + b"SSH-2.0-OpenSSH\r\n")
    put("qmp", "other_id", b"\0\1" + greeting + ok + status % 9 + status % 2)
    put("qmp", "numbers", b"\0\0" + b'[-0.5e+3, 18446744073709551615, 184467440737095516160, true, null]')
    put("qmp", "deep", b"\0\0" + b"[" * 32 + b"]" * 32 + b"\n")
    put("qmp", "deeper", b"\0\0" + b"[" * 34 + b"]" * 34 + b"\n")
    put("qmp", "strings", b"\0\0" + b'{"a": "\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\ud800", "a": "b"}')


def locksteps():
    def arrives(*lines):
        return b"".join(bytes([len(line)]) + line for line in lines)

    def hello(guest):
        return b"hello version=1 guest=" + guest + b"\n"

    steps = 0 | 1 << 2 | 2 << 4 | 3 << 6  # pause, load, resume, take over
    put("lockstep", "life", bytes([0, steps]) + arrives(
        hello(b"running"), b"paused\n", b"x", b"loaded\n", b"resumed\n", b"taken-over\n"))
    put("lockstep", "load", bytes([0, 1]) + arrives(hello(b"waiting"), b"loa", b"ded\n", b"paused\n"))
    put("lockstep", "held", bytes([1, 0]) + arrives(hello(b"running")))
    put("lockstep", "held_paused", bytes([1, 2]) + arrives(hello(b"paused"), b"resumed\n"))
    put("lockstep", "waiting", bytes([0, 2]) + arrives(hello(b"waiting")))
    put("lockstep", "failed", bytes([0, 0]) + arrives(hello(b"running"), b"failed\n", b"failed: busy\n"))
    put("lockstep", "parts", bytes([0, 0]) + arrives(b"hello ver", b"sion=1 guest=running\n", b"pau", b"sed\n"))
    put("lockstep", "unasked", bytes([0, 0]) + arrives(hello(b"running") + b"paused\n"))
    put("lockstep", "version", bytes([0, 0]) + arrives(b"hello version=2 guest=running\n"))
    put("lockstep", "long", bytes([0, 0]) + arrives(*[b"x" * 255] * 3))
    put("lockstep", "no_text", bytes([0, 0]) + arrives(b"\x00\x1b\n"))
    put("lockstep", "other_answer", bytes([0, 0]) + arrives(hello(b"running"), b"resumed\n"))


def u16(n):
    return struct.pack("<H", n)


def stream_head(blocks, machine=b"pc-q35-11.0"):
    listed = b"".join(bytes([len(n)]) + n + struct.pack(">Q", s) for n, s in blocks)
    return b"QEVM" + struct.pack(">I", 3) + b"\x07" + struct.pack(">I", len(machine)) + machine + \
        b"\x08\0\1\0\0" + b"\x08\0\2\0\4\0\0\0\x2a" + \
        b"\x01\0\0\0\2\x03ram" + struct.pack(">II", 0, 4) + \
        struct.pack(">Q", sum(s for _, s in blocks) | 4) + listed + struct.pack(">Q", 0x10) + footer()


def footer():
    return b"\x7e\0\0\0\2"


def ram(kind, records):
    return bytes([kind]) + struct.pack(">I", 2) + records + struct.pack(">Q", 0x10) + footer()


def streams():
    name = b"\x06pc.ram"
    page = struct.pack(">Q", 0x08) + name + page_of(0x61)
    zero = struct.pack(">Q", 0x1022) + b"\0"
    flush = struct.pack(">Q", 0x200)
    head = stream_head([(b"pc.ram", 4 * PAGE), (b"vga", PAGE)])
    precopy = head + ram(2, page + zero + flush) + b"\x08\0\x0b\0\0" + ram(3, struct.pack(">Q", 2) +
                                                                          b"\x03vga\0")
    sections = b"\x04\0\0\0\3\x05timer" + struct.pack(">II", 0, 2) + b"state" + b"\x7e\0\0\0\3" + b"\0"
    json = b'{"configuration":{},"page_size":4096,"devices":[{"name":"timer"}]}'
    description = b"\x06" + struct.pack(">I", len(json)) + json
    whole = precopy + sections + description
    request, stopped = struct.pack(">I", 1), struct.pack(">I", 3)
    checkpoint = stopped + ram(3, page[:8] + name + page_of(0x62)) + b"\0" + struct.pack(">IQ", 4,
                                                                                        len(sections))
    life = [whole, request, checkpoint + sections]

    def silences(parts):
        return b"".join(u16(len(p)) + p for p in parts)

    put("stream", "head", b"\0\0" + silences([head]))
    put("stream", "precopy", b"\0\0" + silences([whole]))
    put("stream", "checkpoint", b"\0\0" + silences(life))
    put("stream", "checkpoints", b"\0\xff" + silences(life + life[1:]))
    put("stream", "held", b"\1\x05" + silences(life))
    put("stream", "small_device", b"\2\0" + silences([precopy + sections + description]))
    put("stream", "planted", b"\0\0" + silences([precopy + b"\x04x\x7e\0\0\0\3\0" + description + sections
                                                 + description, request]))
    put("stream", "not_waited", b"\0\0" + silences([whole, request + stopped]))
    put("stream", "other_version", b"\0\0" + silences([b"QEVM\0\0\0\2"]))
    put("stream", "subsection", b"\0\0" + silences([head[:24] + b"\x05" + bytes(32)]))
    put("stream", "twice", b"\0\0" + silences([stream_head([(b"pc.ram", PAGE), (b"pc.ram", PAGE)])]))
    put("stream", "beyond", b"\0\0" + silences([head + ram(2, struct.pack(">Q", 4 * PAGE | 2) + name + b"\0")]))
    more = stream_head([(b"pc.ram", 2 * PAGE)])
    put("stream", "more_than_total", b"\0\0" + silences(
        [more.replace(struct.pack(">Q", 2 * PAGE | 4), struct.pack(">Q", PAGE | 4))]))
    put("stream", "large", b"\0\0" + silences([stream_head([(b"pc.ram", 1 << 40)])]))


def migrations():
    def names(*words):
        return b"".join(text(w) for w in words)

    saved = b"QEVM\0\0\0\3" + b"\x04state\x7e\0\0\0\3\0"
    put("migration", "plain", b"\0\xa5\0\0" + names("pc-q35-11.0", "pc.ram", "vga.vram", "pc.bios") + saved)
    put("migration", "shared", b"\1\xff\xff\xff" + names("pc", "a", "b", "c") + saved)
    put("migration", "untouched", b"\2\0\0\x40" + names("pc", "", "", "") + saved)
    put("migration", "fewer", b"\4\x11\0\0" + names("microvm", "x" * 63) + b"QEVM\0\0\0\2\0")
    put("migration", "long", b"\0\0\0\0" + names("m" * 64, "n" * 63, "", "") + b"QEVM\0\0\0\3\1")
    put("migration", "cut", b"\4\0\0\0" + names("pc", "a") + b"QEVM\0\0\0\3\1")
    put("migration", "short", b"\0\0\0\0\0")


def multifds():
    initial, sync = b"\1\0", b"\2\0"

    def pages(normal, zero, block, numbers, fills, spoil=0, tail=b""):
        return b"\3" + bytes([normal, zero, block]) + bytes(numbers) + bytes(fills) + bytes([spoil]) + tail

    some = pages(3, 2, 0, [0, 1, 7, 2, 3], [0x42, 0x40, 0x55])
    more = pages(1, 0, 1, [0], [9])
    for compression, name in ((0, "plain"), (1, "zlib"), (2, "zstd")):
        put("multifd", name, bytes([compression, 0]) + initial + some + more + sync + some)
        put("multifd", f"{name}_parts", bytes([compression, 200]) + initial + some + sync)
        put("multifd", f"{name}_held", bytes([4 | compression, 0]) + initial + some + some)
        put("multifd", f"{name}_more", bytes([compression, 0]) + initial + pages(1, 0, 0, [1], [3], 1))
        put("multifd", f"{name}_less", bytes([compression, 0]) + initial + pages(1, 0, 0, [1], [3], 2) +
            sync)
        put("multifd", f"{name}_flags", bytes([compression, 0]) + initial + pages(1, 0, 0, [1], [3], 4))
    put("multifd", "number", b"\0\0" + initial + some + pages(1, 0, 0, [1], [3], 8))
    put("multifd", "body", b"\1\0" + initial + pages(1, 0, 0, [1], [3], 16, b"\5\0"))
    put("multifd", "alloc", b"\0\0" + initial + pages(0, 2, 0, [1, 2], [], 32))
    put("multifd", "no_blocks", b"\x08\0" + initial + some)
    put("multifd", "other_block", b"\0\0" + initial + pages(1, 0, 2, [0], [1]))
    put("multifd", "beyond", b"\0\0" + initial + pages(0, 1, 0, [12], []))
    put("multifd", "many", b"\2\0" + initial + pages(128, 0, 0, [i % 12 for i in range(128)], range(128)))
    packed = zlib.compress(page_of(1))
    raw = struct.pack(">IIIIIIQI", 0x11223344, 1, 2, 128, 1, len(packed), 5, 0) + bytes(28) + \
        b"pc.ram".ljust(256, b"\0") + bytes(1024) + packed
    put("multifd", "bytes", b"\1\0" + b"\0" + u16(64) + struct.pack(">II", 0x11223344, 1) + bytes(56) +
        b"\0" + u16(len(raw)) + raw)


# People

def options():
    lines = {
        "pair": "--role\npair\n--source\nsynthetic,size=64M,dirty=500\n--channels=2\n--epochs\n3",
        "primary": "--role=primary\n--connect\n[fe80::1]:7000\n--source\nqmp,path=/q.sock,timeout=500\n"
                   "--block\npc.ram,size=1G,guest=/dev/shm/ram\n--insecure\n--codec\nzstd:-3",
        "secondary": "--role\nsecondary\n--listen\n0.0.0.0:7000\n--block\npc.ram,size=4K,guest=/a,cache=/b\n"
                     "--psk-file\n/k\n--journal\n/j\n--recover\n--on-peer-loss\nfailover\n--standby\n"
                     "unix:/q,incoming=/i\n-i\n-a",
        "lockstep": "--role\nsecondary\n--listen\n[::]:1\n--block\nx,size=2M,guest=/g\n--insecure\n--adapter\n"
                    "lockstep,control=unix:/c,dirty-log=/d,answer=100",
        "adapter": "standby,unix:/q,incoming=/i\nlockstep,control=unix:/c,dirty-log=/d\nlockstep,x=1",
        "blocks": "pc.ram,size=4K\na,size=4T,guest=/a,cache=/b\nb,size=4095\nc\nd,size=1M,size=2M\n,size=4K",
        "fault": "drop=5,dup=0.25,reorder=50,flip=1,seed=3\ndrop=51\ndrop=5,drop=5\nseed=18446744073709551616",
        "synthetic": "size=64M,dirty=500,pattern=mixed,seed=1,rate=100\nsize=0\nsize=64M,,dirty=1",
        "listener": "unix:/tmp/x\ntcp:127.0.0.1:4444\ntcp:[::1]:4444\ntcp:host:1\nunix:",
        "numbers": "5\n500\n501\n0.25\n100.0001\n4096\n16k\n1t\n99999999999999999999999",
        "addresses": "1.2.3.4:80\n[::1]:80\n[::1\n1.2.3.4\n255.255.255.255\n::\nff02::1",
        "codecs": "raw\nzstd\nzstd:19\nzstd:20\nzstd:-7\nzstd:x",
        "keys": f"{'0f' * 32}\n{'a5' * 256}\n{'5a' * 257}\n{'0f' * 31}\n{'0f ' * 32}\n{'0' * 65}\n{'zz' * 32}",
        "flags": "-ia\n--inter\n--role\n--nonsense\n--help=x\n-z\n--v\nword",
        "every": "--role\npair\n--source\ncolo,listen=unix:/s,qmp=/q\n--interval\n0\n--mtu\n9000\n--idle\nspin\n"
                 "--verify\n--json\n/j\n--cmdline-file\n/c\n--peer-timeout\n50\n--hold\n10\n--rekey\n1024\n"
                 "--reconnect\n0\n--connect-timeout\n0\n--precopy-threshold\n1\n--precopy-rounds\n1\n--port\n1\n"
                 "--ip\n10.0.0.1\n--udp-port\n2000\n--window\n64\n--rxd\n64\n--txd\n64\n--steering\nrss\n"
                 "--zero-copy\noff\n--device-state-size\n1M\n--fault\ndrop=1",
    }
    for name, value in lines.items():
        put("options", name, value.encode())


def prompts():
    verbs = "start\nstop\ncheckpoint now\nverify\nfailover\nset interval 100\nset codec zstd:5\nshow config\n" \
        "show port\nshow channel\nshow block\nshow epoch\nshow stats\nshow stats all\nclear stats\n" \
        "wait epochs 1\nwait epochs 2 3\nwait state IDLE\nwait state NONE 1\nwait seconds 1\nhelp\nquit\n"
    for name, options in (("script", 1), ("script_secondary", 3), ("typed", 0), ("typed_refused", 4)):
        put("prompt", name, bytes([options]) + verbs.encode())
    put("prompt", "script_wrong", b"\1# words\n\nshow\n")
    put("prompt", "script_values", b"\1set interval 3600001\n")
    put("prompt", "script_codec", b"\1set codec lz4\n")
    put("prompt", "script_nul", b"\1start\0\n")
    put("prompt", "script_long", b"\1" + b"x" * 600 + b"\n")
    put("prompt", "completion", b"\0sh\t c\t\nse\t\t\nwait s\t\t\t NAME\n?\n")
    put("prompt", "keys", b"\0start\x1b[A\x1b[B\x1b[C\x1b[D\x01\x05\x0b\x19\x17\x7f\x15\x0cstop\n\x12\x10\x0e\n")
    put("prompt", "values", b"\0set interval -1\nset interval 99999999999\nwait epochs 0\nwait seconds x\n"
                            b"set codec zstd:99\nshow nothing\nbogus\nstart now\n")
    put("prompt", "long", b"\0" + b"a" * 700 + b"\n" + b"b " * 300 + b"\nquit\n")
    put("prompt", "end_of_input", b"\2show epoch\n\x04")


for make in (frames, feedbacks, lanes, hellos, journals, locksteps, qmps, streams, migrations, multifds, options, prompts):
    make()

# SPDX-License-Identifier: BSD-3-Clause
"""A primary of a few lines, which can say what no real one says: session over TCP, raw frames.

It follows lib/session/hello.h and lib/wire/wire.h, written a second time on purpose: what both
understand is what is written there.
"""
import contextlib
import ctypes
import socket
import struct
import time
import zlib

HELLO, ACCEPT, REFUSE, START, PING, PONG, ABORT, BYE = range(1, 9)
FRAME_PAGE, FRAME_FEEDBACK, FRAME_CONTROL = 1, 2, 3
RAW, ZERO, ZSTD = 1, 2, 3
BEGIN, END = 1, 2
CLONE_NEWNET = 0x40000000
HEADER = struct.Struct(">BBBBIQIIHHI")
RECORD = struct.Struct(">IBBHHHI")
PAGE = 4096

_libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def inside(namespace):
    """Sockets made in here belong to the namespace for ever."""
    with open("/proc/self/ns/net", "rb") as home, open(f"/run/netns/{namespace.name}", "rb") as there:
        if _libc.setns(there.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        try:
            yield
        finally:
            _libc.setns(home.fileno(), CLONE_NEWNET)


class Session:
    """The TCP connection, message by message."""

    def __init__(self, host, port, namespace=None, timeout=10):
        with inside(namespace) if namespace else contextlib.nullcontext():
            self.socket = socket.create_connection((host, port), timeout)

    def send(self, kind, body=b""):
        self.socket.sendall(struct.pack(">HH", kind, len(body)) + body)

    def _exactly(self, n):
        data = b""
        while len(data) < n:
            more = self.socket.recv(n - len(data))
            if not more:
                raise EOFError("the secondary closed the session")
            data += more
        return data

    def receive(self):
        """(kind, body) of the next message that is not a PING; those are answered."""
        while True:
            kind, length = struct.unpack(">HH", self._exactly(4))
            body = self._exactly(length)
            if kind != PING:
                return kind, body
            self.send(PONG)

    def close(self):
        self.socket.close()


def address(mac, ip, source_port):
    return mac + b"\x04" + ip + struct.pack(">H", source_port)


def hello(blocks, own, session=0x1234, mtu=4200, channels=1, version=3, timeout_ms=60000, hold_ms=1000,
          instance=1, committed=0, doubt=0, seal_shift=31):
    body = struct.pack(">HIIHHIIQIIB", version, session, mtu, channels, len(blocks), timeout_ms, hold_ms,
                       instance, committed, doubt, seal_shift)
    body += own
    for name, size in blocks:
        body += bytes([len(name)]) + name.encode() + struct.pack(">Q", size)
    return body


def checksum(data):
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    total = (total & 0xffff) + (total >> 16)
    return ~((total & 0xffff) + (total >> 16)) & 0xffff


class FakePrimary:
    """Connects, says hello, starts; frames are then sent one by one."""

    MAC = bytes.fromhex("0200c0100001")
    IP = bytes([169, 254, 7, 1])
    PORT = 17990
    SESSION = 0x1234

    def __init__(self, namespace, interface, host, port, blocks, **fields):
        self.session = Session(host, port, namespace)
        with inside(namespace):
            self.raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
            self.raw.bind((interface, 0))
        self.raw.settimeout(5)
        self.packet_number = 0
        self.slot = 0
        self.epoch = 0
        self.session.send(HELLO, hello(blocks, address(self.MAC, self.IP, self.PORT),
                                       session=self.SESSION, **fields))
        kind, body = self.session.receive()
        if kind != ACCEPT:
            raise EOFError(f"not accepted: {body[1:].decode('ascii', 'replace')}")
        self.peer_mac, self.peer_ip = body[6:12], body[13:17]
        self.peer_port = struct.unpack(">H", body[19:21])[0]
        self.session.send(START, struct.pack(">HH", 1, self.PORT + 1))

    def outer(self, payload, **change):
        """Ethernet, IPv4 and UDP around a payload."""
        udp_length = change.get("udp_length", 8 + len(payload))
        total = change.get("ip_length", 28 + len(payload))
        head = struct.pack(">BBHHHBBH", change.get("ihl", 0x45), 0, total, 0,
                           change.get("fragment", 0x4000), 64, change.get("protocol", 17), 0)
        head += change.get("source", self.IP) + self.peer_ip
        head = head[:10] + struct.pack(">H", checksum(head) ^ change.get("checksum_xor", 0)) + head[12:]
        udp = struct.pack(">HHHH", self.PORT, change.get("port", self.peer_port), udp_length,
                          change.get("udp_checksum", 0))
        frame = self.peer_mac + self.MAC + b"\x08\x00" + head + udp + payload
        return frame[:change["cut"]] if "cut" in change else frame

    def payload(self, kind, table, rest, covered=None, **change):
        """colo_header, what its CRC covers, and the rest. `change` replaces header fields."""
        length = change.get("length", HEADER.size + len(table) + len(rest))
        fields = [change.get("version", 1), kind, change.get("channel", 0),
                  change.get("n_records", len(table) // RECORD.size if kind == FRAME_PAGE else 0),
                  change.get("session", self.SESSION), self.packet_number,
                  change.get("epoch", self.epoch),
                  change.get("slot", self.slot if kind == FRAME_PAGE else 0), length,
                  change.get("flags", 0)]
        self.packet_number += 1
        body = table + rest
        under_crc = body if covered is None else body[:covered]
        crc = zlib.crc32(HEADER.pack(*fields, 0) + under_crc) ^ change.get("crc_xor", 0)
        return HEADER.pack(*fields, crc) + body

    def send(self, frame):
        self.raw.send(frame)

    def begin(self, epoch, kind=1):
        """Open an epoch. Raises TimeoutError if the answer is not OK within 5 s."""
        request = struct.pack(">IBBBB", epoch, BEGIN, kind, 0, 0)
        deadline = time.monotonic() + 5
        self.epoch = epoch
        while time.monotonic() < deadline:
            self.send(self.outer(self.payload(FRAME_CONTROL, b"", request)))
            for kind_of, body in self.frames(0.2):
                if kind_of == FRAME_CONTROL and body[:8] == struct.pack(">IBBBB", epoch, BEGIN, 0, 0, 1):
                    return
        raise TimeoutError("BEGIN is not answered")

    def frames(self, seconds):
        """(type, what follows the header) of frames from the secondary, for so long."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.raw.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                frame = self.raw.recv(65536)
            except TimeoutError:
                return
            if frame[:6] == self.MAC and frame[23] == 17 and len(frame) >= 42 + HEADER.size:
                yield frame[43], frame[42 + HEADER.size:]

    def page_packet(self, records, **change):
        """records: [(page, block, kind, length, offset, count, crc, contents)]."""
        table = b"".join(RECORD.pack(*r[:7]) for r in records)
        rest = b"".join(r[7] for r in records)
        return self.payload(FRAME_PAGE, table, rest, covered=len(table), **change)

    def cum(self):
        """Ask for feedback: every slot below is placed."""
        self.send(self.outer(self.page_packet([raw(0, bytes(PAGE))], slot=0, flags=1)))
        cum = None
        for kind, body in self.frames(0.3):
            if kind == FRAME_FEEDBACK:
                cum = struct.unpack(">Q", body[:8])[0]
        return cum

    def close(self):
        self.raw.close()
        self.session.close()


def raw(page, contents, block=0, **change):
    """A whole raw page as a record."""
    return (page, block, change.get("kind", RAW), change.get("length", len(contents)),
            change.get("offset", 0), change.get("count", 1),
            change.get("crc", zlib.crc32(contents)), contents)


def zero(page, count, block=0, **change):
    return (page, block, ZERO, change.get("length", 0), change.get("offset", 0), count,
            change.get("crc", 0), change.get("contents", b""))

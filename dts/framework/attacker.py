# SPDX-License-Identifier: BSD-3-Clause
"""Somebody else on the segment: hears what passes, and sends what it likes.

    namespace a: primary   va0 10.98.0.1 ---+
    namespace b: secondary va1 10.98.0.2 ---+--- br0, namespace lan
    namespace x: attacker  va2 10.98.0.3 ---+
"""
import collections
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.l2 import Ether
from scapy.packet import Raw

import colo_env as env

from .fake_primary import HEADER, checksum, inside
from .netns import veth

FLOOD = Path(__file__).resolve().parent / "flood.py"
MTU = 9000  # of the segment: frames of more than the session's MTU get through
OUTER = 42  # bytes of Ethernet, IPv4 and UDP headers
KEEP = 300  # recorded frames of a kind
ETH_P_IP = 0x0800
MAC = "02:00:00:00:00:99"
OWN = bytes.fromhex(MAC.replace(":", ""))


class Lan:
    """A bridge, and the three namespaces at it."""

    def __init__(self, run):
        self.lan = run.namespace("lan")
        self._forward_everything()
        # a hub at first: it learns nothing, so the attacker hears everything
        self.lan.ip("link", "add", "br0", "type", "bridge", "forward_delay", "0", "ageing_time", "0",
                    "mcast_snooping", "0")
        self.a, self.b, self.x = (run.namespace(name) for name in "abx")
        for i, namespace in enumerate((self.a, self.b, self.x)):
            veth(namespace, self.lan, MTU, i, (f"10.98.0.{i + 1}/24", None))
            self.lan.ip("link", "set", f"vb{i}", "master", "br0")
        self.lan.ip("link", "set", "br0", "mtu", str(MTU), "up")

    def _forward_everything(self):
        """A bridge whose kernel has br_netfilter loaded would drop what is no valid IP."""
        for name in ("iptables", "ip6tables", "arptables"):
            subprocess.run(self.lan.command("sysctl", "-q", "-w", f"net.bridge.bridge-nf-call-{name}=0"),
                           check=False, stderr=subprocess.DEVNULL)

    def become_switch(self):
        """From now on everybody hears only what is for him."""
        self.lan.ip("link", "set", "br0", "type", "bridge", "ageing_time", "30000")


class Recorder(threading.Thread):
    """Keeps the latest frames of each (session, type) that pass."""

    def __init__(self, namespace, interface):
        super().__init__(daemon=True)
        with inside(namespace):
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_IP))
            self.socket.bind((interface, 0))
        self.socket.settimeout(0.1)
        self.frames = collections.defaultdict(lambda: collections.deque(maxlen=KEEP))
        self.over = False
        self.start()

    def run(self):
        while not self.over:
            try:
                frame = self.socket.recv(65536)
            except TimeoutError:
                continue
            if len(frame) >= OUTER + HEADER.size and frame[23] == 17:
                version, kind, _, _, session = HEADER.unpack_from(frame, OUTER)[:5]
                # both ends send control frames: those of the secondary come from its address
                if version == 1:
                    self.frames[session, kind, frame[30:34]].append(frame)

    def close(self):
        """@return {(session, type, destination): frames}."""
        self.over = True
        self.join()
        self.socket.close()
        return {key: list(kept) for key, kept in self.frames.items()}


class Target:
    """An end, as the frames on their way to it describe it."""

    def __init__(self, frame):
        self.mac, self.peer_ip, self.ip = (frame[:6], *struct.unpack_from(">4s4s", frame, 26))
        self.source_port, self.port = struct.unpack_from(">HH", frame, 34)

    def outer(self, payload, port=None, **change):
        """The frame around a payload. `change`: ip_length, ip_checksum, udp_length, udp_checksum, fragment
        (flags included), source (address)."""
        ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, change.get("ip_length", 28 + len(payload)), 1,
                         change.get("fragment", 0x4000), 64, 17, 0, change.get("source", self.peer_ip), self.ip)
        ip = ip[:10] + struct.pack(">H", change.get("ip_checksum", checksum(ip))) + ip[12:]
        udp = struct.pack(">HHHH", self.source_port, self.port if port is None else port,
                          change.get("udp_length", 8 + len(payload)), change.get("udp_checksum", 0))
        return self.mac + OWN + b"\x08\x00" + ip + udp + payload

    def packets(self, layers):
        """Frames of scapy's layers, from the peer to this end."""
        head = Ether(src=MAC, dst=":".join(f"{b:02x}" for b in self.mac)) / IP(
            src=socket.inet_ntoa(self.peer_ip), dst=socket.inet_ntoa(self.ip))
        return [bytes(head / layer) for layer in layers]


class Attacker:
    """Sends frames into the segment, from its namespace."""

    def __init__(self, run, lan):
        self._run = run
        self.lan = lan
        with inside(lan.x):
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            self.socket.bind(("va2", 0))
        run.keep(self.socket.close)
        self._n = 0

    def send(self, frames):
        """No faster than a ring of a few hundred frames takes them. From its own MAC address always: with
        another's the bridge would send it what is the other's, and that is a cut wire."""
        for i, frame in enumerate(frames):
            self.socket.send(frame[:6] + OWN + frame[12:])
            if i % 25 == 24:
                time.sleep(0.003)

    def flood(self, frames, seconds):
        """At line rate, by a process of its own. @return the process; flooded() says how many."""
        self._n += 1
        path = self._run.dir / f"flood{self._n}.frames"
        path.write_bytes(b"".join(struct.pack(">H", len(f)) + f for f in frames))
        flooder = env.ROOT / "build" / "tests" / "tools" / "flooder"
        return self._run.start(f"flooder{self._n}", self.lan.x.command(flooder, "va2", path, seconds))

    def call(self, kind, port, seconds):
        """A flood of callers of the secondary's session port."""
        return self._run.start(f"flood-{kind}", self.lan.x.command(
            sys.executable, FLOOD, "10.98.0.2", port, kind, seconds))

    def syns(self, mac, port, n=512):
        """SYNs to the secondary from addresses that do not answer."""
        return [bytes(Ether(src=MAC, dst=mac) / IP(src=f"10.98.{1 + i // 200}.{1 + i % 200}", dst="10.98.0.2")
                      / TCP(sport=1024 + i, dport=port, flags="S", seq=i)) for i in range(n)]


def flooded(process, word, timeout=60):
    """Wait for a flood's end. @return how many it says it sent."""
    assert process.wait(timeout) == 0, process.output()
    return int(process.output().split(f" {word}")[0].split()[-1])

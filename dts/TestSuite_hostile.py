# SPDX-License-Identifier: BSD-3-Clause
"""Two processes, and an attacker on their segment. Whatever it sends, nothing is placed, nothing grows,
checkpoints go on, and each way to be refused has its counter, which rises by what was sent.

How many frames of a kind were forged is recorded as a property `forged.KIND` (or `callers.KIND`) of the
test: scripts/reliability-report adds them up.
"""
import os
import pathlib
import random
import re
import struct
import time
import zlib

import pytest

from framework import eal, fake_primary as fake
from framework.attacker import (ICMP, IP, OUTER, TCP, Attacker, Ether, Lan, Recorder, Target, flooded,
                                fragment)
from framework.prompt import Prompt
from framework.report import total
from framework.telemetry import Telemetry

PORT = 17999  # of the session, in namespaces of our own
MTU = 4200
N = 100  # frames of a kind
TRIES = 4  # frames that the wire lost are sent again, so often
SIZE = "16M"
SOURCE = f"synthetic,size={SIZE},dirty=400,seed=7"
# a flood may take the cores for so long; the guest of a test can wait
PATIENT = ["--peer-timeout", 60000, "--hold", 60000]
PAGE, FEEDBACK, CONTROL = fake.FRAME_PAGE, fake.FRAME_FEEDBACK, fake.FRAME_CONTROL
# What a genuine frame may end as, as well: late or sent again; and what other hosts say
GENUINE = {"drop_foreign", "drop_epoch"}


class End:
    """One of the two processes, as the attacker's test sees it."""

    def __init__(self, pid, name):
        self.pid = pid
        self.side = "receive" if name == "secondary" else "send"
        self.telemetry = Telemetry(pid)
        self.target = None
        self.header = []  # fields of a recorded frame on its way here

    def counters(self):
        return self.telemetry.ask("/colo/stats")[self.side]

    def callers(self):
        return self.telemetry.ask("/colo/stats")["callers"]

    def resident(self):
        """Bytes of memory in use, huge pages included."""
        text = pathlib.Path(f"/proc/{self.pid}/status").read_text("ascii")
        return 1024 * sum(int(n) for n in re.findall(r"^(?:VmRSS|HugetlbPages):\s+(\d+)", text, re.M))

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def payload(self, body, **change):
        """A recorded frame's header with some fields replaced, and a body."""
        names = ["version", "kind", "channel", "n_records", "session", "packet_number", "epoch", "slot",
                 "length", "flags", "crc"]
        fields = dict(zip(names, self.header))
        fields["length"] = fake.HEADER.size + len(body)
        fields.update(change)
        return fake.HEADER.pack(*(fields[name] for name in names)) + body

    def forge(self, body, outer=None, **change):
        return self.target.outer(self.payload(body, **change), **(outer or {}))


class Siege:
    """Secondary (at a prompt), primary, attacker."""

    def __init__(self, start_run, secured, interval):
        # no huge pages: what others do with them is not to matter
        run = self.run = start_run()
        self.lan = Lan(run)
        self.security = ["--psk-file", run.psk()] if secured else ["--insecure"]
        self.recorder = Recorder(self.lan.x, "va2")
        self.prompt = Prompt(run, eal.af_packet("va1", 1, huge=False), [
            "--role", "secondary", "--listen", f"10.98.0.2:{PORT}", "--mtu", MTU, *PATIENT,
            *self.security, "--block", f"pc.ram,size={SIZE}", "--json", run.dir / "secondary.json"],
            timeout=60, namespace=self.lan.b)
        self.prompt.ready()
        self.interval = interval
        self.forged = {}
        self.attacker = Attacker(run, self.lan)
        self.secondary = End(self.prompt.child.pid, "secondary")
        self.primary_process = self.primary = None

    def start_primary(self, *options):
        self.primary_process = self.run.program(
            f"primary{len(self.forged)}{len(options)}", eal.af_packet("va0", 1, huge=False),
            ["--role", "primary", "--connect", f"10.98.0.2:{PORT}", "--mtu", MTU, *PATIENT, *self.security,
             "--source", SOURCE, "--verify", "--json", self.run.dir / "primary.json", *options], self.lan.a)
        return self.primary_process

    def epochs(self):
        self.prompt.drain()
        return [int(n) for n in re.findall(r"^epoch (\d+):", self.primary_process.output(), re.M)]

    def wait_epochs(self, more, timeout=60):
        """Wait until so many checkpoints more are committed, and verified."""
        wanted = len(self.epochs()) + more
        deadline = time.monotonic() + timeout
        while len(self.epochs()) < wanted:
            assert time.monotonic() < deadline, self.primary_process.output()[-1500:]
            assert self.primary_process.alive(), self.primary_process.output()[-1500:]
            time.sleep(0.02)

    def besiege(self):
        """Start the session to be attacked; know it from what passed. @return recorded frames of it."""
        self.start_primary("--interval", self.interval)
        self.primary_process.wait_for("PROTECTED", 60)
        self.wait_epochs(1)
        self.primary = End(self.primary_process.pid, "primary")
        session = self.primary.telemetry.ask("/colo/epoch")["primary"]["session"]
        recorded = self.recorder.close()
        self.lan.become_switch()
        own = {}
        for (of, kind, destination), frames in recorded.items():
            if of == session:
                own[kind, destination] = frames
        [pages] = [frames for (kind, _), frames in own.items() if kind == PAGE]
        [feedback] = [frames for (kind, _), frames in own.items() if kind == FEEDBACK]
        for end, frames in ((self.secondary, pages), (self.primary, feedback)):
            end.target = Target(frames[-1])
            end.header = fake.HEADER.unpack_from(frames[-1], OUTER)
        to = {PAGE: pages, FEEDBACK: feedback,
              "requests": own[CONTROL, self.secondary.target.ip], "answers": own[CONTROL, self.primary.target.ip]}
        others = [f for (of, kind, _), frames in recorded.items() if of != session and kind == PAGE
                  for f in frames]
        return to, others

    def strike(self, kind, end, frames, counter, also=()):
        """Send frames of a kind; `frames`: a list, or what makes N of them that fit this moment. Verify:
        `counter` rises by their number, no other but `also`, whose rise counts for them, too. What the wire
        loses is sent again."""
        make = frames if callable(frames) else lambda: frames
        before = end.counters()
        left = make()
        wanted, got = len(left), 0
        for _ in range(TRIES):
            self.attacker.send(left)
            self.forged[kind] = self.forged.get(kind, 0) + len(left)
            got = self._until(end, before, [counter, *also], wanted)
            if got >= wanted:
                break
            left = make()[:wanted - got]
        now = end.counters()
        risen = {name for name in now if name.startswith("drop_") and now[name] != before[name]}
        # what genuine frames may end as is no attack's; where it is the attack's, it may be more than that
        assert got == wanted or (counter in GENUINE and got > wanted), (kind, end.side, got, wanted, risen)
        assert risen <= {counter, *also} | GENUINE, (kind, end.side, risen)

    def _until(self, end, before, names, wanted):
        deadline = time.monotonic() + 3
        while True:
            self.prompt.drain()
            now = end.counters()
            got = sum(now[name] - before[name] for name in names)
            if got >= wanted or time.monotonic() > deadline:
                return got
            time.sleep(0.01)

    def end(self):
        """End both in order. Verify: every checkpoint was compared and the same. @return the reports."""
        assert self.primary_process.stop(60) == 0, self.primary_process.output()[-1500:]
        self.prompt.type("show epoch")
        self.prompt.child.sendline("quit")
        assert self.prompt.end() == 0
        sent, received = self.run.json("primary.json"), self.run.json("secondary.json")
        summary = sent["summary"]
        assert summary["mismatches"] == 0 and summary["epochs"] >= summary["verified"] > 0, summary
        assert total(received, "receive", "rx_placed") > 0
        return sent, received


def noise(n):
    return random.randbytes(n)


def strike_anyone(siege, end, body):
    """What is wrong whoever gets it, and whether frames are sealed or not: nothing but what is in the
    clear is looked at. `body`: length of a body that fits."""
    forge = end.forge
    target = end.target
    some = [noise(body) for _ in range(8)]
    whole = forge(some[0])

    def frames(make):
        return [make(i) for i in range(N)]
    strike = siege.strike
    strike("foreign", end, frames(lambda i: forge(some[i % 8], {"source": bytes([10, 1, 2, 1 + i])})),
           "drop_foreign")
    strike("other protocol", end, target.packets([layer for i in range(N // 2) for layer in (ICMP(id=i), TCP(sport=i, dport=target.port))]),
           "drop_foreign")
    strike("wrong IP checksum", end, frames(lambda i: forge(some[i % 8], {"ip_checksum": 1 + i})), "drop_checksum")
    strike("wrong UDP checksum", end, frames(lambda i: forge(some[i % 8], {"udp_checksum": 1 + 600 * i})),
           "drop_checksum")
    strike("jumbo", end, frames(lambda i: forge(noise(MTU - 28 - 32 + 1 + 45 * i))), "drop_jumbo")
    strike("other port", end, frames(lambda i: forge(some[i % 8], {"port": target.port + 1 + 400 * i & 0xffff})),
           "drop_port")
    strike("truncated", end, frames(lambda i: whole[:OUTER + i * 41 % (len(whole) - OUTER)]), "drop_length")
    strike("cut in its headers", end, frames(lambda i: whole[:15 + i % 27]), "drop_short")
    strike("wrong IP length", end, frames(lambda i: forge(some[0], {"ip_length": 20 + i % 8})), "drop_length")
    strike("wrong UDP length", end, frames(lambda i: forge(some[0], {"udp_length": len(whole) + i})), "drop_length")
    strike("wrong length", end, frames(lambda i: forge(some[0], length=len(whole) + i)), "drop_length")
    strike("too short", end, frames(lambda i: target.outer(noise(i % 32))), "drop_short")
    strike("other version", end, frames(lambda i: forge(some[i % 8], version=2 + i)), "drop_version")
    strike("garbage", end, frames(lambda i: target.outer(b"\0" + noise(31 + 20 * i))), "drop_version")
    strike("other session", end, frames(lambda i: forge(some[i % 8], session=random.getrandbits(32) | 1)),
           "drop_session")
    strike("other channel", end, frames(lambda i: forge(some[i % 8], channel=1 + i)), "drop_channel")
    strike("unknown type", end, frames(lambda i: forge(some[i % 8], kind=4 + i)), "drop_type")
    other = FEEDBACK if end is siege.secondary else PAGE
    strike("the other end's type", end, frames(lambda i: forge(some[i % 8], kind=other)), "drop_type")
    strike("wrong number of records", end, frames(lambda i: forge(some[i % 8], n_records=17 + i)), "drop_records")
    # the kernel puts fragments together, or does not: whatever it does, it is not ours
    before = end.counters()
    pieces = [bytes(piece) for i in range(N // 4) for piece in fragment(
        Ether(target.outer(noise(1200)))[IP].copy(), 400)[:-1]]
    siege.attacker.send([target.mac + whole[6:14] + piece for piece in pieces])
    siege.forged["fragment"] = siege.forged.get("fragment", 0) + len(pieces)
    now = end.counters()
    assert {n for n in now if n.startswith("drop_") and now[n] != before[n]} <= GENUINE | {"drop_fragment"}


def record(record_property, forged):
    for kind, n in forged.items():
        record_property(kind if kind.startswith("callers.") else f"forged.{kind.replace(' ', '_')}", n)


def visible(text, names):
    """`show stats` says in one line how many frames were refused, and why."""
    line = re.search(r"^(\d+) frames refused: (.*)$", text.replace("\r", ""), re.M)
    assert line, text
    reasons = dict(reversed(word.split(" ", 1)) for word in line.group(2).split(", "))
    assert sum(int(n) for n in reasons.values()) == int(line.group(1))
    assert names <= set(reasons), (names, reasons)


@pytest.mark.slow
def test_sealed(start_run, record_property):
    """Step: with a key: everything of one kind after the other, to both ends, while checkpoints go on;
    frames recorded from this session and from another; then floods of frames and of callers.

    Verify: the counter of the kind rises by what was sent and no other; every checkpoint is the same at
    both ends; no memory, no descriptor more; `show stats` says what happened.
    """
    siege = Siege(start_run, True, 300)
    # a session before, for its frames
    assert siege.start_primary("--interval", 50, "--epochs", 2).wait(60) == 0, siege.primary_process.output()
    recorded, others = siege.besiege()
    secondary, primary = siege.secondary, siege.primary
    late = secondary.header[5] + (1 << 30)  # packet numbers that nobody has used

    def fresh(frames, **change):
        """Recorded frames with packet numbers that are new, and so not refused for these."""
        names = ("version", "kind", "channel", "n_records", "session", "packet_number", "epoch", "slot",
                 "length", "flags", "crc")
        fields = [dict(zip(names, fake.HEADER.unpack_from(f, OUTER))) for f in frames]
        return [f[:OUTER] + fake.HEADER.pack(*{**own, "packet_number": late + i, **change}.values())
                + f[OUTER + fake.HEADER.size:] for i, (f, own) in enumerate(zip(frames, fields))]

    for end, body in ((secondary, 4128), (primary, 48)):
        strike_anyone(siege, end, body)
        strike = siege.strike
        own = PAGE if end is secondary else FEEDBACK
        some = [noise(body) for _ in range(8)]
        strike("forged seal", end, [end.forge(some[i % 8], packet_number=late + i) for i in range(N)], "drop_seal")
        strike("forged control", end, [end.forge(noise(40), kind=CONTROL, n_records=0, packet_number=late + i)
                                       for i in range(N)], "drop_seal")
        strike("of a far key", end, [end.forge(some[i % 8], packet_number=(1 << 63) + i) for i in range(N)],
               "drop_seal")
        strike("without a seal", end, [end.forge(noise(i % 16)) for i in range(N)], "drop_short")
        # one that the end's ring lost is new to it, and genuine: its content came already
        strike("replayed", end, recorded[own][:N], "drop_replay", ["rx_duplicate"] if end is secondary else [])
        control = recorded["requests" if end is secondary else "answers"]
        strike("replayed control", end, (control * N)[:N], "drop_replay")
        strike("recorded under a new number", end, fresh(recorded[own][:N]), "drop_seal")
    strike("other epoch under the seal", secondary, fresh(recorded[PAGE][:N], epoch=7), "drop_seal")
    strike("of another session", secondary, others[:N], "drop_session")
    siege.wait_epochs(2)
    visible(siege.prompt.type("show stats"), {"seal", "replay", "checksum", "jumbo", "port", "short", "length",
                                              "version", "session", "channel", "type", "records"})
    flood(siege)
    siege.end()
    record(record_property, siege.forged)


def flood(siege):
    """Floods of frames to both ends, SYNs, half-open handshakes, slow writers, long hellos, all at once."""
    secondary, primary = siege.secondary, siege.primary
    late = secondary.header[5] + (1 << 30)
    frames = {secondary: [secondary.forge(noise(4128), packet_number=late + i) for i in range(64)],
              primary: [primary.forge(noise(48), packet_number=late + i) for i in range(64)]}
    mac = ":".join(f"{b:02x}" for b in secondary.target.mac)
    flooded(siege.attacker.flood(frames[secondary], 1), "frames")  # so that every buffer was used once
    siege.wait_epochs(1)
    memory = {end: end.resident() for end in frames}
    descriptors = secondary.descriptors()
    before = {end: end.counters() for end in frames}
    callers = secondary.callers()
    floods = [siege.attacker.flood(frames[secondary], 3), siege.attacker.flood(frames[primary], 3),
              siege.attacker.flood(siege.attacker.syns(mac, PORT), 3)]
    calls = [siege.attacker.call(kind, PORT, 3) for kind in ("silent", "byte", "hello", "garbage")]
    most, epochs = descriptors, len(siege.epochs())
    while any(f.alive() for f in floods + calls):
        siege.prompt.drain()
        most = max(most, secondary.descriptors())
        time.sleep(0.05)
    during = len(siege.epochs()) - epochs
    sent = [flooded(f, "frames") for f in floods]
    made = sum(flooded(f, "calls") for f in calls)
    siege.wait_epochs(2)
    assert most <= descriptors + 256 + 8 + 4, (descriptors, most)  # lobby and places, see security.md
    for end, n in zip(frames, sent):
        risen = {name: value - before[end][name] for name, value in end.counters().items()}
        assert 1000 < risen["drop_seal"] <= n, (end.side, risen["drop_seal"], n)
        assert end.resident() - memory[end] < 4 << 20, (end.side, memory[end], end.resident())
    now = secondary.callers()
    assert now["tcp_accepted"] - callers["tcp_accepted"] > 100, (made, now)
    assert now["tcp_authenticated"] == callers["tcp_authenticated"]
    deadline = time.monotonic() + 30
    while secondary.descriptors() > descriptors and time.monotonic() < deadline:
        siege.prompt.drain()
        time.sleep(0.05)
    assert secondary.descriptors() <= descriptors
    text = siege.prompt.type("show stats")
    assert re.search(r"^\d+ callers refused: .*evicted", text.replace("\r", ""), re.M), text
    siege.forged["flood of frames"] = sum(sent[:2])
    siege.forged["callers.SYN"] = sent[2]
    siege.forged["callers.flood"] = made
    epoch = secondary.telemetry.ask("/colo/epoch")["secondary"]
    assert (epoch["sessions"], epoch["aborted"]) == (2, 0), epoch
    assert during >= 1, (sent, made)  # whoever floods takes cores, not the session


def crc(head, table):
    """A frame's payload with the CRC that an unsealed one has; `head` has 0 there."""
    return head[:28] + struct.pack(">I", zlib.crc32(head + table)) + table


@pytest.mark.slow
def test_insecure(start_run, record_property):
    """Step: without a key: what is wrong by its structure, with a CRC that is right.

    Verify: refused like that as well, each with its counter; every checkpoint is the same at both ends.
    """
    siege = Siege(start_run, False, 3000)
    siege.besiege()
    secondary, primary = siege.secondary, siege.primary
    strike_anyone(siege, secondary, 4112)
    strike_anyone(siege, primary, 48)
    contents = noise(fake.PAGE)
    siege.wait_epochs(1)  # an epoch is open now, and stays so for a while

    def pages(records, **change):
        """Page packets that fit the session's slot and epoch of now."""
        slot = secondary.telemetry.ask("/colo/channel,0")["receive"]["cum"]
        epoch = secondary.telemetry.ask("/colo/epoch")["secondary"]["epoch"]
        table = b"".join(fake.RECORD.pack(*r[:7]) for r in records)
        rest = b"".join(r[7] for r in records)
        fields = {"slot": slot & 0xffffffff, "epoch": epoch, "n_records": len(records), "crc": 0, "flags": 0,
                  "length": 32 + len(table) + len(rest), **change}
        return [secondary.target.outer(crc(secondary.payload(b"", **fields, packet_number=(1 << 40) + i), table)
                                       + rest) for i in range(N)]

    def strike(kind, counter, records, **change):
        siege.strike(kind, secondary, lambda: pages(records, **change), counter)
    raw, zero = fake.raw, fake.zero
    strike("wrong block", "drop_block", [raw(1, contents, block=9)])
    strike("wrong kind of record", "drop_kind", [raw(1, contents, kind=9)])
    strike("beyond its block", "drop_range", [raw(1 << 20, contents)])
    strike("wrong geometry", "drop_geometry", [raw(1, contents[:4080])])
    strike("overlap", "drop_overlap", [zero(5, 2), zero(6, 1)])
    strike("no zstd", "drop_decode", [raw(1, b"not zstd", kind=fake.ZSTD)])
    strike("wrong contents", "drop_content_crc", [raw(1, contents, crc=7)])
    strike("wrong epoch", "drop_epoch", [raw(1, contents)], epoch=1 << 30)
    strike("beyond the window", "drop_window", [raw(1, contents)], slot=(secondary.header[7] + 100000) & 0xffffffff)
    siege.strike("wrong CRC", secondary, lambda: [f[:OUTER + 28] + noise(4) + f[OUTER + 32:]
                                                  for f in pages([raw(1, contents)])], "drop_header_crc")
    for end in secondary, primary:
        shape = [end.target.outer(crc(end.payload(b"", kind=CONTROL, n_records=0, crc=0, length=40), noise(7) + b"\7"))
                 for _ in range(N)]
        siege.strike("control without a shape", end, shape, "drop_control")
    words = struct.pack(">QQQIHH", 0, 0, 0, 0, 65, 0)
    siege.strike("feedback that cannot be", primary, [primary.target.outer(crc(primary.payload(
        b"", crc=0, length=64, packet_number=i), words)) for i in range(N)], "drop_feedback")
    siege.wait_epochs(1)
    visible(siege.prompt.type("show stats"), {"block", "kind", "range", "geometry", "overlap", "decode", "control"})
    siege.end()
    record(record_property, siege.forged)

# SPDX-License-Identifier: BSD-3-Clause
"""What bad input gets: one sentence and exit status 1, or a counter; and nothing is left behind."""
import socket
import struct
import time

import pytest

from framework import eal, fake_primary as fake
from framework.netns import veth
from framework.process import WaitError
from framework.telemetry import Telemetry

LIMIT = "127.0.0.1:47990"
PAIR = ["--role", "pair", "--source", "synthetic,size=16M,dirty=100"]
SECONDARY = ["--role", "secondary", "--listen", LIMIT, "--block", "a,size=8k"]
PRIMARY = ["--role", "primary", "--source", "synthetic,size=16M,dirty=1", "--connect", LIMIT]


def last_sentence(p):
    """The line that gives up; there must be one, and no crash before it."""
    lines = [line for line in p.output().splitlines() if line.startswith("dpdk-colo: ")]
    assert len(lines) == 1, p.output()
    assert lines[0] == p.output().splitlines()[-1]
    return lines[0]


def refused(run, arguments, says, options, status=1, secured=True):
    p = run.program("colo", arguments, options, secured=secured)
    assert p.wait(30) == status, p.output()
    sentence = last_sentence(p)
    assert says in sentence, sentence


# ---- options ----

@pytest.mark.parametrize("options,says", [
    ([], "--role is missing: primary, secondary or pair"),
    (["--role", "x"], "--role x: primary, secondary or pair"),
    (["--role", "pair"], "--role pair needs --source"),
    (["--role", "secondary"], "needs --listen ADDR:PORT"),
    (["--role", "primary", "--source", "synthetic"], "needs --connect ADDR:PORT"),
    ([*PAIR, "--frob"], "--frob"),
    ([*PAIR, "--interval"], "--interval needs a value"),
    ([*PAIR, "stray"], "stray"),
    ([*PAIR, "--channels", "0"], "--channels 0: a number from 1 to 16"),
    ([*PAIR, "--channels", "17"], "--channels 17: a number from 1 to 16"),
    ([*PAIR, "--channels", "2"], "too few lcores"),
    ([*PAIR, "--mtu", "1279"], "--mtu 1279: a number from 1280 to 9000"),
    ([*PAIR, "--mtu", "9001"], "--mtu 9001"),
    ([*PAIR, "--interval", "3600001"], "from 0 to 3600000"),
    ([*PAIR, "--epochs", "-1"], "--epochs -1"),
    ([*PAIR, "--codec", "lz4"], "raw, zstd or zstd:LEVEL"),
    ([*PAIR, "--codec", "zstd:20"], "from -7 to 19"),
    ([*PAIR, "--idle", "lazy"], "spin or adaptive"),
    ([*PAIR, "--steering", "rss"], "RSS"),
    ([*PAIR, "--window", "65"], "a power of two from 64 to 4096"),
    ([*PAIR, "--window", "8192"], "a power of two from 64 to 4096"),
    ([*PAIR, "--rxd", "100"], "a power of two"),
    ([*PAIR, "--ip", "1.2.3"], "--ip 1.2.3: a numeric IPv4 or IPv6 unicast address"),
    ([*PAIR, "--udp-port", "80"], "from 1024 to 60000"),
    ([*PAIR, "--fault", "drop=51"], "0 to 50 percent"),
    ([*PAIR, "--fault", "lose=1"], "there is no key lose"),
    ([*PAIR, "--peer-timeout", "49"], "from 50 to 60000"),
    ([*PAIR, "--hold", "9"], "from 10 to 60000"),
    ([*PAIR, "--json", "/nonexistent/x"], "/nonexistent/x"),
    ([*PAIR, "--cmdline-file", "/nonexistent/x"], "/nonexistent/x"),
    ([*PAIR, "--device-state-size", "5000"], "a multiple of 4096"),
    ([*PAIR, "--device-state-size", "4k"], "--device-state-size")])
def test_options(start_run, options, says):
    """Step: one bad option. Verify: it is named, what is accepted as well; status 1."""
    refused(start_run(), eal.pair(1), says, options)


@pytest.mark.parametrize("source,says", [
    ("floppy", "synthetic, qmp or colo"),
    ("synthetic,size=4097", "a multiple of 4096"),
    ("synthetic,size=0", "a multiple of 4096"),
    ("synthetic,size=16M,dirty=4097", "more than the guest's 4096 pages"),
    ("synthetic,zero=101", "0 to 100 percent"),
    ("synthetic,colour=red", "there is no key colour"),
    ("synthetic,seed=1,seed=2", "twice"),
    ("synthetic,image=/nonexistent/image", "/nonexistent/image"),
    ("synthetic,image=/dev/null", "regular file of at least 4096 bytes"),
    ("synthetic,mix=5", "image=FILE is missing"),
    ("synthetic,size=16M,device=1G", "device=1073741824 does not fit"),
    ("qmp", "needs path=PATH"),
    ("qmp,path=/nonexistent/qmp", "no QMP socket at /nonexistent/qmp")])
def test_sources(start_run, source, says):
    """Step: a bad --source. Verify: as above."""
    refused(start_run(), eal.pair(1), says, ["--role", "pair", "--source", source])


@pytest.mark.parametrize("block,says", [
    ("a,size=4097", "a multiple of 4096"),
    ("a,size=0", "a multiple of 4096"),
    ("a,size=5T", "a multiple of 4096"),
    ("a", "size"),
    (",size=4k", "name"),
    ("n" * 64 + ",size=4k", "63"),
    ("colo.device-state,size=4k", "reserved"),
    ("a,size=4k,colour=red", "colour"),
    ("a,size=8k,guest=/nonexistent/ram", "/nonexistent/ram"),
    ("a,size=8k,guest=/dev/shm", "/dev/shm"),
    ("a,size=8k,cache=/dev/null", "/dev/null")])
def test_blocks(start_run, block, says):
    """Step: a bad --block. Verify: as above."""
    refused(start_run(), eal.null(1), says,
            ["--role", "secondary", "--listen", LIMIT, "--block", block])


def test_block_given_twice(start_run):
    """Step: two blocks of one name. Verify: refused."""
    refused(start_run(), eal.null(1), "twice", [*SECONDARY, "--block", "a,size=4k"])


def test_ram_file_shorter_than_its_block(start_run):
    """Step: a file of one page for a block of two. Verify: both sizes are named, the file stays."""
    run = start_run()
    ram = run.ram_file("ram")
    ram.write_bytes(bytes(4096))
    refused(run, eal.null(1), "has 4096 bytes, its block needs 8192",
            ["--role", "secondary", "--listen", LIMIT, "--block", f"a,size=8k,guest={ram}"])
    assert ram.read_bytes() == bytes(4096)


@pytest.mark.parametrize("options,says", [
    (["--standby", "unix:/nonexistent/standby"], "/nonexistent/standby"),
    (["--json", "/nonexistent/x"], "/nonexistent/x"),
    (["--steering", "rss"], "RSS"),
    (["--block", "b,size=8k,guest=/nonexistent/b"], "/nonexistent/b")])
def test_nothing_is_left_behind(start_run, options, says):
    """Step: fail after guest memory and cache were made. Verify: their files are gone again."""
    run = start_run()
    files = run.ram_file("guest"), run.ram_file("cache")
    refused(run, eal.null(1), says,
            ["--role", "secondary", "--listen", f"127.0.0.1:{run.port()}",
             "--block", f"a,size=8k,guest={files[0]},cache={files[1]}", *options])
    assert not any(f.exists() for f in files)


def test_no_port(start_run):
    """Step: no --vdev, then a port that is not there. Verify: how to get one is said."""
    run = start_run()
    refused(run, eal.pair(1), "no such ethdev port, 0 found", SECONDARY)
    refused(run, eal.null(1), "--port 7: no such ethdev port, 1 found", [*SECONDARY, "--port", "7"])


@pytest.mark.parametrize("listen,says", [
    ("localhost:5000", "a numeric IPv4 address"), ("127.0.0.1", "ADDR:PORT"),
    ("127.0.0.1:0", "from 1 to 65535"), ("127.0.0.1:65536", "from 1 to 65535"),
    ("::1:5000", "in brackets"), ("192.0.2.1:5000", "192.0.2.1")])
def test_listen(start_run, listen, says):
    """Step: a bad --listen. Verify: refused."""
    refused(start_run(), eal.null(1), says,
            ["--role", "secondary", "--listen", listen, "--block", "a,size=4k"])


def test_port_taken(start_run):
    """Step: listen where somebody listens. Verify: one sentence."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        port = s.getsockname()[1]
        refused(start_run(), eal.null(1), f"TCP port {port} of 127.0.0.1 is taken",
                ["--role", "secondary", "--listen", f"127.0.0.1:{port}", "--block", "a,size=4k"])


def test_no_secondary(start_run):
    """Step: connect where nobody listens. Verify: it is said within the timeout; status 1."""
    run = start_run()
    p = run.program("colo", eal.null(1), [*PRIMARY[:-1], f"127.0.0.1:{run.port()}",
                                          "--connect-timeout", "500"])
    assert p.wait(20) == 1
    assert "Connection refused" in p.output()


def test_standby_that_is_not_there(start_run):
    """Step: a standby socket that does not exist; one that speaks no QMP. Verify: refused."""
    run = start_run()
    refused(run, eal.null(1), "/nonexistent/standby",
            [*SECONDARY, "--standby", "unix:/nonexistent/standby"])
    path = run.dir / "mute"
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(path))
        s.listen()
        refused(run, eal.null(1), str(path), [*SECONDARY, "--standby", f"unix:{path}"])


def test_standby_without_incoming(start_run):
    """Step: a QEMU that does not wait for a migration. Verify: refused, it is left as it was."""
    run = start_run()
    qmp = run.dir / "standby.qmp"
    qemu = run.start("standby", ["qemu-system-x86_64", "-accel", "tcg", "-m", "16", "-nodefaults",
                                 "-display", "none", "-S", "-qmp", f"unix:{qmp},server=on,wait=off"])
    deadline = time.monotonic() + 10
    while not qmp.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    refused(run, eal.null(1), "incoming", [*SECONDARY, "--standby", f"unix:{qmp}"])
    assert qemu.alive()


# ---- two ends that do not fit ----

@pytest.mark.parametrize("primary,secondary,says", [
    (["--block", "ram,size=16M"], ["--block", "pc.ram,size=16M"], "ram"),
    (["--block", "pc.ram,size=16M"], ["--block", "pc.ram,size=32M"], "pc.ram"),
    (["--block", "pc.ram,size=16M"], ["--block", "pc.ram,size=16M", "--block", "b,size=4k"], "block"),
    (["--block", "pc.ram,size=16M", "--device-state-size", "8M"], ["--block", "pc.ram,size=16M"],
     "colo.device-state"),
    (["--block", "pc.ram,size=16M", "--mtu", "9000"], ["--block", "pc.ram,size=16M"], "MTU"),
    (["--block", "pc.ram,size=16M", "--ip", "fd00::1"], ["--block", "pc.ram,size=16M"], "IP")])
def test_ends_that_do_not_fit(start_run, primary, secondary, says):
    """Step: two processes with different blocks, sizes, MTUs. Verify: refused, the reason is told."""
    run = start_run()
    listen = f"127.0.0.1:{run.port()}"
    b = run.program("secondary", eal.null(1), ["--role", "secondary", "--listen", listen, *secondary])
    a = run.program("primary", eal.null(1), ["--role", "primary", "--source", "synthetic,dirty=1",
                                             "--connect", listen, *primary])
    assert a.wait(30) == 1, a.output()
    assert "refuse" in a.output().lower()
    [line] = [x for x in a.output().splitlines() if "refuses: " in x]
    assert says.lower() in line.lower(), a.output()
    assert b.alive()
    assert b.stop() == 0


# ---- a session's port is open to anybody: without TLS, what they say is read ----

@pytest.fixture
def secondary(start_run):
    """A secondary on net_null, and where it listens."""
    run = start_run()
    port = run.port()
    p = run.program("secondary", eal.null(1), ["--role", "secondary", "--insecure", "--block", "a,size=8k",
                                               "--listen", f"127.0.0.1:{port}"])
    p.wait_for(r"^json +none")
    return p, port


OWN = fake.address(fake.FakePrimary.MAC, fake.FakePrimary.IP, 17990)
BLOCKS = [("a", 8192), ("colo.device-state", 4 << 20)]


@pytest.mark.parametrize("body,says", [
    (fake.hello(BLOCKS, OWN, version=1), "version"),
    (fake.hello(BLOCKS, OWN, version=4), "version"),
    (fake.hello(BLOCKS, OWN, instance=0), "instance"),
    (fake.hello(BLOCKS, OWN, committed=5, doubt=5), "doubt"),
    (fake.hello(BLOCKS, OWN, session=0), "session"),
    (fake.hello(BLOCKS, OWN, mtu=1279), "MTU"),
    (fake.hello(BLOCKS, OWN, channels=17), "channels"),
    (fake.hello(BLOCKS * 9, OWN), "blocks"),
    (fake.hello([("a", 8191)], OWN), "multiple"),
    (fake.hello([("a", 4096), ("a", 4096)], OWN), "two blocks"),
    (fake.hello(BLOCKS, OWN)[:-1], "too short"),
    (fake.hello(BLOCKS, OWN) + b"\0", "beyond its last field"),
    (fake.hello(BLOCKS, OWN, timeout_ms=49), "timeout"),
    (b"", "too short")])
def test_wrong_hello(secondary, body, says):
    """Step: a hello with one thing wrong. Verify: REFUSE that names it, and the next caller is heard."""
    p, port = secondary
    caller = fake.Session("127.0.0.1", port)
    caller.send(fake.HELLO, body)
    kind, reason = caller.receive()
    assert kind == fake.REFUSE
    assert says in reason[1:].decode("ascii")
    caller.close()
    assert p.alive()
    good = fake.Session("127.0.0.1", port)
    good.send(fake.HELLO, fake.hello(BLOCKS, OWN))
    assert good.receive()[0] == fake.ACCEPT
    good.close()


def test_noise_and_silence(secondary):
    """Step: a web browser, a silent caller, a caller that goes. Verify: dropped, each with a line."""
    p, port = secondary
    noise = fake.Session("127.0.0.1", port)
    noise.socket.sendall(b"GET / HTTP/1.1\r\n\r\n")
    assert noise.receive()[0] == fake.REFUSE
    silent = fake.Session("127.0.0.1", port)
    p.wait_for("no HELLO within 2000 ms")
    assert silent.socket.recv(1) == b""
    fake.Session("127.0.0.1", port).close()
    p.wait_for("closed by peer")
    assert p.alive() and p.stop() == 0


def test_second_caller(secondary):
    """Step: say hello while a session is on. Verify: REFUSE; the first goes on."""
    p, port = secondary
    first = fake.Session("127.0.0.1", port)
    first.send(fake.HELLO, fake.hello(BLOCKS, OWN))
    assert first.receive()[0] == fake.ACCEPT
    first.send(fake.START, struct.pack(">HH", 1, 17991))
    second = fake.Session("127.0.0.1", port)
    second.send(fake.HELLO, fake.hello(BLOCKS, OWN))
    kind, reason = second.receive()
    assert kind == fake.REFUSE and b"busy with another session" in reason
    first.send(fake.PING)
    assert first.receive() == (fake.PONG, b"")
    first.send(99)
    assert first.receive()[0] == fake.ABORT
    p.wait_for("type 99")
    assert p.alive() and p.stop() == 0


# ---- frames ----

P = fake.PAGE
FILL = bytes(range(256)) * 16
# counter: frame, made from a FakePrimary that has sent one good page. Fragments the kernel keeps to itself.
BAD_FRAMES = {
    "drop_foreign": [
        lambda f: f.outer(f.page_packet([fake.raw(1, FILL)]), protocol=6),
        lambda f: f.outer(f.page_packet([fake.raw(1, FILL)]), ihl=0x46),
        lambda f: f.outer(f.page_packet([fake.raw(1, FILL)]), source=bytes([169, 254, 7, 9]))],
    "drop_checksum": [lambda f: f.outer(f.page_packet([fake.raw(1, FILL)]), checksum_xor=1),
                      lambda f: f.outer(f.page_packet([fake.raw(1, FILL)]), udp_checksum=0xffff)],
    "drop_jumbo": [lambda f: f.outer(f.page_packet([fake.raw(1, FILL), fake.raw(2, FILL)]))],
    "drop_port": [lambda f: f.outer(f.page_packet([fake.raw(1, FILL)]), port=0),
                  lambda f: f.outer(f.page_packet([fake.raw(1, FILL)]), port=1)],
    "drop_short": [lambda f: f.outer(b"\x01" * 31), lambda f: f.outer(b"")],
    "drop_length": [
        lambda f: f.outer(f.page_packet([fake.raw(1, FILL)]), udp_length=7),
        lambda f: f.outer(f.page_packet([fake.raw(1, FILL)]), ip_length=65535),
        lambda f: f.outer(f.page_packet([fake.raw(1, FILL)], length=31)),
        lambda f: f.outer(f.page_packet([fake.raw(1, FILL)], length=9999)),
        lambda f: f.outer(f.page_packet([fake.zero(1, 1)]) + b"x")],
    "drop_version": [lambda f: f.outer(f.page_packet([fake.raw(1, FILL)], version=2))],
    "drop_type": [
        lambda f: f.outer(f.payload(9, b"", b"x" * 40)),
        lambda f: f.outer(f.payload(fake.FRAME_FEEDBACK, b"", bytes(32)))],
    "drop_session": [lambda f: f.outer(f.page_packet([fake.raw(1, FILL)], session=0x4321))],
    "drop_channel": [lambda f: f.outer(f.page_packet([fake.raw(1, FILL)], channel=1)),
                     lambda f: f.outer(f.page_packet([fake.raw(1, FILL)], channel=255))],
    "drop_control": [lambda f: f.outer(f.payload(fake.FRAME_CONTROL, b"", bytes(8))),
                     lambda f: f.outer(f.payload(fake.FRAME_CONTROL, b"", bytes(32)))],
    "drop_epoch": [lambda f: f.outer(f.page_packet([fake.raw(1, FILL)], epoch=0)),
                   lambda f: f.outer(f.page_packet([fake.raw(1, FILL)], epoch=2))],
    "drop_window": [lambda f: f.outer(f.page_packet([fake.raw(1, FILL)], slot=5000))],
    "drop_header_crc": [lambda f: f.outer(f.page_packet([fake.raw(1, FILL)], crc_xor=1))],
    "drop_records": [lambda f: f.outer(f.page_packet([])),
                     lambda f: f.outer(f.page_packet([fake.zero(2 * i, 1) for i in range(17)]))],
    "drop_block": [lambda f: f.outer(f.page_packet([fake.raw(1, FILL, block=2)]))],
    "drop_kind": [lambda f: f.outer(f.page_packet([fake.raw(1, FILL, kind=9)]))],
    "drop_range": [lambda f: f.outer(f.page_packet([fake.raw(256, FILL)])),
                   lambda f: f.outer(f.page_packet([fake.zero(255, 2)])),
                   lambda f: f.outer(f.page_packet([fake.raw(0xffffffff, FILL)]))],
    "drop_geometry": [
        lambda f: f.outer(f.page_packet([fake.raw(1, FILL[:4080])])),
        lambda f: f.outer(f.page_packet([fake.raw(1, FILL, count=2)])),
        lambda f: f.outer(f.page_packet([fake.raw(1, FILL, offset=16)])),
        lambda f: f.outer(f.page_packet([fake.zero(1, 0)])),
        lambda f: f.outer(f.page_packet([fake.raw(1, b"", kind=fake.ZSTD)]))],
    "drop_overlap": [lambda f: f.outer(f.page_packet([fake.zero(5, 2), fake.zero(6, 1)])),
                     lambda f: f.outer(f.page_packet([fake.zero(5, 1), fake.zero(4, 1)]))],
    "drop_decode": [lambda f: f.outer(f.page_packet([fake.raw(1, b"not zstd", kind=fake.ZSTD)]))],
    "drop_content_crc": [lambda f: f.outer(f.page_packet([fake.raw(1, FILL, crc=7)]))],
}


class Wire:
    """A secondary at one end of a veth pair, a fake primary at the other."""

    def __init__(self, run):
        near, far = run.namespace("a"), run.namespace("b")
        # frames on a wire of their own, where the kernel has nothing to say
        veth(near, far, 9000)
        veth(near, far, 1500, index=1, addresses=("10.78.0.1/24", "10.78.0.2/24"))
        self.ram = run.ram_file("ram")
        self.program = run.program(
            "secondary", eal.af_packet("vb0", 1),
            ["--role", "secondary", "--listen", "10.78.0.2:4000", "--mtu", "4200",
             "--peer-timeout", "60000", "--hold", "60000", "--insecure",
             "--block", f"pc.ram,size=1M,guest={self.ram}"], namespace=far)
        self.program.wait_for(r"^json +none", 30)
        self.primary = fake.FakePrimary(near, "va0", "10.78.0.2", 4000,
                                        [("pc.ram", 1 << 20), ("colo.device-state", 4 << 20)],
                                        hold_ms=60000)
        run.keep(self.primary.close)
        self.telemetry = Telemetry(self.program.pid)
        run.keep(self.telemetry.close)

    def counters(self):
        return {name: value for name, value in self.telemetry.numbers("/colo/stats")}

    def until(self, name, wanted):
        """Wait until a counter has this value. @return all counters."""
        deadline = time.monotonic() + 1
        while True:
            now = self.counters()
            if now[name] == wanted or time.monotonic() > deadline:
                return now
            time.sleep(0.02)


@pytest.fixture
def wire(start_run):
    w = Wire(start_run())
    w.primary.begin(1)
    w.primary.send(w.primary.outer(w.primary.page_packet([fake.raw(3, FILL)], slot=0)))
    assert w.until("rx_placed", 1)["rx_placed"] == 1, w.program.output()
    w.primary.slot = 1
    return w


def test_bad_frames(wire):
    """Step: every kind of bad frame. Verify: its counter rises, no other; nothing is placed.

    At the end only the good page is in guest memory, and only its slot is acknowledged.
    """
    wrong = []
    for name, makers in BAD_FRAMES.items():
        for i, make in enumerate(makers):
            before = wire.counters()
            wire.primary.send(make(wire.primary))
            after = wire.until(name, before[name] + 1)
            changed = {k: after[k] - before[k] for k in after
                       if after[k] != before[k] and (k.startswith("drop_") or k.startswith("rx_"))}
            if changed != {name: 1}:
                wrong.append(f"{name} {i}: {changed}")
    assert not wrong, "\n".join(wrong) + "\n" + wire.program.output()[-1500:]
    assert wire.primary.cum() == 1
    memory = wire.ram.read_bytes()
    assert memory == bytes(3 * P) + FILL + bytes((256 - 4) * P)
    assert wire.program.alive() and wire.program.stop() == 0


def test_good_after_bad(wire):
    """Step: a bad packet of a slot, then a good one. Verify: the good one is placed."""
    wire.primary.send(wire.primary.outer(wire.primary.page_packet([fake.raw(9, FILL, crc=7)])))
    wire.until("drop_content_crc", 1)
    wire.primary.send(wire.primary.outer(wire.primary.page_packet([fake.raw(9, FILL)])))
    assert wire.until("rx_placed", 2)["rx_placed"] == 2
    wire.primary.send(wire.primary.outer(wire.primary.page_packet([fake.raw(9, FILL)])))
    assert wire.until("rx_duplicate", 1)["rx_duplicate"] == 1
    assert wire.ram.read_bytes()[9 * P:10 * P] == FILL

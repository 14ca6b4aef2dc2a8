# SPDX-License-Identifier: BSD-3-Clause
"""The session's TLS and its TCP port: wrong keys, other programs, floods; and the key stays secret."""
import pathlib
import re
import sys
import time

import pytest

from framework import eal, fake_primary as fake, openssl_client as client
from framework.telemetry import Telemetry
from framework.two import Two

FLOOD = pathlib.Path(__file__).resolve().parent / "framework" / "flood.py"
OTHER_KEY = "ab" * 32
OWN = fake.address(fake.FakePrimary.MAC, fake.FakePrimary.IP, 17990)
HELLO = fake.hello([("pc.ram", 16 << 20), ("colo.device-state", 4 << 20)], OWN)
WARNING = "WARNING: --insecure: frames and session are neither authenticated nor encrypted"


def key_file(run, text, name="other.psk", mode=0o600):
    path = run.dir / name
    path.write_text(text, "ascii")
    path.chmod(mode)
    return path


def callers(process):
    telemetry = Telemetry(process.pid)
    try:
        return telemetry.ask("/colo/stats")["callers"]
    finally:
        telemetry.close()


def counted(process, name, least=1, seconds=3):
    """Wait until the counter has this value. @return all of them."""
    deadline = time.monotonic() + seconds
    while True:
        now = callers(process)
        if now[name] >= least or time.monotonic() > deadline:
            assert now[name] >= least, (now, process.output()[-2000:])
            return now
        time.sleep(0.05)


@pytest.fixture
def two(start_run):
    return Two(start_run())


# ---- options ----

@pytest.mark.parametrize("text,mode,says", [
    ("ab" * 31, 0o600, "62 digits; 64 to 512 hexadecimal digits are accepted"),
    ("ab" * 257, 0o600, "514 digits"),
    ("xy" * 32, 0o600, "byte 1 is no hexadecimal digit"),
    ("ab" * 32, 0o640, "mode 0640 lets others at the key; 0600 or 0400 is accepted"),
    ("ab" * 32, 0o604, "mode 0604"),
    ("", 0o400, "0 digits")])
def test_key_file(start_run, text, mode, says):
    """Step: a key file that is not one. Verify: one sentence, status 1, nothing of it is shown."""
    run = start_run()
    path = key_file(run, text, mode=mode)
    p = run.program("colo", eal.null(1), ["--role", "secondary", "--listen", f"127.0.0.1:{run.port()}",
                                          "--block", "a,size=8k", "--psk-file", path])
    assert p.wait(30) == 1
    last = p.output().splitlines()[-1]
    assert last.startswith(f"dpdk-colo: --psk-file {path}: ") and says in last, p.output()
    assert not text or text not in p.output()


@pytest.mark.parametrize("role", [
    ["--role", "secondary", "--listen", "127.0.0.1:9", "--block", "a,size=8k"],
    ["--role", "primary", "--connect", "127.0.0.1:9", "--source", "synthetic"]])
def test_one_of_both_is_needed(start_run, role):
    """Step: neither --psk-file nor --insecure, then both. Verify: refused, what is accepted is said."""
    run = start_run()
    p = run.program("colo", eal.null(1), role, secured=False)
    assert p.wait(30) == 1
    assert "needs --psk-file FILE" in p.output() and "or --insecure" in p.output()
    p = run.program("both", eal.null(1), [*role, "--insecure", "--psk-file", run.psk()])
    assert p.wait(30) == 1
    assert "exclude each other" in p.output()


# ---- two ends ----

@pytest.mark.parametrize("length", [32, 256])
def test_keys(two, length):
    """Step: checkpoints with the shortest and the longest key. Verify: all committed, no warning."""
    key = key_file(two.run, "5a" * length + " \n", mode=0o400)
    secondary = two.secondary("--psk-file", key)
    primary = two.primary("--psk-file", key, "--epochs", 3, "--interval", 50, "--verify")
    assert primary.wait(30) == 0, primary.output()
    assert callers(secondary)["tcp_authenticated"] == 1
    warnings = re.findall("^WARNING: .*$", primary.output() + secondary.output(), re.M)
    assert all("no free hugepages" in w for w in warnings), warnings
    assert secondary.stop() == 0


def test_insecure(two):
    """Step: both --insecure. Verify: it works, and each says so."""
    secondary = two.secondary("--insecure")
    primary = two.primary("--insecure", "--epochs", 2, "--interval", 50)
    assert primary.wait(30) == 0, primary.output()
    assert WARNING in primary.output() and WARNING in secondary.output()
    assert callers(secondary)["tcp_authenticated"] == 0
    assert secondary.stop() == 0


def test_pair(start_run):
    """Step: a pair with a key. Verify: it speaks TLS with itself."""
    run = start_run()
    pair = run.program("pair", eal.pair(1), ["--role", "pair", "--source", "synthetic,size=16M,dirty=100",
                                             "--psk-file", run.psk(), "--interval", 50, "--verify"])
    pair.wait_for("^epoch 4:", 30)
    assert callers(pair)["tcp_authenticated"] == 1
    assert pair.stop() == 0


def test_wrong_key(two):
    """Step: a primary with another key, then one with the right one. Verify: a sentence at both, then
    checkpoints."""
    secondary = two.secondary()
    wrong = two.primary("--psk-file", key_file(two.run, OTHER_KEY))
    assert wrong.wait(20) == 1
    assert "its pre-shared key is not ours: the same --psk-file has to be at both ends" in wrong.output()
    secondary.wait_for("caller 127.0.0.1:\\d+: its pre-shared key is not ours")
    assert counted(secondary, "tcp_handshake_failed")["tcp_authenticated"] == 0
    right = two.primary("--epochs", 2, "--interval", 50)
    assert right.wait(30) == 0, right.output()
    assert secondary.stop() == 0


@pytest.mark.parametrize("at_secondary,at_primary,says", [
    (["--insecure"], [], "it speaks without TLS; both ends need the same --psk-file, or both --insecure"),
    ([], ["--insecure"], "no TLS, but this end has a --psk-file; both ends need the same")])
def test_only_one_end_has_a_key(two, at_secondary, at_primary, says):
    """Step: one end by TLS, the other without. Verify: a sentence at both, and nothing else."""
    secondary = two.secondary(*at_secondary)
    primary = two.primary(*at_primary)
    assert primary.wait(20) == 1
    assert says in primary.output(), primary.output()
    secondary.wait_for("caller 127.0.0.1:\\d+: (no )?TLS, but this end has")
    assert counted(secondary, "tcp_wrong_mode")["tcp_wrong_mode"] == 1
    assert secondary.stop() == 0


def test_checkpoint_survives_strangers(two):
    """Step: take checkpoints, end the primary, then a caller without the key says a HELLO that fits,
    and one tries another key. Verify: the checkpoint that is held is not given up; the key's owner may."""
    secondary = two.secondary()
    primary = two.primary("--epochs", 3, "--interval", 50)
    assert primary.wait(30) == 0, primary.output()
    stranger = fake.Session("127.0.0.1", two.port)
    stranger.send(fake.HELLO, HELLO)
    assert stranger.receive()[0] == fake.REFUSE
    assert two.primary("--psk-file", key_file(two.run, OTHER_KEY)).wait(20) == 1
    telemetry = Telemetry(secondary.pid)
    assert telemetry.ask("/colo/epoch")["secondary"]["committed"] == 4
    assert telemetry.ask("/colo/epoch")["secondary"]["sessions"] == 1
    telemetry.close()
    assert "given up" not in secondary.output()
    assert two.primary("--epochs", 1, "--interval", 50).wait(30) == 0
    secondary.wait_for("checkpoint 4 is given up")
    assert secondary.stop() == 0


# ---- other programs ----

def test_openssl_client(two):
    """Step: OpenSSL's own client: with the key, with none, another one, TLS 1.2. Verify: the first gets
    an answer to its HELLO by TLS, the others get nothing, each with a reason."""
    secondary = two.secondary()
    key = bytes.fromhex(two.run.psk().read_text("ascii"))
    good = client.session(two.run.dir / "good.pem", key)
    bad = client.session(two.run.dir / "bad.pem", bytes(32))
    tls13 = ["-tls1_3", "-psk_identity", "dpdk-colo", "-ciphersuites", "TLS_AES_256_GCM_SHA384"]
    for options, says in (
            (["-tls1_2"], "it speaks no TLS 1.3"),
            (["-tls1_3"], "it does not offer the pre-shared key"),
            ([*tls13, "-psk_session", bad], "its pre-shared key is not ours"),
            (["-tls1_3", "-psk_identity", "someone", "-psk_session", good], "it does not offer the pre-shared key")):
        out, err = client.call(two.port, options, b"\0\1\0\0")
        assert out == b"", err
        secondary.wait_for(f"caller 127.0.0.1:\\d+: {says}")
    assert callers(secondary)["tcp_handshake_failed"] == 4
    message = fake.struct.pack(">HH", fake.HELLO, len(HELLO)) + HELLO
    out, err = client.call(two.port, [*tls13, "-psk_session", good], message)
    assert out[:2] == b"\0\2", (out, err, secondary.output()[-800:])
    assert callers(secondary)["tcp_authenticated"] == 1
    assert secondary.stop() == 0


def is_gone(caller):
    """It was closed from there, in order or not: what it sent may not have been read."""
    try:
        return caller.socket.recv(1) == b""
    except ConnectionResetError:
        return True


def test_noise(two):
    """Step: a web browser, silence, half a ClientHello. Verify: each is dropped and counted."""
    secondary = two.secondary()
    noise = fake.Session("127.0.0.1", two.port)
    noise.socket.sendall(b"GET / HTTP/1.1\r\n\r\n")
    assert noise.receive()[0] == fake.REFUSE
    silent = fake.Session("127.0.0.1", two.port)
    half = fake.Session("127.0.0.1", two.port)
    half.socket.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    now = counted(secondary, "tcp_late", 2, 5)
    assert now["tcp_wrong_mode"] == 1 and now["tcp_accepted"] == 3
    assert is_gone(silent) and is_gone(half)
    assert secondary.stop() == 0


# ---- floods ----

def flood(run, port, kinds, seconds):
    return [run.start(f"flood-{kind}", [sys.executable, FLOOD, "127.0.0.1", port, kind, seconds])
            for kind in kinds]


@pytest.mark.parametrize("kinds", [["silent", "garbage"], ["byte", "http"], ["hello", "comings"]])
def test_flood_in_a_session(two, record_property, kinds):
    """Step: checkpoints every 100 ms; floods of callers for 3 s. Verify: checkpoints go on meanwhile and
    afterwards, the session stays the one that it was, the attack is visible, the log does not grow."""
    secondary = two.secondary()
    primary = two.primary("--interval", 100, "--verify")
    primary.wait_for("^epoch 5:", 30)
    lines = len(secondary.output().splitlines())
    floods = flood(two.run, two.port, kinds, 3)
    before = len(re.findall("^epoch ", primary.output(), re.M))
    for f in floods:
        assert f.wait(20) == 0, f.output()
    after = len(re.findall("^epoch ", primary.output(), re.M))
    assert after - before >= 5, primary.output()[-2000:]
    primary.wait_for(f"^epoch {after + 5}:", 30)
    now = callers(secondary)
    made = [int(re.search(r"(\d+) calls", f.output()).group(1)) for f in floods]
    for kind, calls in zip(kinds, made):
        record_property(f"callers.{kind}", calls)
    assert now["tcp_accepted"] > 500, (now, made)
    told = [x for x in secondary.output().splitlines()[lines:] if not x.startswith("epoch ")]
    assert len(told) < 40, told
    telemetry = Telemetry(secondary.pid)
    assert telemetry.ask("/colo/epoch")["secondary"]["sessions"] == 1
    assert telemetry.ask("/colo/epoch")["secondary"]["aborted"] == 0
    telemetry.close()
    assert primary.stop() == 0 and secondary.stop() == 0


@pytest.mark.parametrize("kinds", [["silent"], ["byte"], ["garbage"], ["comings"]])
def test_connect_in_a_flood(two, kinds):
    """Step: a primary connects while a flood is on. Verify: it gets its session within its limit."""
    secondary = two.secondary()
    floods = flood(two.run, two.port, kinds, 8)
    counted(secondary, "tcp_accepted", 300, 20)
    primary = two.primary("--epochs", 2, "--interval", 50)
    primary.wait_for("secondary connected", 15)
    assert primary.wait(30) == 0, primary.output()
    for f in floods:
        f.kill()
    assert secondary.stop() == 0


# ---- the key stays secret ----

def regions(pid):
    """(from, to, flags) of what the process may write."""
    for part in re.split(r"(?m)^(?=[0-9a-f]+-[0-9a-f]+ )", pathlib.Path(f"/proc/{pid}/smaps").read_text("ascii")):
        head = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", part)
        if head:
            flags = re.search(r"VmFlags: (.*)", part).group(1).split()
            yield int(head.group(1), 16), int(head.group(2), 16), flags


def copies(pid, key):
    """(in memory that is dumped or swapped, in other memory): how often the key is there."""
    found = [0, 0]
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for begin, end, flags in regions(pid):
            if end - begin > 1 << 30 or "pf" in flags or "io" in flags:
                continue  # address space that EAL has reserved
            try:
                memory.seek(begin)
                there = memory.read(end - begin).count(key)
            except OSError:
                continue
            found["dd" in flags and ("lo" in flags or "ht" in flags)] += there
    return found


def test_the_key_is_not_shown(two):
    """Step: a session; look at everything that is printed, written and kept in memory. Verify: the key is
    in no output, in no file but its own, and in no memory that is dumped or swapped."""
    secondary = two.secondary()
    primary = two.primary("--interval", 50, "--verify")
    primary.wait_for("^epoch 4:", 30)
    digits = two.run.psk().read_text("ascii").strip()
    key = bytes.fromhex(digits)
    for p in (primary, secondary):
        dumped, kept = copies(p.pid, key)
        assert dumped == 0 and kept > 0, (p.name, dumped, kept)
        dumped, kept = copies(p.pid, digits.encode())
        assert dumped == 0, (p.name, dumped)
    telemetry = Telemetry(secondary.pid)
    for question in ("/colo/stats", "/colo/epoch", "/eal/params", "/eal/app_params"):
        assert digits not in str(telemetry.ask(question))
    telemetry.close()
    assert primary.stop() == 0 and secondary.stop() == 0
    for file in two.run.dir.iterdir():
        if file.is_file() and file != two.run.psk():
            data = file.read_bytes()
            assert digits.encode() not in data and key not in data, file

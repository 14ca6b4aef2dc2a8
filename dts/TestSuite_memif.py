# SPDX-License-Identifier: BSD-3-Clause
"""Primary and secondary in two processes over net_memif; what a secondary survives and refuses."""
import mmap
import re
import signal
import time

import pytest

from framework import eal
from framework.process import slack
from framework.report import check_verified, resent, total
from framework.two import READY, Two

EPOCHS = 4
RUN = ["--epochs", EPOCHS, "--interval", 0, "--hold", 10000, "--verify"]
HUGE_MIB = 2 * 256 + 128


def check_run(two, primary, epochs=EPOCHS):
    """The primary ends by itself, and all its checkpoints were the same at both ends."""
    assert primary.wait(40) == 0, primary.output()
    check_verified(two.report(), epochs)


@pytest.mark.parametrize("codec,mtu,channels", [
    pytest.param("raw", 4200, 2, marks=pytest.mark.slow), pytest.param("raw", 1500, 1, marks=pytest.mark.slow),
    pytest.param("raw", 9000, 4, marks=pytest.mark.slow), ("zstd", 9000, 1),
    pytest.param("zstd", 1500, 4, marks=pytest.mark.slow),
    pytest.param("zstd", 4200, 2, marks=pytest.mark.slow)])
def test_verified(start_run, codec, mtu, channels):
    """Step: a run of some checkpoints. Verify: all the same at both ends; both end with 0."""
    two = Two(start_run(HUGE_MIB + channels * 64), channels, mtu=mtu)
    secondary = two.secondary("--json", two.run.dir / "secondary.json")
    primary = two.primary("--codec", codec, *RUN)
    check_run(two, primary)
    secondary.wait_for("primary ended the session in order")
    assert secondary.stop() == 0, secondary.output()
    received = two.run.json("secondary.json")
    assert [e["pages"] for e in received["epochs"]] == [e["pages"] for e in two.report()["epochs"]]
    assert total(received, "receive", "rx_placed") > 0


@pytest.mark.slow
def test_primary_first(start_run):
    """Step: the secondary is started a second after the primary. Verify: as if it had been there."""
    two = Two(start_run(HUGE_MIB), server="primary")
    primary = two.primary(*RUN)
    time.sleep(1)
    assert primary.alive(), primary.output()
    secondary = two.secondary()
    check_run(two, primary)
    assert secondary.stop() == 0, secondary.output()


@pytest.mark.slow
def test_client_first(start_run):
    """Step: no server of the memif is there. Verify: one sentence that says so, status 1."""
    two = Two(start_run(HUGE_MIB))
    primary = two.primary(*RUN)
    assert primary.wait() == 1
    last = primary.output().splitlines()[-1]
    assert last.startswith("dpdk-colo: port 0 (net_memif) does not start: ")
    assert "role=server has to be started first" in last


@pytest.mark.slow
def test_no_secondary(start_run):
    """Step: a primary whose secondary never comes. Verify: it says so within its limit, status 1."""
    two = Two(start_run(HUGE_MIB), server="primary")
    primary = two.primary(*RUN, "--connect-timeout", 1500)
    began = time.monotonic()
    assert primary.wait() == 1
    assert 1 < time.monotonic() - began < 1.5 + slack()
    assert re.search(rf"^WARNING: no secondary at 127\.0\.0\.1 port {two.port}: ", primary.output(), re.M)


@pytest.mark.slow
def test_second_primary(start_run):
    """Step: three primaries, one after the other ends, by itself or by Ctrl-C or SIGKILL.

    Verify: the secondary serves each with a full copy, and the last as well as the first.
    """
    two = Two(start_run(HUGE_MIB), 2)
    secondary = two.secondary()
    check_run(two, two.primary(*RUN))
    seen = len(secondary.output())

    second = two.primary("--interval", 20)
    second.wait_for("^epoch 5:")
    assert second.stop() == 0, second.output()
    secondary.wait_for("primary ended the session in order", after=seen)

    third = two.primary("--interval", 20)
    third.wait_for("^epoch 5:")
    third.kill()
    secondary.wait_for(r"guest memory holds checkpoint \d+")

    check_run(two, two.primary(*RUN, source="synthetic,dirty=900,seed=99,zero=0"))
    assert secondary.output().count("primary connected: full copy begins") == 4
    assert secondary.stop() == 0, secondary.output()


@pytest.mark.slow
def test_busy_secondary(start_run):
    """Step: a second primary while the first is served. Verify: it is refused; the first goes on."""
    run = start_run(HUGE_MIB + 256)
    two = Two(run)
    secondary = two.secondary()
    first = two.primary("--interval", 50)
    first.wait_for("^epoch 3:")
    late = run.program("late", eal.null(1), ["--role", "primary", "--source", "synthetic,size=16M",
                                             "--connect", f"127.0.0.1:{two.port}"])
    assert late.wait() == 1, late.output()
    assert re.search("^WARNING: .*busy", late.output(), re.M), late.output()
    first.wait_for(r"^epoch \d+:", after=len(first.output()))
    assert first.stop() == 0 and secondary.stop() == 0


@pytest.mark.parametrize("secondary,primary,sentence", [
    ([], ["--mtu", 1500], "the secondary refuses: --mtu differs: primary 1500, secondary 4200"),
    ([], ["--block", "more,size=132M"], "the secondary refuses: with block more of 138412032 bytes the primary's "
     "blocks that no --block names here exceed --extra-blocks"),
    (["--block", "a,size=1M"], ["--block", "b,size=1M"], "the secondary refuses: the primary has no block a,"),
    (["--block", "a,size=1M"], ["--block", "a,size=1028K"], "the secondary refuses: size of block a differs"),
    ([], ["--ip", "fd00::7"], "the secondary refuses: --ip: primary has IPv6, secondary IPv4")],
    ids=["mtu", "extra", "name", "size", "ip"])
@pytest.mark.slow
def test_mismatch(start_run, secondary, primary, sentence):
    """Step: ends that do not fit. Verify: one sentence that names it, status 1; then one that fits."""
    two = Two(start_run(HUGE_MIB))
    listening = two.secondary(*secondary)
    refused = two.primary(*primary)
    assert refused.wait() == 1, refused.output()
    assert len(re.findall(rf"^WARNING: {sentence}.*$", refused.output(), re.M)) == 1, refused.output()
    listening.wait_for("a primary is refused")
    check_run(two, two.primary(*secondary, *RUN))
    assert listening.stop() == 0, listening.output()


def test_extra_blocks(start_run):
    """Step: a primary has blocks that no --block at the secondary names, first too many bytes of them.

    Verify: refused in one sentence; then made in the primary's order and verified; then, for a primary
    without them, gone.
    """
    two = Two(start_run(HUGE_MIB))
    listening = two.secondary("--block", "a,size=1M", "--extra-blocks", "2M")
    refused = two.primary("--block", "a,size=1M", "--block", "vga,size=2052K")
    assert refused.wait() == 1, refused.output()
    assert len(re.findall(r"^WARNING: the secondary refuses: with block vga of 2101248 bytes the primary's blocks "
                          r"that no --block names here exceed --extra-blocks, 2097152 bytes",
                          refused.output(), re.M)) == 1, refused.output()
    check_run(two, two.primary("--block", "rom,size=4K", "--block", "vga,size=2044K", "--block", "a,size=1M", *RUN))
    check_run(two, two.primary("--block", "a,size=1M", *RUN))
    assert listening.stop() == 0, listening.output()


@pytest.mark.slow
def test_mismatch_of_channels(start_run):
    """Step: one channel against two. Verify: the same."""
    two = Two(start_run(HUGE_MIB), 2)
    secondary = two.secondary()
    refused = two.primary(channels=1)
    assert refused.wait() == 1, refused.output()
    assert "the secondary refuses: --channels differs: primary 1, secondary 2" in refused.output()
    check_run(two, two.primary(*RUN))
    assert secondary.stop() == 0, secondary.output()


@pytest.mark.slow
def test_verify_can_fail(start_run):
    """Step: a byte of the secondary's guest memory is changed by somebody else.

    Verify: the next comparison finds it, the line is loud, the status is 5, the JSON counts it.
    """
    run = start_run(HUGE_MIB)
    two = Two(run)
    ram = run.ram_file("ram")
    secondary = two.secondary(blocks=["--block", f"pc.ram,size=16M,guest={ram}"])
    primary = two.primary("--interval", 100, "--verify", "--epochs", 8, source="synthetic,dirty=10,seed=7")
    primary.wait_for("^epoch 3: .*verified")
    with open(ram, "r+b") as f, mmap.mmap(f.fileno(), 0) as memory:
        memory[9 << 20] ^= 1
    assert primary.wait() == 5, primary.output()
    assert "WARNING: VERIFY FAILED: checkpoint" in primary.output()
    summary = two.report()["summary"]
    assert summary["mismatches"] > 0 and summary["epochs"] == 8
    assert secondary.stop() == 0


@pytest.mark.slow
def test_faults(start_run):
    """Step: frames dropped, doubled, reordered, bent at both ends. Verify: the same, by resending."""
    two = Two(start_run(HUGE_MIB), 2)
    bad = ["--fault", "drop=5,dup=5,reorder=5,flip=1,seed=3"]
    secondary = two.secondary(*bad)
    primary = two.primary(*bad, "--epochs", 10, "--interval", 0, "--hold", 10000, "--verify")
    check_run(two, primary, 10)
    assert resent(two.report()) > 0
    assert secondary.stop() == 0


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("delay", [0, 0.1, 0.3, 0.7])
def test_interrupted(start_run, number, delay):
    """Step: Ctrl-C at the primary, then at the secondary, at some moment. Verify: status 0 of both,
    no file of theirs is left.
    """
    run = start_run(HUGE_MIB)
    two = Two(run)
    ram = run.ram_file("ram")
    secondary = two.secondary(blocks=["--block", f"pc.ram,size=16M,guest={ram}"])
    secondary.wait_for(READY)
    primary = two.primary("--interval", 0)
    primary.wait_for(READY)
    time.sleep(delay)
    primary.signal(number)
    assert primary.wait(5) == 0, primary.output()
    secondary.signal(number)
    assert secondary.wait(5) == 0, secondary.output()
    assert not ram.exists()
    assert list(run.huge.mount.iterdir()) == []
    assert sorted(p.suffix for p in run.dir.iterdir()) == [".json", ".log", ".log", ".psk"]


def test_sealed_with_new_keys(start_run):
    """Step: a new key every 1024 packets. Verify: several per channel, all verified, none lost."""
    two = Two(start_run(HUGE_MIB), 2, blocks=("pc.ram,size=32M",))
    two.secondary()
    primary = two.primary("--epochs", 5, "--interval", 0, "--verify", "--rekey", 1024)
    assert primary.wait(60) == 0, primary.output()
    check_verified(two.report(), 5)
    assert "frames are sealed with AES-256-GCM" in primary.output()


def test_insecure_is_said(start_run):
    """Step: both ends --insecure. Verify: it works, and both say loudly that nothing is sealed."""
    two = Two(start_run(HUGE_MIB))
    secondary = two.secondary("--insecure")
    primary = two.primary("--insecure", "--epochs", 3, "--interval", 0, "--verify")
    assert primary.wait(60) == 0, primary.output()
    check_verified(two.report(), 3)
    for end in primary, secondary:
        assert "WARNING: --insecure" in end.output()
        assert "sealed" not in end.output()

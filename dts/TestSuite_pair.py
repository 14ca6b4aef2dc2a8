# SPDX-License-Identifier: BSD-3-Clause
"""Both ends in one process over crossed net_ring ports: every byte is compared, each checkpoint."""
import random
import time

import pytest

from framework import eal
from framework.process import slack
from framework.report import check_verified, counters, resent, total
from framework.two import PATIENT

PAGE = 4096
ETHERNET = 14
EPOCHS = 4
SOURCE = "synthetic,size=16M,dirty=500,seed=7"
QUICK = [("raw", 4200, 1), ("zstd", 9000, 2), ("raw", 1500, 4)]


def huge_mib(mtu, channels):
    """Memory of both ends and their mbufs, with room to spare."""
    return 192 + channels * (96 if mtu <= 4200 else 128)


def run_pair(run, channels, *options, source=SOURCE, epochs=EPOCHS):
    """A run to its end. @return its process and its JSON."""
    pair = run.program("pair", eal.pair(channels),
                       ["--role", "pair", "--channels", channels, "--source", source,
                        "--epochs", epochs, "--interval", 0, "--hold", 10000, "--verify",
                        "--json", run.dir / "pair.json", *PATIENT, *options])
    assert pair.wait(30) == 0, pair.output()
    return pair, run.json("pair.json")


def combinations():
    """All of them; a few are quick."""
    for codec in ("raw", "zstd"):
        for mtu in (1500, 4200, 9000):
            for channels in (1, 2, 4):
                quick = (codec, mtu, channels) in QUICK
                yield pytest.param(codec, mtu, channels, marks=() if quick else pytest.mark.slow)


@pytest.mark.parametrize("codec,mtu,channels", combinations())
def test_codec_mtu_channels(start_run, codec, mtu, channels):
    """Step: a run of each codec x MTU x channels. Verify: all checkpoints, byte for byte.

    Pages went in records of the codec, over several channels where there are several (which one
    takes how many is up to the scheduler), and no frame exceeded the MTU.
    """
    run = start_run(huge_mib(mtu, channels) + 48 * channels)
    # a page compressed to 20 % fits a frame of each MTU; one that does not is sent raw
    source = f"synthetic,size={16 * channels}M,dirty=500,seed=7,compress=80"
    _, report = run_pair(run, channels, "--codec", codec, "--mtu", mtu, source=source)
    check_verified(report, EPOCHS)
    assert all(e["pages"] >= 500 for e in report["epochs"])
    sent, placed = counters(report, "send"), counters(report, "receive")
    assert sorted(sent) == sorted(placed) == list(range(channels))
    assert sum(n["rx_placed"] > 0 for n in placed.values()) >= min(channels, 2)
    assert all(n["tx_bytes"] <= n["tx_packets"] * (mtu + ETHERNET) for n in sent.values())
    if codec == "raw":
        assert total(report, "send", "tx_pages_zstd") == 0
    else:
        assert total(report, "send", "tx_pages_raw") == 0
        assert all(e["wire_bytes"] < 0.4 * PAGE * e["pages"] for e in report["epochs"])


@pytest.mark.parametrize("mtu", [1500, pytest.param(9000, marks=pytest.mark.slow)])
def test_ipv6(start_run, mtu):
    """Step: an IPv6 address on the datapath. Verify: as over IPv4."""
    run = start_run(huge_mib(mtu, 2))
    pair, report = run_pair(run, 2, "--ip", "fd00::10", "--mtu", mtu)
    check_verified(report, EPOCHS)
    assert "fd00::10" in pair.output()


@pytest.mark.slow
@pytest.mark.parametrize("pages", [1, 511, 512, 513, 4095, 4097])
def test_size_of_block(start_run, pages):
    """Step: blocks around a piece's 512 pages, and around 4096. Verify: to the last page."""
    run = start_run(huge_mib(4200, 2))
    source = f"synthetic,size={pages * PAGE},dirty={(pages + 1) // 2},seed=3,zero=0"
    _, report = run_pair(run, 2, source=source)
    check_verified(report, EPOCHS)
    assert all(e["pages"] >= (pages + 1) // 2 for e in report["epochs"])


@pytest.mark.slow
@pytest.mark.parametrize("codec", ["raw", "zstd"])
def test_several_blocks(start_run, codec):
    """Step: four blocks of odd sizes, dirtied all over. Verify: each byte of each of them."""
    run = start_run(huge_mib(4200, 2))
    blocks = [("pc.ram", 4097), ("vga.vram", 511), ("pc.rom", 1), ("odd/name-0.7", 513)]
    options = [w for name, n in blocks for w in ("--block", f"{name},size={n * PAGE}")]
    _, report = run_pair(run, 2, "--codec", codec, *options, source="synthetic,dirty=3000,seed=5")
    check_verified(report, EPOCHS)
    assert all(e["pages"] >= 3000 for e in report["epochs"])


@pytest.mark.slow
def test_all_zero(start_run):
    """Step: a guest all of zeros, of which pages become zero again. Verify: no page is sent."""
    run = start_run(huge_mib(4200, 2))
    _, report = run_pair(run, 2, source="synthetic,size=16M,dirty=500,seed=7,zero=100,dirty-zero=100")
    check_verified(report, EPOCHS)
    device_state = 4  # pages, which are never zero
    for epoch in report["epochs"]:
        assert epoch["zero_pages"] >= 500 and epoch["pages"] - epoch["zero_pages"] <= device_state
    assert total(report, "send", "tx_pages_zero") >= 4096


@pytest.mark.slow
@pytest.mark.parametrize("codec", ["raw", "zstd"])
def test_becomes_zero(start_run, codec):
    """Step: half of what is dirtied becomes zero. Verify: old contents do not shine through."""
    run = start_run(huge_mib(4200, 2))
    _, report = run_pair(run, 2, "--codec", codec, epochs=8,
                         source="synthetic,size=16M,dirty=2000,seed=9,zero=0,dirty-zero=50")
    check_verified(report, 8)
    assert all(700 < e["zero_pages"] < 1300 for e in report["epochs"])


@pytest.mark.slow
@pytest.mark.parametrize("codec", ["raw", "zstd"])
def test_image(start_run, codec):
    """Step: contents from a file whose length is no multiple of a page. Verify: all the same."""
    run = start_run(huge_mib(4200, 2))
    image, noise = run.dir / "image", random.Random(1)
    pages = [bytes(PAGE), noise.randbytes(PAGE), b"text " * 819 + b"!", noise.randbytes(64) * 64]
    image.write_bytes(b"".join(noise.choice(pages) for _ in range(700)) + b"short")
    _, report = run_pair(run, 2, "--codec", codec,
                         source=f"synthetic,size=16M,dirty=1000,seed=7,image={image},mix=80")
    check_verified(report, EPOCHS)


@pytest.mark.slow
@pytest.mark.parametrize("preset,dirty", [("idle", 600), ("load", 7800)])
def test_preset(start_run, preset, dirty):
    """Step: the presets. Verify: their number of pages each time."""
    run = start_run(huge_mib(4200, 2) + 192)
    _, report = run_pair(run, 2, source=f"synthetic,size=64M,preset={preset},seed=7")
    check_verified(report, EPOCHS)
    assert all(dirty <= e["pages"] <= dirty + 4 for e in report["epochs"])


@pytest.mark.slow
@pytest.mark.parametrize("options", [
    ["--idle", "spin"], ["--zero-copy", "off"], ["--window", "64"], ["--mtu", "1280"],
    ["--codec", "zstd:-7"], ["--codec", "zstd:19"], ["--precopy-threshold", "0", "--precopy-rounds", "3"]],
    ids=" ".join)
def test_option(start_run, options):
    """Step: ends of what options accept. Verify: the copy is as good with them."""
    run = start_run(huge_mib(4200, 2))
    _, report = run_pair(run, 2, *options, source="synthetic,size=8M,dirty=200,seed=7", epochs=3)
    check_verified(report, 3)


@pytest.mark.slow
def test_precopy_rounds(start_run):
    """Step: rounds that never leave few enough pages. Verify: it ends after those permitted."""
    run = start_run(huge_mib(4200, 1))
    pair, report = run_pair(run, 1, "--precopy-threshold", 0, "--precopy-rounds", 3)
    check_verified(report, EPOCHS)
    assert pair.output().count("precopy epoch ") == 3 == report["precopy"]["rounds"]
    assert report["epochs"][0]["epoch"] == 4


@pytest.mark.slow
def test_a_core_for_each_end(start_run):
    """Step: lcores to spare, so that both ends have their own poll cores. Verify: the same."""
    run = start_run(huge_mib(4200, 2))
    arguments = ["--in-memory", "--no-pci", "--iova-mode=va", eal.lcores(4)]
    pair = run.program("pair", arguments, ["--role", "pair", "--channels", 2, "--source", SOURCE,
                                           "--epochs", EPOCHS, "--interval", 0, "--hold", 10000,
                                           "--verify", "--json", run.dir / "pair.json"])
    assert pair.wait(30) == 0, pair.output()
    check_verified(run.json("pair.json"), EPOCHS)


@pytest.mark.slow
def test_interval(start_run):
    """Step: a checkpoint every 200 ms. Verify: 6 of them take 5 intervals, not much more."""
    run = start_run(huge_mib(4200, 1))
    pair = run.program("pair", eal.pair(1), ["--role", "pair", "--source", SOURCE, "--interval", 200])
    pair.wait_for("^epoch 2:")
    began = time.monotonic()
    pair.wait_for("^epoch 7:")
    assert 0.9 < time.monotonic() - began < 1 + slack()
    assert pair.stop() == 0, pair.output()


FAULT = "drop=5,dup=5,reorder=5"


@pytest.mark.parametrize("codec,mtu,channels", [
    ("raw", 4200, 2), pytest.param("raw", 1500, 4, marks=pytest.mark.slow),
    pytest.param("zstd", 9000, 1, marks=pytest.mark.slow),
    pytest.param("zstd", 4200, 2, marks=pytest.mark.slow)])
def test_faults(start_run, codec, mtu, channels):
    """Step: 5 % of all frames dropped, doubled, reordered. Verify: byte for byte, and by resending."""
    run = start_run(huge_mib(mtu, channels))
    pair, report = run_pair(run, channels, "--codec", codec, "--mtu", mtu, "--fault", f"{FAULT},seed=11",
                            epochs=10)
    check_verified(report, 10)
    assert resent(report) > 0, pair.output()
    assert total(report, "send", "tx_resent") >= resent(report)
    assert total(report, "receive", "rx_duplicate") > 0

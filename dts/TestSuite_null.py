# SPDX-License-Identifier: BSD-3-Clause
"""net_null takes every frame and delivers none: both ends start, run, stop and count all the same.

The session connects over the loopback; on the datapath nothing ever arrives.
"""
import re
import time

import pytest

from framework import eal
from framework.process import slack
from framework.report import check_shape, counters, total
from framework.two import READY

HUGE_MIB = 2 * 256 + 128
TIMEOUT_MS = 600
LIMITS = ["--peer-timeout", TIMEOUT_MS, "--hold", TIMEOUT_MS]


def secondary_of(run, port, channels, *options):
    secondary = run.program("secondary", eal.null(channels),
                            ["--role", "secondary", "--channels", channels,
                             "--listen", f"127.0.0.1:{port}", "--block", "pc.ram,size=16M", *LIMITS,
                             "--json", run.dir / "secondary.json", *options])
    secondary.wait_for(READY)
    return secondary


def primary_of(run, port, channels, *options, source="synthetic,size=16M"):
    return run.program("primary", eal.null(channels),
                       ["--role", "primary", "--channels", channels,
                        "--connect", f"127.0.0.1:{port}", "--source", source, *LIMITS,
                        "--json", run.dir / "primary.json", *options])


@pytest.mark.parametrize("channels", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_gives_up(start_run, channels):
    """Step: a primary whose frames all go to nowhere. Verify: it gives up within its limit, says
    that the guest is unprotected, ends with 3; the secondary lives, holds nothing, ends with 0.
    """
    run = start_run(HUGE_MIB)
    port = run.port()
    secondary = secondary_of(run, port, channels)
    primary = primary_of(run, port, channels)
    primary.wait_for("secondary connected: full copy begins")
    began = time.monotonic()
    assert primary.wait(10) == 3, primary.output()
    assert time.monotonic() - began < TIMEOUT_MS / 1000 + slack()
    lost = re.findall(r"^WARNING: PROTECTION LOST: .*; the guest runs on UNPROTECTED$",
                      primary.output(), re.M)
    assert len(lost) == 1, primary.output()
    secondary.wait_for("no checkpoint was committed: there is nothing to take over; listening")
    assert secondary.stop() == 0, secondary.output()

    sent, received = run.json("primary.json"), run.json("secondary.json")
    check_shape(sent)
    assert sent["epochs"] == received["epochs"] == []
    assert sorted(counters(sent, "send")) == sorted(counters(received, "receive")) == list(range(channels))
    assert total(sent, "send", "rx_feedback") == total(received, "receive", "rx_placed") == 0


@pytest.mark.slow
def test_endless_zeros(start_run):
    """Step: without no-rx the driver delivers frames of zeros without end. Verify: every one is
    counted as foreign, none is placed, and nobody is kept from giving up or ending in time.
    """
    run = start_run(HUGE_MIB)
    port = run.port()
    arguments = [a.replace(",no-rx=1", "") for a in eal.null(1)]
    common = ["--channels", 1, *LIMITS]
    secondary = run.program("secondary", arguments,
                            ["--role", "secondary", "--listen", f"127.0.0.1:{port}", *common,
                             "--block", "pc.ram,size=16M", "--json", run.dir / "secondary.json"])
    secondary.wait_for(READY)
    primary = run.program("primary", arguments,
                          ["--role", "primary", "--connect", f"127.0.0.1:{port}", *common,
                           "--source", "synthetic,size=16M", "--json", run.dir / "primary.json"])
    primary.wait_for("secondary connected: full copy begins", 10)
    began = time.monotonic()
    assert primary.wait(10) == 3, primary.output()
    assert time.monotonic() - began < TIMEOUT_MS / 1000 + slack()
    assert secondary.stop(5) == 0, secondary.output()
    for name, end in (("primary.json", "send"), ("secondary.json", "receive")):
        report = run.json(name)
        assert total(report, end, "drop_foreign") > 0
        assert total(report, end, "rx_placed") == total(report, end, "rx_control") == 0


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0, 0.05, 0.3, 0.6, 0.9])
def test_interrupted(start_run, delay):
    """Step: Ctrl-C at some moment: during the start, while it connects, waits, gives up.

    Verify: status 0, or 3 where it had given up before; nothing is left behind.
    """
    run = start_run(HUGE_MIB)
    port = run.port()
    ram = run.ram_file("ram")
    secondary = secondary_of(run, port, 1, "--block", f"more,size=1M,guest={ram}")
    primary = primary_of(run, port, 1, "--block", "pc.ram,size=16M", "--block", "more,size=1M",
                         source="synthetic")
    primary.wait_for(READY)
    time.sleep(delay)
    status = primary.stop(5)
    assert status == (3 if "PROTECTION LOST" in primary.output() else 0), primary.output()
    assert secondary.stop(5) == 0, secondary.output()
    assert not ram.exists()
    assert sorted(p.name for p in run.dir.iterdir()) == ["colo.psk", "primary.json", "primary.log",
                                                         "secondary.json", "secondary.log"]


@pytest.mark.slow
def test_interrupted_while_connecting(start_run):
    """Step: Ctrl-C at a primary that has nobody to connect to. Verify: at once, status 0."""
    run = start_run(HUGE_MIB)
    primary = primary_of(run, run.port(), 1, "--connect-timeout", 60000)
    primary.wait_for(READY)
    time.sleep(0.2)
    began = time.monotonic()
    assert primary.stop(5) == 0, primary.output()
    assert time.monotonic() - began < slack()


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.02, 0.05, 0.1, 0.15, 0.2, 0.3])
def test_interrupted_at_start(start_run, delay):
    """Step: Ctrl-C before it is ready, at any of its boot's steps. Verify: it ends at once; with 0
    from the moment it listens to signals; what it made is removed.
    """
    run = start_run(HUGE_MIB)
    ram = run.ram_file("ram")
    secondary = run.program("secondary", eal.null(1),
                            ["--role", "secondary", "--listen", f"127.0.0.1:{run.port()}",
                             "--block", f"pc.ram,size=16M,guest={ram}"])
    time.sleep(delay)
    ready = bool(re.search(READY, secondary.output(), re.M))
    status = secondary.stop(5)
    assert status == 0 or (status == -2 and not ready), secondary.output()
    assert not ram.exists()


@pytest.mark.slow
def test_more_channels_than_lcores(start_run):
    """Step: lcores for two channels, four are asked for. Verify: one sentence, status 1."""
    run = start_run(HUGE_MIB)
    primary = run.program("primary", eal.null(2),
                          ["--role", "primary", "--channels", 4, "--connect", "127.0.0.1:9",
                           "--source", "synthetic,size=16M"])
    assert primary.wait(10) == 1
    assert re.fullmatch("dpdk-colo: too few lcores: --channels 4 needs 6 .*",
                        primary.output().splitlines()[-1])

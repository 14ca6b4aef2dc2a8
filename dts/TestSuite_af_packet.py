# SPDX-License-Identifier: BSD-3-Clause
"""Primary and secondary in two network namespaces, over a veth by net_af_packet; the wire cut."""
import re
import time

import pytest

from framework.netns import veth
from framework.process import slack
from framework.report import check_verified, resent, total
from framework.two import READY
from framework.wire import PORT, Wire

HUGE_MIB = 2 * 320 + 192
EPOCHS = 5
TIMEOUT_MS = 1000
LIMITS = ["--peer-timeout", TIMEOUT_MS]
RUN = ["--epochs", EPOCHS, "--interval", 20, "--verify"]


@pytest.mark.parametrize("codec,mtu,channels,qpairs", [
    ("raw", 9000, 1, 1), pytest.param("raw", 9000, 4, 4, marks=pytest.mark.slow),
    pytest.param("zstd", 1500, 4, 4, marks=pytest.mark.slow),
    pytest.param("zstd", 4200, 1, 1, marks=pytest.mark.slow),
    pytest.param("raw", 4200, 2, 2, marks=pytest.mark.slow)])
def test_verified(start_run, codec, mtu, channels, qpairs):
    """Step: a run over each number of queue pairs. Verify: every checkpoint is the same at both
    ends; what the wire lost, if anything, was sent again and is nothing but a number.
    """
    wire = Wire(start_run(HUGE_MIB), channels, qpairs, mtu)
    secondary = wire.secondary()
    primary = wire.primary("--codec", codec, *RUN)
    assert primary.wait(60) == 0, primary.output()
    assert secondary.stop() == 0, secondary.output()
    sent, received = wire.run.json("primary.json"), wire.run.json("secondary.json")
    check_verified(sent, EPOCHS)
    assert total(received, "receive", "rx_placed") > 0
    assert total(sent, "send", "tx_resent") >= resent(sent)
    assert total(received, "receive", "drop_content_crc") == 0
    assert total(received, "receive", "drop_overlap") == 0


@pytest.mark.slow
def test_faults(start_run):
    """Step: 5 % more are lost, doubled, reordered. Verify: the same checkpoints all the same."""
    wire = Wire(start_run(HUGE_MIB), 4, 4, 9000)
    bad = ["--fault", "drop=5,dup=5,reorder=5,seed=5"]
    secondary = wire.secondary(*bad)
    primary = wire.primary(*RUN, *bad)
    assert primary.wait(60) == 0, primary.output()
    check_verified(wire.run.json("primary.json"), EPOCHS)
    assert total(wire.run.json("primary.json"), "send", "tx_resent") > 0
    assert secondary.stop() == 0


@pytest.mark.slow
@pytest.mark.parametrize("interval", [20, 60000])
def test_cut(start_run, interval):
    """Step: the wire is cut: session and datapath at once, nobody says goodbye.

    Verify: both ends notice within --peer-timeout; the primary ends with 3; the wire is mended and
    the secondary serves the next primary.
    """
    wire = Wire(start_run(HUGE_MIB), 1, 1, 9000)
    secondary = wire.secondary(*LIMITS)
    primary = wire.primary("--interval", interval, *LIMITS)
    primary.wait_for("^epoch 2:")
    time.sleep(0.2)
    wire.a.ip("link", "set", wire.ends[0], "down")
    began = time.monotonic()
    assert primary.wait(10) == 3, primary.output()
    assert "WARNING: PROTECTION LOST: " in primary.output()
    holds = secondary.wait_for(r"guest memory holds checkpoint (\d+)", 5).group(1)
    assert time.monotonic() - began < TIMEOUT_MS / 1000 + slack()
    assert int(holds) >= int(re.findall(r"^epoch (\d+):", primary.output(), re.M)[-1])
    wire.a.ip("link", "set", wire.ends[0], "up")
    primary = wire.primary(*RUN)
    assert primary.wait(60) == 0, primary.output()
    check_verified(wire.run.json("primary.json"), EPOCHS)
    assert secondary.stop() == 0, secondary.output()


@pytest.mark.slow
def test_datapath_cut(start_run):
    """Step: the session lives on a wire of its own, and only the datapath's is cut.

    Verify: the primary notices that nothing is acknowledged, and ends with 3, in time.
    """
    wire = Wire(start_run(HUGE_MIB), 1, 1, 9000)
    limits = ["--hold", TIMEOUT_MS, "--peer-timeout", TIMEOUT_MS]
    veth(wire.a, wire.b, 1500, 1, ("10.97.0.1/24", "10.97.0.2/24"))
    secondary = wire.secondary("--listen", f"10.97.0.2:{PORT}")
    primary = wire.primary("--interval", 20, "--connect", f"10.97.0.2:{PORT}", *limits)
    primary.wait_for("^epoch 3:")
    wire.a.ip("link", "set", wire.ends[0], "down")
    began = time.monotonic()
    assert primary.wait(10) == 3, primary.output()
    assert time.monotonic() - began < TIMEOUT_MS / 1000 + slack()
    assert re.search("nothing was acknowledged on the datapath|longer than --hold", primary.output())
    secondary.wait_for(r"guest memory holds checkpoint \d+", 5)
    assert secondary.stop() == 0, secondary.output()


@pytest.mark.slow
@pytest.mark.parametrize("channels,qpairs,veth_mtu,sentence", [
    (1, 1, 1500, "--mtu 9000: interface va0 below port 0 takes 1500; accepted: .*"),
    (2, 4, 9000, "--channels 2: port 0 .net_af_packet. has qpairs=4, .* accepted"),
    (2, 1, 9000, "--channels 2: port 0 .net_af_packet. has 1 queue pairs; accepted: 1..1")])
def test_interface_that_does_not_fit(start_run, channels, qpairs, veth_mtu, sentence):
    """Step: a wire too narrow for --mtu, queue pairs too many or too few for --channels.

    Verify: one sentence that names it, status 1.
    """
    wire = Wire(start_run(HUGE_MIB), channels, qpairs, 9000, veth_mtu)
    primary = wire.primary(*RUN)
    assert primary.wait(15) == 1, primary.output()
    assert re.fullmatch(f"dpdk-colo: {sentence}", primary.output().splitlines()[-1]), primary.output()


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.2, 1])
def test_interrupted(start_run, delay):
    """Step: Ctrl-C at both. Verify: status 0; the namespaces hold no process any more."""
    wire = Wire(start_run(HUGE_MIB), 4, 4, 9000)
    secondary = wire.secondary()
    primary = wire.primary("--interval", 0)
    primary.wait_for(READY)
    time.sleep(delay)
    assert primary.stop() == 0, primary.output()
    assert secondary.stop() == 0, secondary.output()

# SPDX-License-Identifier: BSD-3-Clause
"""A real NIC driver with real RSS: every channel lands on its own queue.

    primary, net_af_packet  --tap0--  igb (82576, 4 queues), DPDK's driver: secondary in a guest
                            --tap1--  session
"""
import pytest

import colo_env as env
import images
from framework import eal
from framework.nic_guest import DATA_TAP, GUEST_IP, NicGuest
from framework.run import BUILD

PORT = 17980
CHANNELS = 4
EPOCHS = 10
BLOCK = "pc.ram,size=32M"

pytestmark = pytest.mark.slow


def secondary_arguments(mtu, steering):
    return ["-a", "$NIC", "--iova-mode=pa", f"'--lcores=(0-{CHANNELS + 1})@(0-1)'", "-m", "192", "--",
            "--role", "secondary", "--insecure", "--channels", CHANNELS, "--listen", f"0.0.0.0:{PORT}",
            "--block", BLOCK, "--mtu", mtu, "--steering", steering, "--hold", "20000",
            "--peer-timeout", "20000", "--json", "/tmp/secondary.json"]


def primary_options(run, mtu):
    return ["--role", "primary", "--insecure", "--channels", CHANNELS, "--connect", f"{GUEST_IP}:{PORT}",
            "--source", "synthetic,size=32M,dirty=500,seed=7", "--epochs", EPOCHS, "--interval", "100",
            "--mtu", mtu, "--hold", "20000", "--peer-timeout", "20000", "--connect-timeout", "60000",
            "--verify", "--json", run.dir / "primary.json"]


def replicate(start_run, mtu, steering):
    """Full copy and checkpoints, all verified. @return the secondary's receiving channels."""
    try:
        images.qemu11()
    except env.EnvError as why:
        pytest.skip(f"QEMU 11 cannot be fetched: {why}")
    run = start_run()
    namespace = run.namespace("nic")
    guest = NicGuest(run, "nic", namespace, env.program(BUILD), secondary_arguments(mtu, steering))
    run.keep(guest.kill)
    guest.wait_for("GUEST ready", 60)
    primary = run.program("primary", eal.af_packet(DATA_TAP, CHANNELS, CHANNELS),
                          primary_options(run, mtu), namespace)
    assert primary.wait(150) == 0, primary.output() + guest.output()
    assert guest.finish() == 0, guest.output()
    summary = run.json("primary.json")["summary"]
    assert summary["epochs"] == EPOCHS
    assert summary["verified"] == EPOCHS and summary["mismatches"] == 0
    channels = [c for c in guest.json("secondary")["channels"] if c["end"] == "receive"]
    assert sorted(c["queue"] for c in channels) == list(range(CHANNELS))
    for channel in channels:
        print(f"channel {channel['channel']} queue {channel['queue']} {channel['steering']}: "
              f"{ {k: v for k, v in channel['counters'].items() if v} }")
    return channels


@pytest.mark.parametrize("mtu", [4200, 9000])
def test_every_channel_on_its_own_queue(start_run, mtu):
    """Step: 4 channels to an igb with 4 queues, 10 checkpoints.

    Verify: all of them verified; the secondary says RSS; no frame was handed over from another
    queue; every channel placed packets and sits on a queue of its own.
    """
    for channel in replicate(start_run, mtu, "auto"):
        assert channel["steering"] == "rss"
        assert channel["counters"]["rx_handed_over"] == 0
        assert channel["counters"]["rx_placed"] > 0


def test_without_steering_frames_are_handed_over(start_run):
    """Step: the same, but the secondary takes the queues for paired, which the igb's are not.

    Verify: frames landed elsewhere and were handed over, and all checkpoints verified all the same.
    """
    channels = replicate(start_run, 4200, "paired")
    assert sum(c["counters"]["rx_handed_over"] for c in channels) > 0
    assert all(c["counters"]["rx_placed"] > 0 for c in channels)

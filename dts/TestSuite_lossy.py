# SPDX-License-Identifier: BSD-3-Clause
"""Bad wires: nothing is lost on them, little is sent in vain, and a slow secondary is no bad wire.

Frames are harmed by --fault, by the receive callbacks of two real processes over net_memif, at both
ends. Sessions are sealed, so a flipped bit is a seal that is not genuine and a copy is a replay.
"""
import os
import signal
import time

import pytest

from framework import eal
from framework.netns import veth
from framework.process import WaitError
from framework.report import check_verified, fault_counts, total
from framework.two import PATIENT, READY, Two
from framework.wire import PORT, SOURCE

HUGE_MIB = 2 * 128 + 64
EAL_MIB = 128
EPOCHS = 6
SEED = 20261124
RUN = ["--epochs", EPOCHS, "--interval", 0, "--hold", 20000, "--verify"]
LATE = 64  # frames that may still be under way when the session is over
KINDS = {"dropped": "faults.drop", "bursts": "faults.burst", "duplicated": "faults.duplicate",
         "reordered": "faults.reorder", "flipped": "faults.flip"}
# what a seal that is not genuine never gets to
BEHIND_THE_SEAL = {"drop_control", "drop_block", "drop_kind", "drop_range", "drop_geometry", "drop_overlap",
                   "drop_twice", "drop_decode", "drop_content_crc", "drop_feedback"}


def drops(report, end):
    """{counter: frames}, of all counters of frames that were refused."""
    names = [n for c in report["channels"] if c["end"] == end for n in c["counters"] if n.startswith("drop_")]
    counts = {n: total(report, end, n) for n in sorted(set(names))}
    counts["drop_session"] = max(0, counts["drop_session"] - LATE)
    return {n: count for n, count in counts.items() if count}


def run_faulty(two, faults, record_property, *options):
    """Checkpoints over a wire that is bad at both ends. @return the reports of primary and secondary."""
    faults = f"{faults},seed={SEED}"
    secondary = two.secondary("--fault", faults, "--json", two.run.dir / "secondary.json")
    primary = two.primary(*RUN, *options, "--fault", faults)
    assert primary.wait(120) == 0, primary.output()
    assert secondary.stop() == 0, secondary.output()
    sent, received = two.report(), two.run.json("secondary.json")
    check_verified(sent, EPOCHS)
    for kind, n in fault_counts(sent, received).items():
        record_property(KINDS[kind], n)
    record_property("epochs.committed", sent["summary"]["epochs"])
    record_property("packets.resent", total(sent, "send", "tx_resent"))
    record_property("packets.spurious", total(sent, "send", "tx_spurious"))
    return sent, received


@pytest.mark.parametrize("faults,channels,codec", [
    ("drop=1", 2, "raw"),
    ("drop=10,burst=8", 1, "raw"),
    pytest.param("drop=10,burst=32", 2, "zstd", marks=pytest.mark.slow),
    pytest.param("drop=30", 2, "raw", marks=pytest.mark.slow)])
def test_lost(start_run, record_property, faults, channels, codec):
    """Step: frames are lost, one by one or in a row, both ways. Verify: every checkpoint is the same, byte
    for byte; what was lost was sent again, and not much more: lost answers cost little.
    """
    two = Two(start_run(HUGE_MIB), channels, mib=EAL_MIB)
    sent, received = run_faulty(two, faults, record_property, "--codec", codec)
    lost = fault_counts(received)["dropped"]  # page packets, but for a few of the control lane
    resent = total(sent, "send", "tx_resent")
    spurious = total(received, "receive", "rx_duplicate")
    assert lost > 0 and resent >= lost - total(received, "receive", "rx_control") - 4 * EPOCHS
    assert resent - spurious <= lost
    assert total(sent, "send", "tx_spurious") <= spurious + resent // 20
    assert spurious <= resent // 2 + 64, f"{spurious} of {resent} were sent again in vain"
    assert drops(sent, "send") == {} and drops(received, "receive") == {}


@pytest.mark.parametrize("faults", ["reorder=10", pytest.param("dup=10", marks=pytest.mark.slow),
                                    "drop=1,reorder=5,dup=5,flip=2"])
def test_disordered(start_run, record_property, faults):
    """Step: frames come late, twice, with a bit flipped. Verify: the same; each is counted as what it is."""
    two = Two(start_run(HUGE_MIB), 2, mib=EAL_MIB)
    sent, received = run_faulty(two, faults, record_property)
    counted = fault_counts(received)
    refused = drops(received, "receive")
    assert not BEHIND_THE_SEAL & set(refused), refused
    assert refused.get("drop_replay", 0) <= counted["duplicated"] + counted["flipped"]
    if counted["duplicated"]:
        assert refused["drop_replay"] >= counted["duplicated"] // 2
    if counted["flipped"]:
        assert refused["drop_seal"] > 0
    if faults == "reorder=10":  # late is not lost: what was sent again for it came twice
        assert refused == {}
        assert total(sent, "send", "tx_resent") >= total(received, "receive", "rx_duplicate") > 0
        assert total(sent, "send", "tx_spurious") > 0


def test_slow_secondary(start_run):
    """Step: the secondary gets what is left of one CPU, and takes 64 packets at a time.

    Verify: credit slows the primary down; nothing is dropped at either end, nothing counts as lost;
    a probe may have asked whether it is still there.
    """
    two = Two(start_run(HUGE_MIB), 1, mib=EAL_MIB)
    secondary = two.secondary("--window", 64, "--json", two.run.dir / "secondary.json")
    for thread in os.listdir(f"/proc/{secondary.pid}/task"):
        os.sched_setscheduler(int(thread), os.SCHED_IDLE, os.sched_param(0))
        os.sched_setaffinity(int(thread), {min(os.sched_getaffinity(0))})
    primary = two.primary(*RUN, "--idle", "spin")
    assert primary.wait(120) == 0, primary.output()
    secondary.signal(signal.SIGINT)
    assert secondary.wait(60) == 0, secondary.output()
    sent, received = two.report(), two.run.json("secondary.json")
    check_verified(sent, EPOCHS)
    assert total(sent, "send", "tx_no_credit") > 0
    assert drops(sent, "send") == {} and drops(received, "receive") == {}
    assert total(sent, "send", "tx_lost_packet_threshold") == 0
    assert total(sent, "send", "tx_lost_time_threshold") == 0
    assert total(sent, "send", "tx_resent") <= total(sent, "send", "tx_probes")


class Pair:
    """A session of the shared wire: its primary's namespace and its secondary's."""

    def __init__(self, run, hubs, index):
        self.run = run
        self.name = f"pair{index}"
        self.address = f"10.98.0.{index + 10}"
        self.spaces = [run.namespace(f"{self.name}{side}") for side in "ab"]
        for hub, space, address in zip(hubs, self.spaces, (f"10.98.0.{index + 20}", self.address)):
            port = f"p{index}"
            hub.ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", space.name)
            hub.up(port, 9000)
            hub.ip("link", "set", port, "master", "hub")
            space.up("eth0", 9000, f"{address}/24")

    def program(self, role, space, *options):
        return self.run.program(f"{self.name}{role}", eal.af_packet("eth0", 1),
                                ["--role", role, "--mtu", 4200, *PATIENT, "--hold", 20000, "--json",
                                 self.run.dir / f"{self.name}{role}.json", *options], space)

    def secondary(self):
        secondary = self.program("secondary", self.spaces[1], "--listen", f"{self.address}:{PORT}",
                                 "--block", "pc.ram,size=16M")
        secondary.wait_for(READY, 60)
        return secondary

    def primary(self):
        return self.program("primary", self.spaces[0], "--connect", f"{self.address}:{PORT}",
                            "--source", SOURCE, "--interval", 0, "--verify")


def shared_wire(run):
    """Two bridges and one wire between them: all that passes from one to the other takes it."""
    hubs = [run.namespace("left"), run.namespace("right")]
    for hub in hubs:
        hub.ip("link", "add", "hub", "type", "bridge")
        hub.up("hub", 9000)
    for hub, end in zip(hubs, veth(*hubs, 9000)):
        hub.ip("link", "set", end, "master", "hub")
    return hubs


@pytest.mark.slow
def test_two_sessions_on_one_wire(start_run, record_property):
    """Step: two pairs of processes protect a guest each over the same wire, as fast as they can.

    Verify: both progress, and neither takes more than five times what the other gets; all is verified.
    """
    run = start_run(4 * 320)
    hubs = shared_wire(run)
    pairs = [Pair(run, hubs, i) for i in range(2)]
    secondaries = [p.secondary() for p in pairs]
    primaries = [p.primary() for p in pairs]
    for primary in primaries:
        primary.wait_for("^epoch 3:", 60)
    begun = [len(p.output()) for p in primaries]
    deadline = time.monotonic() + 60
    taken = [0, 0]
    while min(taken) < 10:  # the slower one's; the faster one's count is compared
        taken = [p.output().count("\nepoch ", n) for p, n in zip(primaries, begun)]
        if time.monotonic() > deadline:
            raise WaitError(f"checkpoints within 60 s: {taken}")
        time.sleep(0.02)
    for process in [*primaries, *secondaries]:
        assert process.stop(30) == 0, process.output()
    assert max(taken) <= 5 * min(taken), f"checkpoints of the two in the same time: {taken}"
    for pair in pairs:
        report = run.json(f"{pair.name}primary.json")
        assert report["summary"]["mismatches"] == 0
        assert report["summary"]["verified"] == report["summary"]["epochs"] >= 10
        record_property("epochs.committed", report["summary"]["epochs"])

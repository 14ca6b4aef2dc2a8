# SPDX-License-Identifier: BSD-3-Clause
"""SIGKILL of the secondary at random moments, then --recover: guest memory is the last committed checkpoint.

One primary lives through all of it and calls each secondary again. Where a secondary died is read
off the files that it left, as the next one would: a flush under way, an epoch half received, all
in order, nothing committed.
"""
import collections
import random
import re
import signal
import struct
import time

import pytest

from framework.guest import gap
from framework.hardware import Hardware
from framework.journal import Journal
from framework.model import Model
from framework.process import WaitError
from framework.report import sessions
from framework.tiny_guest import TinyGuest
from framework.two import Two

QEMU = "qemu-system-x86_64"
BUSY = {"pages": 2000, "dirty": 1000}  # of the tiny guest: a flush that can be seen
MIB = 16
DIRTY = 2500  # of them: a flush that takes a millisecond
EAL_MIB = 96
HUGE_MIB = 2 * EAL_MIB + 32
RECOVERED = r"recovered: (?:guest memory holds checkpoint (\d+)|no checkpoint)"
ROOM = 100  # sets that nobody counted
PLACES = ("start", "first_copy", "recover", "flush", "receive", "idle")
DEVICE_BYTES_AT = 16 + 64  # where the device state's bytes begin in its block (lib/guest/device_state.h)


class Crash(Two):
    """A primary that outlives its secondaries; guest memory, cache and device state are in files."""

    def __init__(self, run, seed, server="primary"):
        # every process that starts asks for a place at the telemetry sockets of the others: one of a
        # primary that stands still would keep it waiting
        super().__init__(run, channels=2, server=server, mib=EAL_MIB, eal_options=["--no-telemetry"])
        self.files = {name: run.ram_file(name) for name in ("ram", "cache", "journal", "journal.device",
                                                            "journal.device-cache")}
        self.mib_of_guest = MIB
        self.args = f"dirty={DIRTY},seed={seed}"
        self.places = collections.Counter()

    def secondary(self, *options, **kwargs):
        block = f"pc.ram,size={self.mib_of_guest}M,guest={self.files['ram']},cache={self.files['cache']}"
        return super().secondary("--journal", self.files["journal"], *options, blocks=["--block", block],
                                 **kwargs)

    def primary(self, *options, **kwargs):
        return super().primary("--interval", 0, "--reconnect", 600000, "--hold", 20000, *options,
                               source=f"synthetic,{self.args}", blocks=["--block", f"pc.ram,size={MIB}M"], **kwargs)

    def forget(self):
        """All that a secondary left is given up."""
        for path in self.files.values():
            path.unlink(missing_ok=True)

    def device_set(self):
        """The set that the device state is of: it travels in a block of its own."""
        with open(self.files["journal.device"], "rb") as f:
            f.seek(DEVICE_BYTES_AT)
            return struct.unpack("=Q", f.read(8))[0] - 1

    def place(self, secondary):
        """Where the secondary that was killed died, by what it left."""
        if not re.search(RECOVERED, secondary.output()) and "--recover" in secondary.command:
            return "recover"
        if not self.files["journal"].exists():
            return "start"
        journal = Journal(self.files["journal"])
        flushing, committed = journal.flushing(), journal.committed()
        journal.close()
        if committed == 0:
            return "first_copy"
        if flushing:
            return "flush"
        same = self.files["ram"].read_bytes() == self.files["cache"].read_bytes()
        return "idle" if same else "receive"


class Guarded(Crash):
    """The same around a QEMU that counts, as Debian has it, with a standby beside the secondary."""

    def __init__(self, run):
        super().__init__(run, 0, server="secondary")
        self.hardware = Hardware(mib=32)
        self.guest = run.guest("guest", run.ram_file("guest.ram"), kind=TinyGuest, hardware=self.hardware,
                               binary=QEMU, **BUSY)
        self.guest.wait_for_counter(2, 60)
        self.standby = run.guest("standby", self.files["ram"], kind=TinyGuest, hardware=self.hardware,
                                 binary=QEMU, standby=True, **BUSY)
        self.standby.watch()
        self.mib_of_guest = self.hardware.mib

    def primary(self, *options, **kwargs):
        return Two.primary(self, "--interval", 0, *options, source=f"qmp,path={self.guest.qmp}",
                           blocks=["--block", f"{self.guest.block()},guest={self.guest.ram}"], **kwargs)


def wait_flush(two, secondary, limit=20):
    """Return in the midst of a flush, or of what follows at once."""
    deadline = time.monotonic() + limit
    journal = Journal(two.files["journal"])
    word = journal.word  # a flush is short: nothing else between two looks
    turn = 0
    while word() & 1 == 0:
        turn += 1
        if turn % 4096 == 0 and (time.monotonic() > deadline or not secondary.alive()):
            raise WaitError(f"no flush seen within {limit} s\n{secondary.output()[-1500:]}")
    journal.close()


def let_live(two, primary, secondary, how, moments):
    """Wait for the moment at which to kill it."""
    if how == "early":  # in the start, in --recover, in the handshake, in the first copy
        time.sleep(moments.uniform(0, 0.5))
        return
    seen = len(primary.output())
    primary.wait_for(r"^epoch \d+:", 60, after=seen)
    if how == "flush":
        wait_flush(two, secondary)
        time.sleep(moments.uniform(0, 0.0005))
    else:
        time.sleep(moments.uniform(0, 0.05))


def kill(two, primary, secondary):
    """From now on nothing changes any more: the primary stands still until all is compared."""
    secondary.kill()
    primary.signal(signal.SIGSTOP)
    return count(two, secondary)


def count(two, secondary):
    """Note where it died. @return the place."""
    place = two.place(secondary)
    two.places[place] += 1
    return place


def kill_in_recovery(two, moments):
    """A successor, at a port that nobody calls, dies as well. net_memif's server must live to accept it."""
    successor = two.secondary("--recover", "--listen", f"127.0.0.1:{two.run.port()}", wait=False)
    time.sleep(moments.uniform(0, 0.4))
    successor.kill()
    count(two, successor)


def check_recovered(two, model, secondary, before, lost):
    """A secondary that was started with --recover holds exactly the checkpoint that it says.

    `before`: (checkpoint, set of the guest's) at the death before. `lost`: sessions that were lost since
    that checkpoint, but for the last: each may have given up one more set. @return (checkpoint, set).
    """
    return check_holds(two, model, int(secondary.wait_for(RECOVERED, 60).group(1) or 0), before, lost)


def check_holds(two, model, holds, before, lost):
    if holds == 0:
        return 0, 0
    if before[0] == 0:  # rounds, and what was committed before them, are sets as well
        found = model.find(model.set + holds + ROOM)
    else:
        assert holds >= before[0], f"checkpoint {before[0]} was held, then {holds}"
        more = holds - before[0]
        found = model.find(before[1] + (more + lost if more else 0))
        assert found >= before[1] + more, f"an older checkpoint than {holds}"
    assert two.device_set() == found, f"memory is of set {found}, the device state is not"
    return holds, found


@pytest.mark.parametrize("kills", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_kill(start_run, record_property, kills):
    """Step: kill -9 the secondary so many times, at random moments, some of them early or in a flush.

    Verify: each successor recovers exactly the checkpoint that was committed last, memory and device
    state; the session resumes from it; flushes were hit, and every other place; the last checkpoints
    are compared byte for byte with the primary.
    """
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    moments = random.Random(seed)
    two = Crash(start_run(HUGE_MIB), seed)
    primary = two.primary()
    secondary = two.secondary()
    model, before, lost = None, (0, 0), 0
    for turn in range(kills):
        how = ("early", "flush", "random", "flush", "recover")[turn % 5]
        let_live(two, primary, secondary, how, moments)
        place = kill(two, primary, secondary)
        if how == "recover" and place != "start":
            primary.signal(signal.SIGCONT)
            kill_in_recovery(two, moments)
            primary.signal(signal.SIGSTOP)
        if place == "start" or turn % 20 == 19:  # nothing to recover, or all of it lost as well
            two.forget()
            secondary, before, lost = two.secondary(), (0, 0), 0
        else:
            secondary = two.secondary("--recover")
            model = model or Model(two.run, two.args, [two.files["ram"]])
            held, before = before, check_recovered(two, model, secondary, before, lost)
            lost = 1 if before[0] != held[0] else lost + 1
        primary.signal(signal.SIGCONT)
    seen = len(primary.output())
    primary.wait_for(r"^epoch \d+:", 60, after=seen)
    assert primary.stop() == 0, primary.output()
    secondary.wait_for("primary ended the session in order")
    report = two.report()
    holds = sessions(report, "primary")["committed"]
    assert holds > 0
    check_holds(two, model, holds, before, lost)
    assert secondary.stop() == 0, secondary.output()
    for place in PLACES:
        record_property(f"kills.{place}", two.places[place])
    record_property("epochs.committed", report["summary"]["epochs"])
    print(dict(two.places), sessions(report, "primary"))
    assert sum(two.places.values()) >= kills
    assert two.places["flush"] >= kills // 10, two.places
    assert two.places["receive"] + two.places["idle"] >= kills // 10, two.places
    assert sessions(report, "primary")["resumed"] >= kills // 2


@pytest.mark.parametrize("how", ["flush", pytest.param("random", marks=pytest.mark.slow),
                                 pytest.param("flush again", marks=pytest.mark.slow)])
def test_takeover_from_the_journal(start_run, record_property, how):
    """Step: a real guest; its secondary is killed, then the primary and the guest. Recover, let the standby
    take over.

    Verify: the guest counts on from the checkpoint that the journal names, with its checksum right.
    """
    moments = random.Random()
    two = Guarded(start_run(HUGE_MIB))
    secondary, primary = two.secondary(), two.primary()
    primary.wait_for("PROTECTED", 60)
    let_live(two, primary, secondary, how.split()[0], moments)
    place = kill(two, primary, secondary)
    primary.kill()
    if how == "flush again":  # the one that finishes the flush is killed as well
        kill_in_recovery(two, moments)
    two.guest.kill()
    counted = two.guest.counter()
    secondary = two.secondary("--recover", "--standby", f"unix:{two.standby.qmp}")
    holds = int(secondary.wait_for(RECOVERED, 60).group(1))
    secondary.signal(signal.SIGUSR1)
    secondary.wait_for(r"takeover done in \d+ us", 30)
    assert secondary.wait() == 0, secondary.output()
    two.standby.wait_for_counter(1, 60)
    first = two.standby.lines()[0][0]
    assert first <= counted + 1, f"{place}: from checkpoint {holds} on, {first} after {counted}"
    two.standby.wait_for_counter(first + 10, 60)
    assert gap(two.standby.lines()) is None
    for name, n in two.places.items():
        record_property(f"kills.{name}", n)
    record_property("takeovers", 1)

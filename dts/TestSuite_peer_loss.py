# SPDX-License-Identifier: BSD-3-Clause
"""Either end dies or hangs, at random moments: guest memory holds exactly a committed checkpoint.

The synthetic guest is a function of its seed, so tests/tools/synthetic-memory can make again what
each checkpoint held and compare all of it. With one round of precopy, checkpoint N is set N-1.
"""
import random
import re
import signal
import time

import pytest

import colo_env as env
from framework import eal
from framework.guest import gap
from framework.process import WaitError, slack
from framework.report import check_verified
from framework.run import BUILD
from framework.two import READY, Two

HUGE_MIB = 2 * 256 + 128
TIMEOUT_MS = 1000
BLOCKS = [("pc.ram", 4096), ("pc.rom", 77)]  # pages
LIMITS = ["--peer-timeout", TIMEOUT_MS, "--hold", 2000]
HOLDS = r"guest memory holds checkpoint (\d+)"
RECOVERED = r"recovered: (?:guest memory holds checkpoint (\d+)|no checkpoint)"
NOTHING = "no checkpoint was committed"


class Lost(Two):
    """Two ends; the secondary's guest memory is in files that the test can read."""

    def __init__(self, run):
        super().__init__(run, channels=2, blocks=[f"{n},size={p * 4096}" for n, p in BLOCKS])
        self.files = [run.ram_file(name) for name, _ in BLOCKS]
        self.caches = [run.ram_file(f"{name}.cache") for name, _ in BLOCKS]
        self.journal = run.ram_file("journal")
        run.ram_file("journal.device")  # beside it: removed with the rest
        self.seeds = random.Random(run.dir.name)
        self.args = None

    def secondary(self, *options, **kwargs):
        blocks = [w for (name, pages), file, cache in zip(BLOCKS, self.files, self.caches)
                  for w in ("--block", f"{name},size={pages * 4096},guest={file},cache={cache}")]
        return super().secondary(*LIMITS, "--journal", self.journal, *options, blocks=blocks, **kwargs)

    def recovered(self):
        """A secondary that goes on from what a killed one left. @return it, and what it holds."""
        secondary = self.secondary("--recover")
        found = secondary.wait_for(RECOVERED)
        return secondary, int(found.group(1) or 0)

    def primary(self, *options, **kwargs):
        """Another guest each time: nothing of the one before may shine through."""
        self.args = f"dirty={self.seeds.choice([300, 1500])},seed={self.seeds.randrange(1 << 60)}"
        return super().primary(*LIMITS, *options, source=f"synthetic,{self.args}", **kwargs)

    def memory(self, first, last):
        """What guest memory holds: "whole SET", "torn SET PAGES" or "none"."""
        return env.run([env.ROOT / BUILD / "tests" / "tools" / "synthetic-memory", self.args, first, last,
                        *self.files]).strip()


def last_epoch(process, after=0):
    """The last checkpoint that a process printed, 0 if none."""
    return max([int(n) for n in re.findall(r"^epoch (\d+):", process.output()[after:], re.M)], default=0)


def check_primary_lost(two, primary, secondary, seen):
    """What the secondary says it holds is what it holds, and no older than what was reported.

    @return that checkpoint, 0: none.
    """
    found = secondary.wait_for(f"{HOLDS}|{NOTHING}", 5, after=seen)
    holds = int(found.group(1) or 0)
    assert holds >= last_epoch(primary), secondary.output()
    if holds != 0:
        assert two.memory(holds - 1, holds - 1) == f"whole {holds - 1}", f"{two.args}: checkpoint {holds}"
    return holds


def check_secondary_lost(two, primary, secondary, seen):
    """The primary says that its guest is unprotected. What the dead secondary left is a committed
    checkpoint, or the flush of the next one upon it, which was committed as well: that flush is
    finished by the next secondary, and guest memory is whole.

    @return that secondary, and the checkpoint it holds, 0: none.
    """
    assert primary.wait(TIMEOUT_MS / 1000 + slack()) == 3, primary.output()
    assert re.search("^WARNING: PROTECTION LOST: .*; the guest runs on UNPROTECTED$",
                     primary.output(), re.M), primary.output()
    flushed = last_epoch(secondary, seen)  # some more may not be printed yet
    secondary, holds = two.recovered()
    assert holds >= max(flushed, last_epoch(primary)), secondary.output()
    if holds != 0:
        assert two.memory(holds - 1, holds - 1) == f"whole {holds - 1}", f"{two.args}: checkpoint {holds}"
    return secondary, holds


@pytest.mark.parametrize("kills", [4, pytest.param(20, marks=pytest.mark.slow)])
def test_kill_each_in_turn(start_run, record_property, kills):
    """Step: 20 times, or 4 in a hurry, kill -9 the primary or the secondary, by turns, at a random moment.

    Verify: guest memory equals a committed checkpoint; the survivor says what is the case, and
    goes on with the next peer; the last of them are verified as the first would be.
    """
    run = start_run(HUGE_MIB)
    two = Lost(run)
    moments = random.Random()
    secondary = two.secondary()
    held = []
    for turn in range(kills):
        seen = len(secondary.output())
        primary = two.primary("--interval", moments.choice([0, 5]))
        primary.wait_for("secondary connected")
        if turn % 5 != 4:  # those, by turns, are killed in the first copy, or soon after
            primary.wait_for(f"^epoch {moments.randint(2, 9)}:")
        time.sleep(moments.uniform(0, 0.05))
        if turn % 2 == 0:
            primary.kill()
            held.append(check_primary_lost(two, primary, secondary, seen))
        else:
            secondary.kill()
            secondary, holds = check_secondary_lost(two, primary, secondary, seen)
            held.append(holds)
    assert sum(n >= 2 for n in held) >= kills * 4 // 5, held
    primary = two.primary("--epochs", 5, "--interval", 0, "--verify")
    assert primary.wait() == 0, primary.output()
    check_verified(two.report(), 5)
    assert secondary.stop() == 0, secondary.output()
    record_property("kills.primary", (kills + 1) // 2)
    record_property("kills.secondary", kills // 2)
    record_property("epochs.committed", sum(held) + 5)


def test_the_comparison_can_fail(start_run):
    """Step: look for what is not there, change one byte, put pages of the next set in.

    Verify: whole, torn and none are told apart.
    """
    two = Lost(start_run(HUGE_MIB))
    secondary = two.secondary()
    primary = two.primary("--interval", 20)
    primary.wait_for("^epoch 4:")
    primary.kill()
    holds = int(secondary.wait_for(HOLDS).group(1))
    assert two.memory(0, holds + 1) == f"whole {holds - 1}"
    assert two.memory(holds, holds + 1) == "none"
    before = two.memory(holds - 2, holds - 2).split()  # all of the next set: torn is all there is
    assert before[0] == "torn" and int(before[2]) > 100
    with open(two.files[1], "r+b") as f:
        f.seek(70 * 4096 + 9)
        byte = f.read(1)[0]
        f.seek(70 * 4096 + 9)
        f.write(bytes([byte ^ 4]))
    assert two.memory(0, holds + 1) == "none"


@pytest.mark.slow
@pytest.mark.parametrize("moment", [0.03, 0.4])
def test_primary_hangs(start_run, record_property, moment):
    """Step: the primary is stopped, not dead; later it wakes up.

    Verify: the secondary notices within --peer-timeout and holds a whole checkpoint; the primary
    says that it lost protection, changes nothing any more and ends with 3; another is served.
    """
    two = Lost(start_run(HUGE_MIB))
    secondary = two.secondary()
    primary = two.primary("--interval", 0)
    primary.wait_for("secondary connected")
    time.sleep(moment)
    primary.signal(signal.SIGSTOP)
    began = time.monotonic()
    holds = check_primary_lost(two, primary, secondary, 0)
    assert time.monotonic() - began < TIMEOUT_MS / 1000 + slack()
    primary.signal(signal.SIGCONT)
    assert primary.wait(5) == 3, primary.output()
    assert "PROTECTION LOST" in primary.output()
    if holds != 0:
        assert two.memory(holds - 1, holds - 1) == f"whole {holds - 1}"
    record_property("hangs.primary", 1)
    primary = two.primary("--epochs", 3, "--interval", 0, "--verify")
    assert primary.wait() == 0, primary.output()
    check_verified(two.report(), 3)
    assert secondary.stop() == 0, secondary.output()


@pytest.mark.slow
@pytest.mark.parametrize("interval", [0, 60000])
@pytest.mark.parametrize("moment", [0.03, 0.4])
def test_secondary_hangs(start_run, record_property, moment, interval):
    """Step: the secondary is stopped: while checkpoints are taken, and between two of them.

    Verify: the primary notices within --peer-timeout, says so, ends with 3. The secondary wakes
    up, holds a whole checkpoint, and serves the next primary.
    """
    two = Lost(start_run(HUGE_MIB))
    secondary = two.secondary()
    primary = two.primary("--interval", interval)
    primary.wait_for("secondary connected")
    time.sleep(moment)
    secondary.signal(signal.SIGSTOP)
    began = time.monotonic()
    assert primary.wait(5) == 3, primary.output()
    assert time.monotonic() - began < TIMEOUT_MS / 1000 + slack()
    assert "WARNING: PROTECTION LOST: " in primary.output()
    secondary.signal(signal.SIGCONT)
    check_primary_lost(two, primary, secondary, 0)
    record_property("hangs.secondary", 1)
    primary = two.primary("--epochs", 3, "--interval", 0, "--verify")
    assert primary.wait() == 0, primary.output()
    check_verified(two.report(), 3)
    assert secondary.stop() == 0, secondary.output()


@pytest.mark.slow
def test_both_stand_still(start_run):
    """Step: both processes are stopped for twice the peer timeout, as on a host that was suspended.

    Verify: neither takes the other's silence for its end; the session goes on.
    """
    two = Lost(start_run(HUGE_MIB))
    secondary = two.secondary("--hold", 20000)
    primary = two.primary("--hold", 20000, "--interval", 100)
    primary.wait_for("^epoch 2:")
    for process in (primary, secondary):
        process.signal(signal.SIGSTOP)
    time.sleep(2 * TIMEOUT_MS / 1000)
    seen = len(primary.output())
    for process in (secondary, primary):
        process.signal(signal.SIGCONT)
    primary.wait_for(f"^epoch {last_epoch(primary) + 5}:", 30, after=seen)
    assert "LOST" not in primary.output() and "lost" not in secondary.output()
    assert primary.stop() == 0 and secondary.stop() == 0


def kill_both(two):
    """Both at once, in the midst of checkpoints. @return the last one that the primary knew of."""
    secondary = two.secondary()
    primary = two.primary("--interval", 0)
    primary.wait_for("^epoch 3:")
    primary.kill()
    secondary.kill()
    return last_epoch(primary)


@pytest.mark.slow
def test_both_die(start_run, record_property):
    """Step: both are killed at once; start a secondary without --recover, with it but without a
    standby, without a file, with everything, and without the journal.

    Verify: what was left is not given up by mistake; it is whole; or all is as new.
    """
    two = Lost(start_run(HUGE_MIB))
    known = kill_both(two)
    with pytest.raises(WaitError, match="ended with 1(.|\n)*--recover goes on from it"):
        two.secondary()
    with pytest.raises(WaitError, match="ended with 1"):  # no standby yet: the next try still finds all
        two.secondary("--recover", "--standby", f"unix:{two.journal}.none")
    moved = two.caches[0].rename(f"{two.caches[0]}.moved")
    with pytest.raises(WaitError, match="ended with 1(.|\n)*is not there"):
        two.secondary("--recover")
    moved.rename(two.caches[0])
    secondary, holds = two.recovered()
    assert holds >= known and two.memory(holds - 1, holds - 1) == f"whole {holds - 1}"
    assert secondary.stop() == 0, secondary.output()

    record_property("kills.both at once", 2)
    two.journal.unlink(missing_ok=True)
    kill_both(two)
    two.journal.unlink()
    secondary = two.secondary()
    primary = two.primary("--epochs", 3, "--interval", 0, "--verify")
    assert primary.wait() == 0, primary.output()
    check_verified(two.report(), 3)
    assert secondary.stop() == 0, secondary.output()


def boot(run):
    """A Linux guest that counts, and two ends that protect it."""
    guest = run.guest("guest", run.ram_file("guest.ram"))
    two = Two(run, blocks=[guest.block()])
    deadline = time.monotonic() + 60
    while guest.counter() < 5:
        assert guest.alive() and time.monotonic() < deadline, guest.output()
        time.sleep(0.05)
    return guest, two


def protect(guest, two, *options):
    return two.primary("--interval", 50, *LIMITS, *options, source=f"qmp,path={guest.qmp}",
                       blocks=["--block", f"{guest.block()},guest={guest.ram}"])


def check_goes_on(guest):
    """Never frozen: the guest goes on counting, without a gap, with its checksum right."""
    at = guest.counter()
    deadline = time.monotonic() + 5
    while guest.counter() < at + 3:
        assert time.monotonic() < deadline, f"the guest stands still at {at}"
        time.sleep(0.02)
    assert gap(guest.lines()) is None
    assert guest.watch().command("query-status")["running"]


@pytest.mark.slow
def test_guest_survives_its_protectors(start_run, record_property):
    """Step: around a Linux guest, kill -9 the primary and the secondary by turns, 6 times.

    Verify: the guest runs on, whether it was paused at that moment or not.
    """
    run = start_run(HUGE_MIB + 256 + 512)
    guest, two = boot(run)
    moments = random.Random()
    secondary = two.secondary(*LIMITS)
    for turn in range(6):
        seen = len(secondary.output())
        primary = protect(guest, two)
        primary.wait_for("^epoch ")
        time.sleep(moments.uniform(0, 0.3))
        if turn % 2 == 0:
            primary.kill()
            secondary.wait_for(HOLDS, 5, after=seen)
        else:
            secondary.kill()
            assert primary.wait(TIMEOUT_MS / 1000 + slack()) == 3, primary.output()
            secondary = two.secondary(*LIMITS)
        check_goes_on(guest)
    record_property("kills.primary", 3)
    record_property("kills.secondary", 3)
    assert secondary.stop() == 0, secondary.output()


@pytest.mark.slow
def test_guest_dies(start_run, record_property):
    """Step: kill -9 the guest's QEMU. Verify: the primary ends with 4; the secondary holds a
    checkpoint and waits to be told.
    """
    run = start_run(HUGE_MIB + 256 + 512)
    guest, two = boot(run)
    secondary = two.secondary(*LIMITS)
    primary = protect(guest, two)
    primary.wait_for("^epoch ")
    guest.kill()
    assert primary.wait(5) == 4, primary.output()
    assert "the guest is gone" in primary.output()
    holds = int(secondary.wait_for(f"{HOLDS}; waiting to be told", 5).group(1))
    assert holds >= last_epoch(primary)
    record_property("kills.guest", 1)
    assert secondary.stop() == 0, secondary.output()


def test_signal_ends_protection(start_run):
    """Step: SIGUSR1 to the primary. Verify: it ends in order, the secondary keeps the checkpoint."""
    two = Two(start_run(HUGE_MIB))
    secondary = two.secondary()
    primary = two.primary("--interval", 20)
    primary.wait_for(r"PROTECTED")
    primary.signal(signal.SIGUSR1)
    assert primary.wait(10) == 0, primary.output()
    assert "session ended in order; the guest runs unprotected" in primary.output()
    secondary.wait_for(r"primary ended the session in order")
    assert secondary.alive()

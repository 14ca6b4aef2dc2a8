# SPDX-License-Identifier: BSD-3-Clause
"""Adapter lockstep: a guest runs at the secondary between checkpoints, writing as fast as it can.

tests/tools/lockstep-hypervisor plays its hypervisor. It knows what the synthetic primary's memory
holds at each checkpoint and what its own guest wrote, and compares all of memory: at each load with
the checkpoint, at each pause and takeover with checkpoint and own writes.
"""
import random
import re
import signal
import time

import pytest

import colo_env as env
from framework.process import slack
from framework.report import total
from framework.run import BUILD
from framework.two import Two

HUGE_MIB = 2 * 256 + 128
TIMEOUT_MS = 1000
ANSWER_MS = 1000
BLOCKS = [("pc.ram", 2048), ("pc.rom", 77)]  # pages; the last word of the second log is short
LIMITS = ["--peer-timeout", TIMEOUT_MS, "--hold", 2000]
PATIENT_MS = 5000  # for tests of other things: a busy machine may stand still
LOADED = r"^hypervisor: loaded set (\d+): "
SUMMARY = re.compile(r"^hypervisor: (loaded|paused after|takes over from) set (\d+): (\d+) pages, "
                     r"(\d+) written here, (\d+) in the log, (\d+) mismatches$", re.M)
ALONE = "^hypervisor: the guest goes on alone$"


class Lockstep(Two):
    """Two ends, and the hypervisor of a guest that runs at the secondary."""

    def __init__(self, run, answer_ms=PATIENT_MS):
        self.answer_ms = answer_ms
        super().__init__(run, channels=2, blocks=[f"{n},size={p * 4096}" for n, p in BLOCKS])
        self.files = [run.ram_file(name) for name, _ in BLOCKS]
        self.log = run.ram_file("dirty-log")
        self.control = run.dir / "control.sock"
        self.args_file = run.dir / "args"
        self.seeds = random.Random(run.dir.name)
        self.hypervisors = 0

    def limits(self):
        return LIMITS if self.answer_ms < PATIENT_MS else ["--peer-timeout", PATIENT_MS, "--hold", PATIENT_MS]

    def secondary(self, *options, **kwargs):
        blocks = [w for (name, pages), file in zip(BLOCKS, self.files)
                  for w in ("--block", f"{name},size={pages * 4096},guest={file}")]
        adapter = f"lockstep,control=unix:{self.control},dirty-log={self.log},answer={self.answer_ms}"
        return super().secondary(*self.limits(), "--adapter", adapter, *options, blocks=blocks, **kwargs)

    def primary(self, *options, **kwargs):
        """Another guest each time: nothing of the one before may shine through."""
        args = f"dirty={self.seeds.choice([100, 700])},seed={self.seeds.randrange(1 << 60)}"
        self.args_file.write_text(args + "\n")
        return super().primary(*self.limits(), *options, source=f"synthetic,{args}", **kwargs)

    def hypervisor(self, secondary):
        self.hypervisors += 1
        seen = len(secondary.output())
        process = self.run.start(f"hypervisor{self.hypervisors}", [
            env.ROOT / BUILD / "tests" / "tools" / "lockstep-hypervisor", self.control, self.args_file, 2])
        secondary.wait_for("a hypervisor is connected", after=seen)
        return process


def summaries(hypervisor, kind):
    """[(set, written here, in the log, mismatches)] of one kind."""
    return [tuple(int(n) for n in (m[2], m[4], m[5], m[6]))
            for m in SUMMARY.finditer(hypervisor.output()) if m[1] == kind]


def check(hypervisor):
    """Whatever was compared was right, and the comparison was of something."""
    text = hypervisor.output()
    found = SUMMARY.findall(text)
    assert len(found) == text.count("mismatches"), text
    assert all(int(m[5]) == 0 for m in found), text
    assert all(log == 0 for _, _, log, _ in summaries(hypervisor, "loaded")), text
    # at most what is logged was written: each write is logged before
    assert all(log >= written for _, written, log, _ in summaries(hypervisor, "paused after")), text


def start(start_run, *options, answer_ms=PATIENT_MS):
    two = Lockstep(start_run(HUGE_MIB), answer_ms)
    secondary = two.secondary(*options)
    return two, secondary, two.hypervisor(secondary)


@pytest.mark.parametrize("epochs,interval", [(12, 30), pytest.param(300, 0, marks=pytest.mark.slow)])
def test_checkpoints(start_run, epochs, interval):
    """Step: many checkpoints while the guest here writes. Verify: at each load all of its memory is the
    primary's, its device state too; pages that only it had written were rolled back.
    """
    two = Lockstep(start_run(HUGE_MIB))
    secondary = two.secondary("--json", two.run.dir / "secondary.json")
    hypervisor = two.hypervisor(secondary)
    primary = two.primary("--epochs", epochs, "--interval", interval, "--verify")
    assert primary.wait(60) == 0, primary.output() + secondary.output()
    assert all(e["mismatches"] == 0 for e in two.report()["epochs"] if "mismatches" in e)
    hypervisor.wait_for(LOADED)
    loaded = summaries(hypervisor, "loaded")
    assert [s for s, *_ in loaded] == list(range(loaded[0][0], loaded[0][0] + epochs)), hypervisor.output()
    paused = summaries(hypervisor, "paused after")
    assert len(paused) >= epochs - 1 and sum(written for _, written, *_ in paused) > 100
    check(hypervisor)
    assert secondary.stop() == 0, secondary.output()
    assert total(two.run.json("secondary.json"), "receive", "flush_rolled_back") > 0
    hypervisor.wait_for("connection lost, the guest runs on")


def kill_primary(two, primary, secondary, moments):
    """In the midst of checkpoints. @return after what to look in the secondary's output."""
    primary.wait_for(f"^epoch {moments.randint(3, 9)}:")
    time.sleep(moments.uniform(0, 0.05))
    seen = len(secondary.output())
    primary.kill()
    secondary.wait_for("^WARNING: .*the guest here went on from checkpoint|primary lost", 5, after=seen)
    return seen


@pytest.mark.parametrize("kills", [2, pytest.param(15, marks=pytest.mark.slow)])
def test_primary_killed(start_run, record_property, kills):
    """Step: kill -9 the primary at random moments; the last time, let the guest here take over.

    Verify: each time the guest here runs on, untouched by what had come of the next checkpoint, until
    the next primary's full copy; then it goes on alone, from its checkpoint and its own writes.
    """
    two, secondary, hypervisor = start(start_run)
    moments = random.Random()
    for turn in range(kills):
        if turn > 0:
            secondary.wait_for("the guest here went on", after=seen)
        primary = two.primary("--interval", moments.choice([0, 5]))
        seen = kill_primary(two, primary, secondary, moments)
    secondary.wait_for("the guest here went on from checkpoint", 5, after=seen)
    secondary.signal(signal.SIGUSR1)
    hypervisor.wait_for(ALONE, 5)
    assert secondary.wait(5) == 0, secondary.output()
    assert len(summaries(hypervisor, "takes over from")) == 1
    check(hypervisor)
    assert hypervisor.alive()
    record_property("kills.primary", kills)
    record_property("takeovers", 1)


def test_failover_on_peer_loss(start_run):
    """Step: --on-peer-loss failover, the primary is killed. Verify: the guest here takes over by itself."""
    two, secondary, hypervisor = start(start_run, "--on-peer-loss", "failover")
    primary = two.primary("--interval", 0)
    kill_primary(two, primary, secondary, random.Random())
    assert secondary.wait(5) == 0, secondary.output()
    hypervisor.wait_for(ALONE, 5)
    check(hypervisor)


def check_unprotected(primary):
    assert primary.wait(PATIENT_MS / 1000 + 2 + slack()) == 3, primary.output()
    assert "PROTECTION LOST" in primary.output()


@pytest.mark.parametrize("moment", ["random", pytest.param("between", marks=pytest.mark.slow)])
def test_hypervisor_killed(start_run, record_property, moment):
    """Step: kill -9 the hypervisor; start another, protect again.

    Verify: the session is ended in order, with one sentence; a primary is refused while there is no
    hypervisor; with one it is taken, and all is compared as before.
    """
    two, secondary, hypervisor = start(start_run)
    primary = two.primary("--interval", 0 if moment == "random" else 600)
    hypervisor.wait_for(LOADED + r"(.|\n)*" + LOADED)
    hypervisor.kill()
    check_unprotected(primary)
    secondary.wait_for("the guest here (is lost|does not follow)")
    check(hypervisor)
    primary = two.primary("--epochs", 1)
    assert primary.wait(10) == 1, primary.output()
    assert "has no hypervisor at its control socket" in primary.output()
    hypervisor = two.hypervisor(secondary)
    primary = two.primary("--epochs", 3, "--interval", 0)
    assert primary.wait(20) == 0, primary.output() + secondary.output()
    check(hypervisor)
    assert len(summaries(hypervisor, "loaded")) == 3
    assert secondary.stop() == 0, secondary.output()
    record_property("kills.hypervisor", 1)


def test_hypervisor_killed_then_failover(start_run):
    """Step: between two checkpoints kill the hypervisor, then the primary; start another hypervisor
    and let it take over.

    Verify: it gets the last checkpoint whole: what the dead guest wrote is rolled back by its log.
    """
    two, secondary, hypervisor = start(start_run)
    primary = two.primary("--interval", 1500)
    hypervisor.wait_for(LOADED)
    time.sleep(0.3)  # it writes all over its memory
    hypervisor.kill()
    check_unprotected(primary)
    committed = max(int(n) for n in re.findall(r"^epoch (\d+):", secondary.output(), re.M))
    secondary.signal(signal.SIGUSR1)
    secondary.wait_for("takeover failed: no hypervisor is connected|"
                       "takeover failed: .*no hypervisor")
    second = two.hypervisor(secondary)
    secondary.signal(signal.SIGUSR1)
    second.wait_for(ALONE, 5)
    assert secondary.wait(5) == 0, secondary.output()
    assert summaries(second, "loaded")[0][0] == committed - 1
    check(second)


def test_hypervisor_silent(start_run):
    """Step: SIGSTOP the hypervisor while checkpoints are taken; later SIGCONT; then failover.

    Verify: the primary's guest is let go within the limits; nothing hangs; the guest here is brought
    to the checkpoint that was committed meanwhile before it takes over.
    """
    two, secondary, hypervisor = start(start_run, answer_ms=ANSWER_MS)
    primary = two.primary("--interval", 50)
    hypervisor.wait_for(LOADED + r"(.|\n)*" + LOADED)
    hypervisor.signal(signal.SIGSTOP)
    began = time.monotonic()
    check_unprotected(primary)
    assert time.monotonic() - began < (ANSWER_MS + TIMEOUT_MS) / 1000 + 2 + slack()
    found = secondary.wait_for(r"does not follow to checkpoint (\d+): .* did not answer "
                               "`(pause|load|resume)` within 1000 ms")
    seen = len(secondary.output())
    hypervisor.signal(signal.SIGCONT)
    secondary.wait_for("a hypervisor is connected", after=seen)
    secondary.signal(signal.SIGUSR1)
    hypervisor.wait_for(ALONE, 5)
    assert secondary.wait(5) == 0, secondary.output()
    assert summaries(hypervisor, "loaded")[-1][0] == int(found.group(1)) - 1, hypervisor.output()
    check(hypervisor)


@pytest.mark.parametrize("turns", [1, pytest.param(8, marks=pytest.mark.slow)])
def test_both_killed(start_run, record_property, turns):
    """Step: kill -9 the primary in the midst of checkpoints, then the hypervisor; let another one
    take over.

    Verify: it gets the last checkpoint whole, or, if parts of the next one were there already, one
    sentence says that it is lost.
    """
    moments = random.Random()
    two = Lockstep(start_run(HUGE_MIB))
    for _ in range(turns):
        secondary = two.secondary()
        hypervisor = two.hypervisor(secondary)
        primary = two.primary("--interval", 0)
        seen = kill_primary(two, primary, secondary, moments)
        holds = int(secondary.wait_for(r"the guest here went on from checkpoint (\d+)", 5, after=seen)
                    .group(1))
        hypervisor.kill()
        check(hypervisor)
        secondary.wait_for("hypervisor at .* has closed the connection", after=seen)
        second = two.hypervisor(secondary)
        secondary.signal(signal.SIGUSR1)
        found = secondary.wait_for("takeover (done|failed: .*later checkpoint)", 5, after=seen)
        if found.group(1) == "done":
            second.wait_for(ALONE, 5)
            assert summaries(second, "loaded")[0][0] == holds - 1
            check(second)
        secondary.stop()
        second.kill()
    record_property("kills.primary", turns)
    record_property("kills.hypervisor", turns)


def test_second_hypervisor_refused(start_run):
    """Step: start another hypervisor while one is connected. Verify: refused; the first is served on."""
    two, secondary, hypervisor = start(start_run)
    two.run.start("other", [env.ROOT / BUILD / "tests" / "tools" / "lockstep-hypervisor", two.control,
                            two.args_file, 1])
    secondary.wait_for("a second hypervisor at .* is refused")
    primary = two.primary("--epochs", 2, "--interval", 0)
    assert primary.wait(20) == 0, primary.output()
    check(hypervisor)
    assert secondary.stop() == 0, secondary.output()
    assert not two.log.exists() and not two.control.exists()

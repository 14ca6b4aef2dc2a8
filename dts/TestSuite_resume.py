# SPDX-License-Identifier: BSD-3-Clause
"""Wire or process lost for a while: the session resumes with what changed, or says why it cannot.

Two processes in two network namespaces, a veth between them that carries session and datapath. All
cases of a test run side by side, each in namespaces of its own, so that waiting costs once.
"""
import re
import time

import pytest

from framework.model import Model
from framework.report import sessions
from framework.wire import Wire

MIB = 16
HUGE_MIB = 2 * 320
ARGS = "dirty=500,seed=11"
SOURCE = f"synthetic,{ARGS}"
PATIENCE = 60
LIMITS = ["--peer-timeout", 700, "--hold", 20000]
RUN = ["--interval", 20, "--reconnect", 60000, "--verify", *LIMITS]
EPOCH = r"^epoch \d+:.*verified"
RESUMES = "the session resumes from checkpoint"


class Case:
    """A wire, its two ends, and guest memory in a file that the test can read."""

    def __init__(self, run, name, *secondary, journal=False):
        self.run = run
        self.wire = Wire(run, 1, 1, 4200, name=name)
        self.ram, cache = run.ram_file(f"{name}.ram"), run.ram_file(f"{name}.cache")
        self.block = ["--block", f"pc.ram,size={MIB}M,guest={self.ram},cache={cache}"]
        self.journal = []
        if journal:
            self.journal = ["--journal", run.ram_file(f"{name}.journal")]
            for suffix in ("device", "device-cache"):
                run.ram_file(f"{name}.journal.{suffix}")
        self.secondary = self.start_secondary(*secondary)
        self.primary = self.start_primary()

    def start_secondary(self, *options):
        return self.wire.secondary(*LIMITS, *self.journal, *options, block=self.block)

    def start_primary(self):
        return self.wire.primary(*RUN, "--block", f"pc.ram,size={MIB}M", source=SOURCE)

    def commits(self, n=1, after=None):
        """Wait until n more checkpoints are committed and compared."""
        seen = len(self.primary.output()) if after is None else after
        for _ in range(n):
            seen = self.primary.wait_for(EPOCH, PATIENCE, after=seen).end()

    def end(self):
        """Both end in order; guest memory is whole. @return the primary's report."""
        seen = len(self.secondary.output())
        assert self.primary.stop(30) == 0, self.primary.output()
        self.secondary.wait_for("primary ended the session in order", PATIENCE, after=seen)
        report = self.run.json(self.wire.json("primary").name)
        committed = sessions(report, "primary")["committed"]
        model = Model(self.run, ARGS, [self.ram])
        assert model.find(10 * committed + 1000) > 0
        assert self.secondary.stop(30) == 0, self.secondary.output()
        assert report["summary"]["mismatches"] == 0
        assert report["summary"]["verified"] == report["summary"]["epochs"] > 0
        return report


def check_sessions(report, resumed, full_copies):
    counts = sessions(report, "primary")
    assert (counts["resumed"], counts["full_copies"]) == (resumed, full_copies), counts


def cut(cases, seconds):
    """All wires at once; each comes back after its time."""
    begun = time.monotonic()
    for case in cases:
        case.wire.cut()
    for case, after in sorted(zip(cases, seconds), key=lambda pair: pair[1]):
        time.sleep(max(0, begun + after - time.monotonic()))
        case.wire.cut(False)
        yield case


@pytest.mark.parametrize("seconds", [(0.1, 1), pytest.param((10,), marks=pytest.mark.slow)])
def test_wire_lost_for_a_while(start_run, record_property, seconds):
    """Step: the wire goes down for 0.1, 1 and 10 s, in the middle of checkpoints.

    Verify: after 0.1 s nothing was lost but time; after more than --peer-timeout the session resumes
    without a full copy; every checkpoint is compared, and guest memory is whole at the end.
    """
    run = start_run(len(seconds) * HUGE_MIB)
    cases = [Case(run, f"w{i}") for i in range(len(seconds))]
    for case in cases:
        case.commits(3, after=0)
    seen = {case: len(case.primary.output()) for case in cases}
    for case, after in zip(cut(cases, seconds), sorted(seconds)):
        if after > 0.5:
            case.primary.wait_for(RESUMES, PATIENCE, after=seen[case])
        case.commits(3)
    for case, after in zip(cases, seconds):
        report = case.end()
        resumed = sessions(report, "primary")["resumed"]
        # a machine that stands still for so long as well loses the session of the short cut, too
        check_sessions(report, resumed, 1)
        if after > 0.5:
            assert "PROTECTION LOST" in case.primary.output() and resumed >= 1
        record_property("epochs.committed", report["summary"]["epochs"])
        record_property("faults.cut", 1)


@pytest.mark.slow
def test_wire_lost_again_and_again(start_run, record_property):
    """Step: three cuts of 1 s, checkpoints in between. Verify: three times resumed, one full copy."""
    case = Case(start_run(HUGE_MIB), "again")
    case.commits(2, after=0)
    for _ in range(3):
        seen = len(case.primary.output())
        list(cut([case], [1]))
        case.primary.wait_for(RESUMES, PATIENCE, after=seen)
        case.commits(2)
    report = case.end()
    check_sessions(report, sessions(report, "primary")["resumed"], 1)
    assert sessions(report, "primary")["resumed"] >= 3
    record_property("faults.cut", 3)
    record_property("epochs.committed", report["summary"]["epochs"])


def test_process_lost(start_run, record_property):
    """Step: kill -9 a secondary with a journal, one without, and a primary; start each again.

    Verify: with the journal the session resumes. Without, and after a new primary, one sentence says why
    a full copy is needed, and it is made.
    """
    run = start_run(3 * HUGE_MIB)
    kept, lost, new = (Case(run, name, journal=name == "kept") for name in ("kept", "lost", "new"))
    for case in (kept, lost, new):
        case.commits(2, after=0)
    seen = len(new.secondary.output())
    kept.secondary.kill()
    lost.secondary.kill()
    new.primary.kill()
    kept.secondary = kept.start_secondary("--recover")
    lost.secondary = lost.start_secondary()
    new.secondary.wait_for(r"guest memory holds checkpoint \d+", PATIENCE, after=seen)
    new.primary = new.start_primary()
    kept.primary.wait_for(RESUMES, PATIENCE)
    lost.primary.wait_for("full copy begins: the secondary holds no checkpoint$", PATIENCE)
    new.secondary.wait_for(r"^WARNING: a new primary begins with a full copy: checkpoint \d+ is given up: the "
                           "primary does not know what changed since a checkpoint$", PATIENCE)
    for case, resumed, full in ((kept, 1, 1), (lost, 0, 2), (new, 0, 1)):
        case.commits(2)
        report = case.end()
        check_sessions(report, resumed, full)
        record_property("epochs.committed", report["summary"]["epochs"])
    record_property("kills.anywhere", 3)
    assert len(re.findall(RESUMES, kept.primary.output())) == 1

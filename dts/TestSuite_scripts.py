# SPDX-License-Identifier: BSD-3-Clause
"""What the suites stand on: huge pages are given back, failures are counted, a gap is a gap."""
import importlib.machinery
import importlib.util
import os
import subprocess
import sys

import pytest

import colo_env as env
from framework.guest import LINE, Guest, gap


def load_script(name):
    """A script, as a module (`test` is a name of Python's own, too)."""
    loader = importlib.machinery.SourceFileLoader(f"script_{name}", str(env.ROOT / "scripts" / f"{name}.py"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    module = importlib.util.module_from_spec(spec)
    sys.dont_write_bytecode = True
    loader.exec_module(module)
    return module


def ledger_sum():
    """Huge pages that the runs of this machine, ours and others, have entered."""
    return sum(int(entry.read_text("ascii").split()[2]) for entry in env.LEDGER.glob("hugepages.*"))


def test_hugepages_are_added_and_given_back():
    """Step: two reservations at a time. Verify: both in the ledger, then none, no mount left."""
    mine = {entry.name for entry in env.LEDGER.glob("hugepages.*")}
    first, second = env.Hugepages(8), env.Hugepages(4)
    assert first.count + second.count == 6
    assert os.path.ismount(first.mount) and os.path.ismount(second.mount)
    entries = {first.entry, second.entry}
    assert all(entry.exists() for entry in entries)
    first.close()
    first.close()
    second.close()
    assert not any(entry.exists() for entry in entries)
    assert not first.mount.exists() and not second.mount.exists()
    assert not {e.name for e in entries} & mine


def test_hugepages_of_a_killed_run_are_given_back():
    """Step: a process reserves and dies by SIGKILL. Verify: the next reservation clears its entry."""
    code = ("import sys, os, signal; sys.path.insert(0, sys.argv[1]); import colo_env as e; "
            "h = e.Hugepages(6); print(h.entry, h.mount, flush=True); os.kill(os.getpid(), 9)")
    done = subprocess.run([sys.executable, "-c", code, env.ROOT / "scripts"], check=False,
                          stdout=subprocess.PIPE, text=True)
    entry, mount = done.stdout.split()
    assert os.path.exists(entry) or not os.path.ismount(mount)  # a parallel run may be faster
    env.Hugepages(2).close()
    assert not os.path.exists(entry) and not os.path.exists(mount)


def test_too_many_hugepages_are_refused():
    """Step: ask for more than any machine has. Verify: one sentence, and nothing is kept."""
    before = ledger_sum()
    with pytest.raises(env.EnvError, match="huge pages of 2 MiB could be reserved"):
        env.Hugepages(1 << 40)
    assert ledger_sum() <= before


@pytest.mark.parametrize("printed,problem", [
    ([(4, True), (5, True), (6, True)], None),
    ([(4, True), (6, True)], "went from 4 to 6"),
    ([(4, True), (4, True)], "went from 4 to 4"),
    ([(4, True), (5, False)], "checksum was wrong at 5"),
    ([], None)])
def test_gap(printed, problem):
    """Step: a guest's lines. Verify: a hole, a repetition, a bad checksum are found."""
    assert gap(printed) is None if problem is None else problem in gap(printed)


def test_lines_of_the_guest():
    """Step: a console's text with a line cut in two. Verify: only whole lines count."""
    text = "ER 3 CHECKSUM ok\r\nCOUNTER 4 CHECKSUM ok\r\nCOUNTER 5 CHECKSUM BAD\r\nCOUNT"
    assert LINE.findall(text) == [("4", "ok"), ("5", "BAD")]


CUNIT = """
Run Summary:    Type  Total    Ran Passed Failed Inactive
              suites      1      1    n/a      0        0
               tests     12     12     11      1        0
             asserts    206    206    205      1      n/a
"""


@pytest.mark.parametrize("script,counts", [
    (f"cat <<'E'\n{CUNIT}\nE\nexit 1", (11, 1)),
    ("echo '7 passed, 0 failed'", (7, 0)),
    ("echo nothing", (1, 0)),
    ("exit 3", (0, 1)),
    ("kill -SEGV $$", (0, 1)),
    ("echo '7 passed, 0 failed'; kill -ABRT $$", (7, 1)),
    ("sleep 60", (0, 1))])
def test_counting(script, counts, capsys):
    """Step: programs that pass, fail, crash, hang. Verify: what scripts/test counts."""
    module = load_script("test")
    tally = module.Tally()
    module.run_program(tally, {"name": "x", "cmd": ["sh", "-c", script], "timeout": 1, "env": {},
                               "workdir": None}, "")
    assert (tally.passed, tally.failed) == counts
    assert ("FAILED" in capsys.readouterr().out) == (counts[1] > 0)


def test_crashed_suite_counts_as_failed(tmp_path):
    """Step: a suite whose process dies. Verify: one failure, also in the closing line."""
    suite = tmp_path / "TestSuite_dies.py"
    suite.write_text("import os\ndef test_a():\n    os.kill(os.getpid(), 9)\n", "ascii")
    module = load_script("test")
    tally = module.Tally()
    module.run_suite(tally, suite, False, tmp_path)
    assert tally.closing_line() == "0 passed, 1 failed"


def test_counting_junit(tmp_path):
    """Step: a suite that passes, fails, errs, skips. Verify: counted each by its kind."""
    suite = tmp_path / "TestSuite_mixed.py"
    suite.write_text("import pytest\n@pytest.fixture\ndef bad(): raise OSError\n"
                     "def test_a(): pass\ndef test_b(): assert 0\ndef test_c(bad): pass\n"
                     "def test_d(): pytest.skip('x')\n", "ascii")
    module = load_script("test")
    tally = module.Tally()
    module.run_suite(tally, suite, False, tmp_path)
    assert tally.closing_line() == "1 passed, 2 failed, 1 skipped"


class FakeGuest:
    """A guest that has printed this."""

    def __init__(self, path, text):
        self.serial = path
        path.write_bytes(text.encode())

    lines = Guest.lines
    counter = Guest.counter


class FakeProgram:
    """A secondary that has printed this."""

    def __init__(self, text):
        self.text = text

    def output(self):
        return self.text


class FakeWatched:
    """What the guest had printed when each checkpoint's line came."""

    counter_at = {3: 10, 4: 20, 5: 30}


def counting(first, last):
    return "".join(f"COUNTER {n} CHECKSUM ok\r\n" for n in range(first, last + 1))


@pytest.mark.parametrize("standby,problem", [
    (counting(31, 60), None),                             # right after the checkpoint's last line
    (counting(36, 60), None),                             # the guest printed up to 35: nothing lost
    ("TER 35 CHECKSUM ok\r\n" + counting(36, 60), None),  # its line was cut in two
    ("TER 36 CHECKSUM ok\r\n" + counting(37, 60), None),
    (counting(37, 60), "lines were lost"),
    ("TER 37 CHECKSUM ok\r\n" + counting(38, 60), "lines were lost"),
    (counting(20, 60), None),                             # a line in flight
    (counting(19, 60), "older than checkpoint 5"),
    (counting(31, 40) + counting(42, 60), "went from 40 to 42"),
    (counting(31, 60) + "COUNTER 61 CHECKSUM BAD\r\n", "checksum was wrong at 61")])
def test_quickstart_notices(standby, problem, tmp_path):
    """Step: what a standby could print after checkpoint 5. Verify: only a true takeover passes."""
    module = load_script("quickstart")
    guest = FakeGuest(tmp_path / "guest", counting(1, 35))
    standby = FakeGuest(tmp_path / "standby", standby)
    secondary = FakeProgram("epoch 4: 9 pages\nepoch 5: 9 pages, commit\n")
    if problem is None:
        assert module.check(guest, standby, FakeWatched, secondary)[0] == 5
    else:
        with pytest.raises(module.Failed, match=problem):
            module.check(guest, standby, FakeWatched, secondary)


@pytest.mark.parametrize("says,status,crashes,failed", [
    ("#9 DONE cov: 77 ft: 80", 0, 0, False),
    ("artifact_prefix=/f/stream-; Test unit written to /f/stream-crash-0", 77, 1, True),
    ("artifact_prefix=/f/stream-; Test unit written to /f/stream-leak-0", 77, 1, True),
    ("artifact_prefix=/f/stream-; Test unit written to /f/stream-timeout-0", 70, 1, True),
    ("artifact_prefix=/f/stream-; Test unit written to /f/stream-slow-unit-0", 0, 0, False),
    ("EAL does not start", 1, 0, True)])
def test_fuzz_notices(says, status, crashes, failed):
    """Step: a target ends in each way. Verify: it is counted as it is, with its figures."""
    fuzz = load_script("fuzz")
    outcome = fuzz.Outcome("stream")
    code = f"echo '{says}'; echo 'stat::number_of_executed_units: 9'; exit {status}"
    fuzz.run_command(outcome, ["sh", "-c", code], 1)
    assert (len(outcome.findings), outcome.failed, outcome.executions) == (crashes, failed, 9)
    assert outcome.edges == (77 if status == 0 and crashes == 0 and "cov" in says else 0)

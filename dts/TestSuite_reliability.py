# SPDX-License-Identifier: BSD-3-Clause
"""scripts/mutate notices what is not caught; scripts/reliability-report prints what was counted."""
import json
import re
import subprocess

import pytest

import colo_env as env
import mutate

HARMLESS = """Breaks: invariant 2
Caught by: unit text

A word of a comment.

--- a/lib/base/text.c
+++ b/lib/base/text.c
@@ -1,3 +1,3 @@
 /* SPDX-License-Identifier: BSD-3-Clause */
-{line}
+{line} /* nothing else */
 {next}
"""
SUITES = ["peer_loss", "takeover", "endpoint_loss", "lockstep", "session"]
MORE = ["crash", "lossy", "resume", "hostile"]
CASE = ('<testsuites><testsuite tests="1"><testcase name="a"><properties>{properties}</properties>{outcome}'
        '</testcase></testsuite></testsuites>')
PROPERTY = '<property name="{}" value="{}"/>'


def script(name, *arguments):
    return subprocess.run([env.ROOT / "scripts" / name, *map(str, arguments)], check=False, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def test_every_invariant_has_mutations():
    """Step: read the project's patches. Verify: each invariant is broken, each patch changes one line, and
    fits the code as it is; the page on reliability names each, and no other."""
    found = mutate.load()
    assert {m.invariant for m in found} == set(mutate.INVARIANTS)
    for m in found:
        done = subprocess.run(["git", "-c", f"safe.directory={env.ROOT}", "apply", "--check", "-C1", m.path],
                              cwd=env.ROOT, check=False, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)
        assert done.returncode == 0, f"{m.name} must be adapted to the code: {done.stdout}"
    page = (env.ROOT / "docs" / "reliability.md").read_text("utf-8")
    rows = {int(n): row for n, row in re.findall(r"^\| (\d) \| \*\*.*\| (.*) \|$", page, re.M)}
    for number in mutate.INVARIANTS:
        assert sorted(rows[number].split(", ")) == [m.name for m in found if m.invariant == number]


@pytest.mark.parametrize("header", ["", "Breaks: invariant 9\nCaught by: unit sync\n",
                                    "Breaks: invariant 1\nCaught by: luck\n"])
def test_headers(tmp_path, header):
    """Step: a patch that does not say what it breaks. Verify: one sentence, status 1."""
    (tmp_path / "a.patch").write_text(header + "--- a/x\n+++ b/x\n-a\n+b\n", "utf-8")
    with pytest.raises(env.EnvError, match="its first lines must be"):
        mutate.load(tmp_path)


def test_more_than_one_line(tmp_path):
    """Step: a patch that changes two lines. Verify: refused."""
    (tmp_path / "a.patch").write_text(
        "Breaks: invariant 1\nCaught by: unit sync\n\n--- a/x\n+++ b/x\n-a\n-b\n+c\n", "utf-8")
    with pytest.raises(env.EnvError, match="changes 2 lines to 1"):
        mutate.load(tmp_path)


@pytest.mark.slow
def test_survivors_are_noticed(tmp_path):
    """Step: a patch that breaks nothing, and one that does not apply. Verify: both are told, status 1."""
    lines = (env.ROOT / "lib" / "base" / "text.c").read_text("utf-8").splitlines()
    (tmp_path / "harmless.patch").write_text(HARMLESS.format(line=lines[1], next=lines[2]), "utf-8")
    (tmp_path / "stale.patch").write_text(HARMLESS.format(line="never there", next=lines[2]), "utf-8")
    done = script("mutate", "--patches", tmp_path, "--jobs", 1)
    assert done.returncode == 1, done.stdout
    assert "SURVIVED  2 atomic                harmless" in done.stdout
    assert "does not apply any more" in done.stdout
    assert done.stdout.splitlines()[-1] == "0 caught, 1 survived, 1 failed"


def write_results(folder, failed=0):
    """What scripts/test --results leaves."""
    (folder / "total.json").write_text(json.dumps({"passed": 1234, "failed": failed}), "utf-8")
    (folder / "simulation.json").write_text(json.dumps(
        {"seeds": 5001, "failures": 0, "counts": {"commits": {"what": "epochs committed", "value": 98765},
                                                  "lost": {"what": "frames lost", "value": 4711}}}), "utf-8")
    (folder / "mutations.json").write_text(json.dumps(
        {"caught": [m.name for m in mutate.load()], "survived": [], "failed": []}), "utf-8")
    (folder / "fuzz.json").write_text(json.dumps(
        {"targets": [{"target": "frame", "executions": 4242}], "executions": 4242, "crashes": 0}), "utf-8")
    for name in SUITES + MORE:
        properties = PROPERTY.format("kills.flush", 3) + PROPERTY.format("epochs.committed", 100)
        outcome = '<failure message="no"/>' if name == "session" else ""  # what failed survived nothing
        (folder / f"TestSuite_{name}.xml").write_text(
            CASE.format(properties=properties if name in SUITES else "", outcome=outcome), "utf-8")


def test_report(tmp_path):
    """Step: results of a run. Verify: each figure is in its table, sums over suites too."""
    write_results(tmp_path)
    done = script("reliability-report", "--from", tmp_path)
    assert done.returncode == 0, done.stdout
    for row in ("| seeds simulated | 5,001 |", "| epochs committed, simulated | 98,765 |",
                "| epochs committed, real processes | 400 |", "| SIGKILL | secondary, in a flush | 12 |",
                "| simulated | frames lost | 4,711 |", "| frame | 4,242 |",
                "| **invariants broken, tests failed, crashes** | **0** |"):
        assert row in done.stdout.splitlines(), done.stdout


def test_report_of_less_is_not_written(tmp_path):
    """Step: a suite was not run; a test failed. Verify: said, status 1, and the page stays as it is."""
    page = (env.ROOT / "docs" / "reliability.md").read_text("utf-8")
    write_results(tmp_path)
    (tmp_path / "TestSuite_lockstep.xml").unlink()
    done = script("reliability-report", "--from", tmp_path, "--write")
    assert done.returncode == 1 and "TestSuite_lockstep.xml is missing" in done.stdout
    write_results(tmp_path, failed=1)
    done = script("reliability-report", "--from", tmp_path, "--write")
    assert done.returncode == 1 and "1 failed, 0 not run; nothing is written" in done.stdout
    assert (env.ROOT / "docs" / "reliability.md").read_text("utf-8") == page

# SPDX-License-Identifier: BSD-3-Clause
"""Build and run all tests: unit tests, the same with sanitizers, and the suites in dts/.

Closing line: N passed, N failed (and N skipped, if any were). Exit status 0 if none failed.
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree

import colo_env as env
import fuzz
import mutate
import sim

UNIT_HUGE_MIB = 512      # for all unit tests, which run one after the other
SUITE_TIMEOUT_S = 900
SIM_SEEDS = 5000         # of the full tier; the first 200 are a test that meson knows
FUZZ_SECONDS = 30        # of the full tier, each target; the corpora are tests that meson knows
FUZZ_JOBS = 2
RESULTS = ["total.json", "simulation.json", "mutations.json", "fuzz.json"]  # and a .xml a suite
# werror: with sanitizers gcc warns of what cannot happen; the plain build keeps it on
SANITIZE = ["-Db_sanitize=address,undefined", "-Db_lundef=false", "-Dbuildtype=debugoptimized",
            "-Dwerror=false"]
SANITIZER_ENV = {"ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:detect_stack_use_after_return=0",
                 "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1"}


class Tally:
    """What was counted so far."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.rows = []

    def add(self, name, passed, failed, skipped, seconds, output=""):
        self.passed += passed
        self.failed += failed
        self.skipped += skipped
        self.rows.append({"name": name, "passed": passed, "failed": failed, "skipped": skipped,
                          "seconds": round(seconds, 1)})
        words = [f"{passed:4d} passed"]
        words += [f"{failed} FAILED"] if failed else []
        words += [f"{skipped} skipped"] if skipped else []
        print(f"{name:<36} {', '.join(words)}  ({seconds:.1f} s)", flush=True)
        if failed:
            print(output.rstrip(), flush=True)

    def closing_line(self):
        tail = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{tail}"

    def write_json(self, path):
        path.write_text(json.dumps({"passed": self.passed, "failed": self.failed,
                                    "skipped": self.skipped, "rows": self.rows}, indent=1) + "\n",
                        "utf-8")


def run_bounded(command, timeout, **kwargs):
    """Run in a process group of its own; after the time is up the whole group is ended.

    @return (exit status or None if it took too long, output, seconds)
    """
    began = time.monotonic()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL,
                                   stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
                                   **kwargs)
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            _end_group(process)
        output.seek(0)
        text = output.read().decode("utf-8", "replace")
    return status, text, time.monotonic() - began


def _end_group(process):
    """Also what a finished test left behind. Safe to call again."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        if process.poll() is None:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                continue
    process.wait()


def count_closing(text):
    """(passed, failed) as CUnit or a `N passed, N failed` line says; None without either."""
    found = re.findall(r"^\s+tests\s+\d+\s+(\d+)\s+(\d+)\s+(\d+)", text, re.M)
    if found:
        return int(found[-1][1]), int(found[-1][2])
    found = re.findall(r"^(\d+) passed, (\d+) failed", text, re.M)
    return (int(found[-1][0]), int(found[-1][1])) if found else None


def run_program(tally, test, label):
    """One test program that meson knows."""
    status, text, seconds = run_bounded(test["cmd"], test["timeout"], cwd=test["workdir"],
                                        env={**os.environ, **test["env"], **SANITIZER_ENV})
    passed, failed = count_closing(text) or (0, 0)
    if passed + failed == 0 and status == 0:
        passed = 1
    if status != 0 and failed == 0:  # died, or took too long: its counts cannot be trusted alone
        failed = 1
        text += f"\n{test['name']}: " + ("took too long" if status is None
                                         else f"ended with status {status}")
    tally.add(label + test["name"], passed, failed, 0, seconds, text)


def run_programs(tally, directory, quick, label):
    tests = json.loads((env.ROOT / directory / "meson-info" / "intro-tests.json").read_text("utf-8"))
    for test in sorted(tests, key=lambda t: t["name"]):
        if not (quick and any(s.endswith("slow") for s in test["suite"])):
            run_program(tally, test, label)


def run_simulation(tally, scratch):
    """Many seeds of tests/sim, on all CPUs."""
    began = time.monotonic()
    outcome = sim.simulate(env.ROOT / "build", SIM_SEEDS, first=201)
    outcome.write_json(scratch / "simulation.json")
    tally.add("simulation", outcome.passed, outcome.failed, 0, time.monotonic() - began,
              "\n".join(outcome.failures))


def run_mutations(tally, scratch):
    """Each patch of tests/mutations, in scratch copies of the tree: a test must notice."""
    began = time.monotonic()
    lines = []
    outcome = mutate.Outcome()
    try:
        outcome = mutate.mutate(mutate.load(), say=lines.append)
    except env.EnvError as why:
        outcome.failures.append(str(why))
        lines.append(str(why))
    outcome.write_json(scratch / "mutations.json")
    tally.add("mutations", len(outcome.caught), len(outcome.survived) + len(outcome.failures), 0,
              time.monotonic() - began, "\n".join(lines))


def run_fuzzers(tally, seconds, scratch):
    """Each target of tests/fuzz for so long."""
    began = time.monotonic()
    outcomes = fuzz.run(fuzz.fuzz_target, fuzz.all_targets(), seconds, FUZZ_JOBS)
    fuzz.write_json(scratch / "fuzz.json", outcomes)
    failed = [outcome for outcome in outcomes if outcome.failed]
    tally.add("fuzz", len(outcomes) - len(failed), len(failed), 0, time.monotonic() - began,
              "\n".join(outcome.text for outcome in failed))


PARTS = ["simulation", "mutations", "fuzz"]  # no files of dts/, but by --suite as well
BESIDE = ["simulation", "fuzz"]  # their clocks are their own: they take what the others leave
BESIDE_NICE = 19
BESIDE_TIMEOUT_S = 900  # after the last suite


def run_parts(tally, names, fuzz_seconds, scratch):
    """Those of them."""
    if "simulation" in names:
        run_simulation(tally, scratch)
    if "mutations" in names:
        run_mutations(tally, scratch)
    if "fuzz" in names:
        run_fuzzers(tally, fuzz_seconds, scratch)


class Beside:
    """The parts that run while all others do, by this script in a process of its own."""

    def __init__(self, fuzz_seconds, scratch):
        self.results = scratch / "beside"
        self.output = tempfile.TemporaryFile()
        command = [sys.executable, "-B", env.ROOT / "scripts" / "test.py", "--results", self.results,
                   "--fuzz-seconds", fuzz_seconds]
        command += [word for part in BESIDE for word in ("--suite", part)]
        self.process = subprocess.Popen(
            [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=self.output,
            stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=lambda: os.nice(BESIDE_NICE))

    def join(self, tally, scratch):
        """Wait for them, and count them."""
        try:
            self.process.wait(BESIDE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            pass
        self.close()
        self.output.seek(0)
        text = self.output.read().decode("utf-8", "replace")
        try:
            total = json.loads((self.results / "total.json").read_text("utf-8"))
        except (OSError, ValueError):
            total = {"rows": []}
        for row in total["rows"]:
            tally.add(row["name"], row["passed"], row["failed"], row["skipped"], row["seconds"], text)
        if len(total["rows"]) < len(BESIDE):
            tally.add(" and ".join(BESIDE), 0, 1, 0, 0, text + "\nthey did not come to an end")
        for name in RESULTS[1:]:
            if (self.results / name).exists():
                shutil.move(self.results / name, scratch / name)
        shutil.rmtree(self.results, ignore_errors=True)

    def close(self):
        """End what is left of it."""
        _end_group(self.process)


def count_junit(path):
    """(passed, failed, skipped) of a pytest run, or None if it left no report."""
    try:
        suites = xml.etree.ElementTree.parse(path).getroot().iter("testsuite")
    except (OSError, xml.etree.ElementTree.ParseError):
        return None
    totals = [0, 0, 0]
    for suite in suites:
        tests, failures, errors, skipped = (int(suite.get(k, 0)) for k in
                                            ("tests", "failures", "errors", "skipped"))
        bad = min(tests, failures + errors)
        totals = [totals[0] + tests - bad - skipped, totals[1] + bad, totals[2] + skipped]
    return totals


def run_suite(tally, suite, quick, scratch):
    """One file of dts/, by pytest in a process of its own."""
    report = scratch / f"{suite.stem}.xml"
    command = [sys.executable, "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short",
               f"--junitxml={report}", suite]
    if quick:
        command += ["-m", "not slow"]
    status, text, seconds = run_bounded(command, SUITE_TIMEOUT_S, cwd=env.ROOT / "dts")
    counts = count_junit(report)
    if quick and status == 5:  # nothing of this suite is quick
        return
    passed, failed, skipped = counts or (0, 0, 0)
    if status != 0 and failed == 0:
        failed = 1
        text += f"\n{suite.name}: " + ("took too long" if status is None
                                       else f"ended with status {status}")
    tally.add(suite.stem, passed, failed, skipped, seconds, text)


def prepare(quick, suites):
    """Install and build everything before the first test, so that no test's time includes it."""
    env.ensure_packages(env.BUILD_PACKAGES + env.GUEST_PACKAGES + env.TEST_PACKAGES
                        + env.CHECK_PACKAGES)
    env.build()
    if not quick and not suites:
        env.build("build-sanitize", SANITIZE)
        env.ensure_packages(fuzz.PACKAGES)  # built beside, see BESIDE
    if "fuzz" in suites:
        env.ensure_packages(fuzz.PACKAGES)
        fuzz.build()


def clear_results(folder):
    """Of a former run nothing must be left."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in [*folder.glob("TestSuite_*.xml"), *(folder / name for name in RESULTS)]:
        old.unlink(missing_ok=True)


def interrupted(*_):
    raise KeyboardInterrupt


def main():
    signal.signal(signal.SIGTERM, interrupted)  # so that what runs is ended, too
    parser = argparse.ArgumentParser(prog="scripts/test", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="only the fast tier, below 3 minutes")
    parser.add_argument("--suite", metavar="NAME", action="append",
                        help="only this file of dts/, for example memif, or one of "
                             f"{', '.join(PARTS)} (repeatable)")
    parser.add_argument("--fuzz-seconds", type=float, default=FUZZ_SECONDS, metavar="S",
                        help=f"of each fuzz target, in the full tier ({FUZZ_SECONDS})")
    parser.add_argument("--results", metavar="DIR", type=pathlib.Path,
                        help="keep what each suite reports there, for scripts/reliability-report")
    args = parser.parse_args()
    began = time.monotonic()
    if args.results:
        args.results = args.results.resolve()
        clear_results(args.results)
    prepare(args.quick, args.suite or [])
    env.become_root()
    tally = Tally()
    beside = None
    scratch = args.results or pathlib.Path(tempfile.mkdtemp(prefix="dpdk-colo-test."))
    try:
        if not args.suite:
            if not args.quick:
                beside = Beside(args.fuzz_seconds, scratch)
            huge = env.Hugepages(UNIT_HUGE_MIB)
            try:
                run_programs(tally, "build", args.quick, "")
                if not args.quick:
                    run_programs(tally, "build-sanitize", False, "sanitized ")
                    run_parts(tally, set(PARTS) - set(BESIDE), args.fuzz_seconds, scratch)
            finally:
                huge.close()
        else:
            run_parts(tally, args.suite, args.fuzz_seconds, scratch)
        suites = sorted((env.ROOT / "dts").glob("TestSuite_*.py"))
        for suite in suites:
            if not args.suite or suite.stem[len("TestSuite_"):] in args.suite:
                run_suite(tally, suite, args.quick, scratch)
        if beside:
            beside.join(tally, scratch)
    finally:
        if beside:
            beside.close()
        if args.results:
            tally.write_json(scratch / "total.json")
        else:
            shutil.rmtree(scratch, ignore_errors=True)
    print(f"all of it in {time.monotonic() - began:.0f} s")
    print(tally.closing_line(), flush=True)
    return 0 if tally.failed == 0 and tally.passed > 0 else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except env.EnvError as why:
        env.fail(why)
    except KeyboardInterrupt:
        sys.exit(130)

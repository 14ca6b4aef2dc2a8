# SPDX-License-Identifier: BSD-3-Clause
"""Simulate many seeds: tests/sim/colo-sim on every CPU, its figures added up.

Each seed is a life of both ends with mishaps, checked at every step. Closing line: N passed, N failed,
a test being a hundred seeds. Seeds of tests/sim/failed_seeds.txt come first.
"""
import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import colo_env as env

FAILED_SEEDS = env.ROOT / "tests" / "sim" / "failed_seeds.txt"
SANITIZE = ["-Db_sanitize=address,undefined", "-Db_lundef=false", "-Dbuildtype=debugoptimized",
            "-Dwerror=false"]
LONGEST = re.compile(r"^ *(\d+)  (ms, .+)$", re.M)
FAILURE = re.compile(r"^seed \d+ .*(?:\n  .*)*", re.M)
CLOSING = re.compile(r"^(\d+) passed, (\d+) failed$", re.M)


class Outcome:
    """What the programs said, together."""

    def __init__(self):
        self.seeds = 0
        self.counts = {}   # name -> {"what": in words, "value": so many}
        self.longest = {}  # what -> milliseconds
        self.failures = []
        self.passed = self.failed = 0

    def add(self, name, status, text, figures):
        self.failures += FAILURE.findall(text)
        for value, what in LONGEST.findall(text):
            self.longest[what] = max(self.longest.get(what, 0), int(value))
        self.seeds += figures.get("seeds", 0)
        for key, count in figures.get("counts", {}).items():
            self.counts.setdefault(key, {**count, "value": 0})["value"] += count["value"]
        closing = CLOSING.findall(text)
        if closing:
            self.passed += int(closing[-1][0])
            self.failed += int(closing[-1][1])
        if not closing or (status != 0 and int(closing[-1][1]) == 0):
            self.failed += 1
            self.failures.append(f"{name} ended with status {status}:\n{text[-3000:]}")

    def write_json(self, path):
        """All figures, for scripts/reliability-report."""
        pathlib.Path(path).write_text(json.dumps(
            {"seeds": self.seeds, "failures": len(self.failures), "counts": self.counts,
             "longest_ms": self.longest}, indent=1) + "\n", "utf-8")


def _figures(path):
    """What a program has written; nothing if it has not come so far."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}


def simulate(build, seeds, first=1, minutes=0, jobs=None):
    """Run @p seeds from @p first on; each job has its share of them. @return an Outcome."""
    jobs = max(1, min(jobs or os.cpu_count() or 1, seeds))
    program = build / "tests" / "sim" / "colo-sim"
    running = []
    outcome = Outcome()
    with tempfile.TemporaryDirectory(prefix="dpdk-colo-sim.") as scratch:
        for job in range(jobs):
            begin, end = first + seeds * job // jobs, first + seeds * (job + 1) // jobs
            report = pathlib.Path(scratch) / f"{job}.json"
            command = [program, "--first", begin, "--seeds", end - begin, "--json", report]
            command += ["--minutes", minutes] if minutes else []
            command += ["--failed", FAILED_SEEDS] if job == 0 else []
            running.append((f"seeds {begin}..{end - 1}", report, subprocess.Popen(
                [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True)))
        try:
            for name, report, process in running:
                text = process.communicate()[0]
                outcome.add(name, process.returncode, text, _figures(report))
        finally:
            for _, _, process in running:
                process.kill()
    return outcome


def main():
    parser = argparse.ArgumentParser(prog="scripts/sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5000, metavar="N", help="so many (5000)")
    parser.add_argument("--first", type=int, default=1, metavar="S", help="from this one on (1)")
    parser.add_argument("--minutes", type=float, default=0, metavar="M",
                        help="begin no seed after so long (no limit)")
    parser.add_argument("--jobs", type=int, default=0, metavar="J", help="side by side (all CPUs)")
    parser.add_argument("--sanitize", action="store_true",
                        help="with address and undefined-behaviour sanitizers")
    parser.add_argument("--json", metavar="FILE", help="write the figures there, by name")
    args = parser.parse_args()
    if args.seeds < 1:
        env.fail(f"--seeds {args.seeds}: at least 1 is accepted")
    env.ensure_packages(env.BUILD_PACKAGES)
    build = env.build("build-sanitize", SANITIZE) if args.sanitize else env.build()
    began = time.monotonic()
    outcome = simulate(build, args.seeds, args.first, args.minutes, args.jobs)
    for count in outcome.counts.values():
        print(f"{count['value']:12d}  {count['what']}")
    for what, value in outcome.longest.items():
        print(f"{value:12d}  {what}")
    if args.json:
        outcome.write_json(args.json)
    print("\n".join(outcome.failures))
    print(f"{time.monotonic() - began:.0f} s; one seed again: "
          f"{build.name}/tests/sim/colo-sim --seed S --trace")
    print(f"{outcome.passed} passed, {outcome.failed} failed", flush=True)
    return 0 if outcome.failed == 0 else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except env.EnvError as why:
        env.fail(why)
    except KeyboardInterrupt:
        sys.exit(130)

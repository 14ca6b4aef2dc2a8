# SPDX-License-Identifier: BSD-3-Clause
"""Fuzz every parser: the targets of tests/fuzz by libFuzzer, with address and undefined sanitizers.

One line a target: inputs executed, edges of the code covered, crashes. An input that crashes, leaks or
takes too long is kept in build-fuzz/findings/. Closing line: N passed, N failed, a test being a target.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

import colo_env as env

DIRECTORY = "build-fuzz"
PACKAGES = ["clang-14", "libclang-rt-14-dev"]
# -O1: what a sanitizer reports is where the source says
OPTIONS = ["-Dfuzz=true", "-Dbuildtype=plain", "-Doptimization=1", "-Ddebug=true"]
SOURCES = env.ROOT / "tests" / "fuzz"
INPUT_TIMEOUT_S = 60      # one input, by the clock: the slowest need 50 ms of a CPU
START_TIMEOUT_S = 120     # beyond its seconds: EAL, reading of the corpus
MEMORY_MIB = 2048
LENGTH_MAX = 16384        # bytes of an input
SHORTER = {"multifd": 1024, "options": 2048, "prompt": 1024}  # what is longer only takes longer
FINDING = re.compile(r"; Test unit written to (\S+)")
EXECUTIONS = re.compile(r"^stat::number_of_executed_units:\s*(\d+)", re.M)
EDGES = re.compile(r"\bcov: (\d+)")
ENVIRONMENT = {"ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=0:handle_abort=1",
               "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1"}


class Outcome:
    """What became of a target."""

    def __init__(self, target):
        self.target = target
        self.executions = self.edges = 0
        self.seconds = 0.0
        self.findings = []
        self.text = ""  # of what failed

    @property
    def failed(self):
        return bool(self.findings or self.text)

    def line(self):
        return (f"{self.target:<14} {self.executions:>10} executions {self.edges:>6} edges "
                f"{len(self.findings):>3} crashes  ({self.seconds:.1f} s)")

    def row(self):
        return {"target": self.target, "executions": self.executions, "edges": self.edges,
                "crashes": len(self.findings), "findings": [str(f) for f in self.findings],
                "seconds": round(self.seconds, 1), "passed": not self.failed}


def all_targets():
    return sorted(path.name[:-len("_fuzz.c")] for path in SOURCES.glob("*_fuzz.c"))


def build():
    """The instrumented programs, in a folder of their own. @return it."""
    compiler = "clang-14" if shutil.which("ccache") is None else "ccache clang-14"
    return env.build(DIRECTORY, OPTIONS, ["fuzz-targets"], {"CC": compiler})


def _command(folder, target, arguments):
    findings = folder / "findings"
    findings.mkdir(exist_ok=True)
    command = [folder / "tests" / "fuzz" / f"{target}_fuzz", f"-timeout={INPUT_TIMEOUT_S}",
               f"-rss_limit_mb={MEMORY_MIB}", f"-max_len={SHORTER.get(target, LENGTH_MAX)}", "-print_final_stats=1",
               f"-artifact_prefix={findings}/{target}-"]
    words = SOURCES / f"{target}.dict"
    command += [f"-dict={words}"] if words.exists() else []
    return [str(word) for word in command + list(arguments)]


def run_command(outcome, command, seconds):
    """Run a target for @p seconds; what came of it is in the outcome."""
    began = time.monotonic()
    environment = {**os.environ, **ENVIRONMENT}
    symbolizer = shutil.which("llvm-symbolizer-14")
    if symbolizer:
        environment["ASAN_SYMBOLIZER_PATH"] = symbolizer
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, env=environment) as process:
        try:
            output, _ = process.communicate(timeout=seconds + START_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            outcome.text = f"{outcome.target}: took longer than {seconds + START_TIMEOUT_S:.0f} s\n"
        except BaseException:  # interrupted: nothing is left running
            process.kill()
            raise
    text = output.decode("utf-8", "replace")
    outcome.seconds = time.monotonic() - began
    outcome.executions = int((EXECUTIONS.findall(text) or ["0"])[-1])
    outcome.edges = int((EDGES.findall(text) or ["0"])[-1])
    outcome.findings = [pathlib.Path(name) for name in FINDING.findall(text)
                        if "-slow-unit-" not in pathlib.Path(name).name]
    if outcome.findings or process.returncode != 0:
        outcome.text += "\n".join(text.splitlines()[-60:])
        outcome.text += f"\n{outcome.target}: ended with status {process.returncode}"
        outcome.text += "".join(f"\nagain: {command[0]} {f}" for f in outcome.findings)


def fuzz_target(folder, target, seconds):
    """Fuzz for so long, beginning with the seeds and what former runs have found worth keeping."""
    outcome = Outcome(target)
    grown = folder / "corpus" / target
    grown.mkdir(parents=True, exist_ok=True)
    run_command(outcome, _command(folder, target, [f"-max_total_time={max(1, round(seconds))}", grown,
                                                   SOURCES / "corpus" / target]), seconds)
    return outcome


def replay_target(folder, target, _=0):
    """Each input of the project's corpus once."""
    outcome = Outcome(target)
    run_command(outcome, _command(folder, target, ["-runs=0", SOURCES / "corpus" / target]), 0)
    return outcome


def run(work, targets, seconds, jobs, tell=print):
    """Side by side. @return the outcomes, in the targets' order."""
    folder = env.ROOT / DIRECTORY
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        running = [pool.submit(work, folder, target, seconds) for target in targets]
        for done in running:
            tell(done.result().line())
    return [done.result() for done in running]


def write_json(path, outcomes):
    rows = [outcome.row() for outcome in outcomes]
    pathlib.Path(path).write_text(json.dumps(
        {"targets": rows, "executions": sum(r["executions"] for r in rows),
         "crashes": sum(r["crashes"] for r in rows)}, indent=2) + "\n", "utf-8")


def main():
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=0, metavar="M",
                        help="all targets together take so long")
    parser.add_argument("--target", action="append", metavar="T",
                        help=f"only this one (repeatable): {', '.join(all_targets())}")
    parser.add_argument("--jobs", type=int, default=2, metavar="J", help="targets side by side (2)")
    parser.add_argument("--replay", action="store_true", help="only tests/fuzz/corpus, each input once")
    parser.add_argument("--json", metavar="FILE", help="write the figures there")
    args = parser.parse_args()
    targets = args.target or all_targets()
    for target in targets:
        if target not in all_targets():
            env.fail(f"no target is called {target}; there are {', '.join(all_targets())}")
    if not args.replay and args.minutes <= 0:
        env.fail("--minutes M, more than 0, or --replay is accepted")
    if args.jobs < 1:
        env.fail(f"--jobs {args.jobs}: at least 1 is accepted")
    env.ensure_packages(env.BUILD_PACKAGES + PACKAGES)
    build()
    jobs = min(args.jobs, len(targets))
    seconds = args.minutes * 60 * jobs / len(targets)
    outcomes = run(replay_target if args.replay else fuzz_target, targets, seconds, jobs)
    for outcome in outcomes:
        if outcome.failed:
            print(outcome.text)
    if args.json:
        write_json(args.json, outcomes)
    failed = sum(outcome.failed for outcome in outcomes)
    print(f"{sum(o.executions for o in outcomes)} executions, "
          f"{sum(len(o.findings) for o in outcomes)} crashes")
    print(f"{len(outcomes) - failed} passed, {failed} failed", flush=True)
    return 0 if failed == 0 else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except env.EnvError as why:
        env.fail(why)
    except KeyboardInterrupt:
        sys.exit(130)

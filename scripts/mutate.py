# SPDX-License-Identifier: BSD-3-Clause
"""Break the program one line at a time, by the patches of tests/mutations, and see a test notice.

Each patch says which invariant it breaks and which test must fail then. Closing line: N caught, N
survived. Exit status 0 if all were caught.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time

import colo_env as env

PATCHES = env.ROOT / "tests" / "mutations"
INVARIANTS = {1: "pristine", 2: "atomic", 3: "whole", 4: "order-free", 5: "no bleeding",
              6: "bounded", 7: "nobody waits for ever", 8: "lifetimes"}
HEADER = re.compile(r"Breaks: invariant ([1-8])\nCaught by: (unit \w+|sim \d+)\n")
CATCHER_S = 120  # a catcher that is not over by then counts as one that failed
BUILD_S = 600


class Mutation:
    """One patch and what its header says."""

    def __init__(self, path):
        text = path.read_text(encoding="utf-8")
        header = HEADER.match(text)
        if header is None:
            raise env.EnvError(f"{path.name}: its first lines must be `Breaks: invariant N` (1 to 8) "
                               "and `Caught by: unit NAME` or `Caught by: sim SEEDS`")
        lines = text[header.end():].splitlines()
        removed, added = (sum(line.startswith(sign) and not line.startswith(sign * 3)
                              for line in lines) for sign in "-+")
        if removed > 1 or added > 1 or removed + added == 0:
            raise env.EnvError(f"{path.name}: changes {removed} lines to {added}; one is accepted")
        self.path, self.name = path, path.stem
        self.invariant, self.catcher = int(header.group(1)), header.group(2)


class Outcome:
    """What became of the mutations."""

    def __init__(self):
        self.caught, self.survived, self.failures = [], [], []

    def closing_line(self):
        tail = f", {len(self.failures)} failed" if self.failures else ""
        return f"{len(self.caught)} caught, {len(self.survived)} survived{tail}"

    def write_json(self, path):
        """Names, for scripts/reliability-report."""
        pathlib.Path(path).write_text(json.dumps(
            {"caught": self.caught, "survived": self.survived, "failed": self.failures},
            indent=1) + "\n", "utf-8")

    def is_good(self):
        return not self.survived and not self.failures and bool(self.caught)


class Tree:
    """A copy of the tree with its build folder, to be broken."""

    def __init__(self, scratch):
        self.path = scratch
        for entry in env.ROOT.iterdir():
            if entry.name.startswith(".") or entry.name == "__pycache__" or (
                    entry.name.startswith("build") and entry.name != "build"):
                continue
            if entry.is_dir():  # times stay, so that nothing is compiled that has not changed
                shutil.copytree(entry, scratch / entry.name, symlinks=True)
            else:
                shutil.copy2(entry, scratch / entry.name)
        ninja = scratch / "build" / "build.ninja"
        times = ninja.stat()
        text = re.sub(r"^ command = .* --internal regenerate .*$", " command = false",
                      ninja.read_text("utf-8"), flags=re.M)  # it would go to the tree itself
        ninja.write_text(text, "utf-8")
        os.utime(ninja, ns=(times.st_atime_ns, times.st_mtime_ns))

    def apply(self, patch, reverse=False):
        """None, or why it does not apply. What is near the line may have changed since."""
        command = ["git", "apply", "-C1"] + (["--reverse"] if reverse else []) + [str(patch)]
        done = subprocess.run(command, cwd=self.path, stdout=subprocess.PIPE, check=False,
                              stderr=subprocess.STDOUT, text=True,
                              env={**os.environ, "GIT_CEILING_DIRECTORIES": str(self.path.parent)})
        return done.stdout.strip() or "git apply failed" if done.returncode else None

    def run_catcher(self, catcher):
        """Build and run it. @return (what it says about itself or None if it passed, error)"""
        what, name = catcher.split()
        target = "tests/sim/colo-sim" if what == "sim" else f"tests/unit/{name}_ut"
        done = subprocess.run(["ninja", "-j1", "-C", self.path / "build", target], check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=BUILD_S)
        if done.returncode:
            return None, f"does not build:\n{done.stdout[-2000:]}"
        command = [self.path / "build" / target]
        command += ["--seeds", name, "--until-failure"] if what == "sim" else []
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL, timeout=CATCHER_S, check=False)
        except subprocess.TimeoutExpired:
            return "did not end", None
        if done.returncode < 0:
            return f"died of signal {-done.returncode}", None
        return f"failed ({done.returncode})" if done.returncode else None, None


def load(folder=PATCHES, only=()):
    """The mutations, sorted by invariant and name; the project's must break every invariant."""
    found = sorted((Mutation(p) for p in folder.glob("*.patch")),
                   key=lambda m: (m.invariant, m.name))
    for name in only:
        if name not in [m.name for m in found]:
            raise env.EnvError(f"no mutation is called {name}; there are "
                               f"{', '.join(m.name for m in found)}")
    missing = [name for number, name in INVARIANTS.items()
               if number not in {m.invariant for m in found}]
    if folder == PATCHES and missing:
        raise env.EnvError(f"no mutation breaks {', '.join(missing)}: one for each invariant")
    return [m for m in found if not only or m.name in only]


def try_one(tree, mutation):
    """@return (word, what is to be said about it)"""
    why = tree.apply(mutation.path)
    if why is not None:
        return "FAILED", f"does not apply any more: {why}"
    try:
        said, error = tree.run_catcher(mutation.catcher)
    finally:
        tree.apply(mutation.path, reverse=True)
    if error is not None:
        return "FAILED", error
    return ("caught", f"{mutation.catcher} {said}") if said else ("SURVIVED", mutation.catcher)


def mutate(mutations, jobs=None, say=print):
    """Try all of them, in as many trees as there are jobs. build/ is built. @return an Outcome."""
    outcome = Outcome()
    jobs = max(1, min(jobs or os.cpu_count() or 1, len(mutations)))
    lists = {"caught": outcome.caught, "SURVIVED": outcome.survived, "FAILED": outcome.failures}
    with tempfile.TemporaryDirectory(prefix="dpdk-colo-mutate.") as scratch, \
            concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        trees = queue.Queue()
        for job in range(jobs):
            path = pathlib.Path(scratch) / str(job)
            path.mkdir()
            trees.put(Tree(path))

        def in_a_tree(work, what):
            tree = trees.get()
            began = time.monotonic()
            try:
                return work(tree, what), time.monotonic() - began
            finally:
                trees.put(tree)

        # a test that fails anyhow would catch everything
        before = pool.map(lambda c: (c, in_a_tree(Tree.run_catcher, c)[0]),
                          sorted({m.catcher for m in mutations}))
        broken = {catcher: said or error for catcher, (said, error) in before if said or error}
        for catcher, why in broken.items():
            outcome.failures.append(catcher)
            say(f"FAILED    {catcher} without any mutation: {why}")
        tried = [m for m in mutations if m.catcher not in broken]
        results = pool.map(lambda m: (m, in_a_tree(try_one, m)), tried)
        for mutation, ((word, text), seconds) in results:
            lists[word].append(mutation.name)
            say(f"{word:<9} {mutation.invariant} {INVARIANTS[mutation.invariant]:<21} "
                f"{mutation.name:<36} {text} ({seconds:.1f} s)")
    return outcome


def main():
    parser = argparse.ArgumentParser(prog="scripts/mutate", description=__doc__)
    parser.add_argument("--only", metavar="NAME", action="append", default=[],
                        help="only this patch (repeatable)")
    parser.add_argument("--jobs", type=int, default=0, metavar="J", help="side by side (all CPUs)")
    parser.add_argument("--patches", type=pathlib.Path, default=PATCHES, metavar="DIR",
                        help="other patches than those of tests/mutations")
    args = parser.parse_args()
    env.ensure_packages(env.BUILD_PACKAGES + ["git"])
    mutations = load(args.patches, args.only)
    if not mutations:
        env.fail(f"{args.patches}: there is no patch; *.patch is accepted")
    env.build()
    began = time.monotonic()
    outcome = mutate(mutations, args.jobs, lambda line: print(line, flush=True))
    print(f"{time.monotonic() - began:.0f} s")
    print(outcome.closing_line(), flush=True)
    return 0 if outcome.is_good() else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except env.EnvError as why:
        env.fail(why)
    except KeyboardInterrupt:
        sys.exit(130)

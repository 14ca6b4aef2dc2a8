# SPDX-License-Identifier: BSD-3-Clause
"""Transfer and flush of a pair over net_ring, in GB/s and as a ratio to plain copies of such pages.

Machines are shared and noisy: the yardstick (tests/bench/page_copy) and every configuration are
measured by turns, in one run, on memory that was touched before. What counts is the ratio, and of
each the median over the turns.
"""
import argparse
import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

import colo_env as env

sys.path.insert(0, str(env.ROOT / "dts"))
from framework import eal  # noqa: E402

MEMORY = 512  # MiB of guest, and of each side of the yardstick
LOAD_PAGES = 7800  # what the `load` preset dirties
REST_MS = 15  # the guest rests after a resume: its own writes are not to slow the flush behind it
HUGEPAGES_MIB = 4 * MEMORY + 1024
LIMIT_S = 120  # of one program

CONFIGURATIONS = [(codec, mtu, channels)
                  for codec in ("raw", "zstd") for mtu in (4200, 9000) for channels in (1, 2)]


def output_of(command, realtime):
    if realtime:
        command = ["chrt", "-r", "10"] + command
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=LIMIT_S, check=False)
    if done.returncode != 0:
        env.fail(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout


def yardstick(options):
    return json.loads(output_of([str(env.ROOT / "build/tests/bench/page_copy"),
                                 str(MEMORY << 20), str(LOAD_PAGES)], options.realtime))


def pair(options, folder, codec, mtu, channels):
    """@return the JSON of one run."""
    path = pathlib.Path(folder) / "pair.json"
    lcores = f"--lcores=(0-3)@({','.join(str(c) for c in sorted(os.sched_getaffinity(0)))})"
    output_of([str(env.program()), "--in-memory", "--no-pci", "--iova-mode=va", "--no-telemetry",
               lcores, "--", "--role", "pair", "--channels", str(channels), "--source",
               f"synthetic,size={MEMORY}M,preset=load,seed=7,rest={REST_MS}", "--codec", codec,
               "--mtu", str(mtu), "--interval", "0", "--epochs", str(options.epochs),
               "--json", str(path)], options.realtime)
    return json.loads(path.read_text(encoding="utf-8"))


def gbytes(epochs, key):
    """Median over the checkpoints; the first ones warm up."""
    return statistics.median(e["pages"] * 4096 / e[key] / 1000 for e in epochs[2:] if e[key] > 0)


def measure(options, folder):
    sticks = []
    runs = {c: [] for c in CONFIGURATIONS}
    for turn in range(options.turns):
        sticks.append(yardstick(options))
        for configuration in CONFIGURATIONS:
            runs[configuration].append(pair(options, folder, *configuration))
        print(f"turn {turn + 1} of {options.turns} done", file=sys.stderr, flush=True)
    return sticks, runs


def report(sticks, runs):
    one, both, one_nt, both_nt = (statistics.median(s[k] for s in sticks) for k in (
        "one_core", "all_core", "one_core_nt", "all_core_nt"))
    print(f"\ncold copy of pages, GB/s: one core {one:.2f} (memcpy), {one_nt:.2f} (non-temporal); "
          f"all {sticks[0]['threads']} cores {both:.2f}, {both_nt:.2f}")
    print("ratios are to the better of the two; load = 7,800 dirty pages a checkpoint\n")
    print("| codec | MTU | channels | transfer GB/s | / one core | flush GB/s | / all cores |"
          " load: transfer mean ms | p99 ms |")
    print("|---|---|---|---|---|---|---|---|---|")
    for (codec, mtu, channels), results in runs.items():
        epochs = [r["epochs"] for r in results]
        transfer = statistics.median(gbytes(e, "transfer_us") for e in epochs)
        flush = statistics.median(gbytes(e, "flush_us") for e in epochs)
        mean = statistics.median(r["summary"]["transfer_us"]["mean"] for r in results) / 1000
        p99 = statistics.median(r["summary"]["transfer_us"]["p99"] for r in results) / 1000
        print(f"| {codec} | {mtu} | {channels} | {transfer:.2f} | {transfer / max(one, one_nt):.2f} "
              f"| {flush:.2f} | {flush / max(both, both_nt):.2f} | {mean:.2f} | {p99:.2f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=3, help="how often each is measured (3)")
    parser.add_argument("--epochs", type=int, default=30, help="checkpoints of one run (30)")
    parser.add_argument("--realtime", action="store_true",
                        help="by SCHED_RR: on a machine that does other things meanwhile")
    options = parser.parse_args()
    if options.turns < 1 or options.epochs < 4:
        env.fail("--turns takes 1 or more, --epochs 4 or more")
    env.ensure_packages(env.BUILD_PACKAGES)
    env.build()
    env.become_root()
    with contextlib.closing(env.Hugepages(HUGEPAGES_MIB)), \
            tempfile.TemporaryDirectory(prefix="colo-bench.") as folder:
        report(*measure(options, folder))


try:
    main()
except env.EnvError as error:
    env.fail(str(error))

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
import secrets
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


def pair(options, folder, codec, mtu, channels, *more):
    """@return the JSON of one run, with `more` options."""
    path = pathlib.Path(folder) / "pair.json"
    lcores = f"--lcores=(0-3)@({','.join(str(c) for c in sorted(os.sched_getaffinity(0)))})"
    output_of([str(env.program()), "--in-memory", "--no-pci", "--iova-mode=va", "--no-telemetry",
               lcores, "--", "--role", "pair", "--channels", str(channels), "--source",
               f"synthetic,size={MEMORY}M,preset=load,seed=7,rest={REST_MS}", "--codec", codec,
               "--mtu", str(mtu), "--interval", "0", "--epochs", str(options.epochs),
               "--json", str(path), *more], options.realtime)
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


# Bad wires, and seals: what they cost, each against the same without, by turns

LOSS = {"lossless": [], "1 % lost": ["--fault", "drop=1,seed=1"],
        "10 % lost in bursts of 8": ["--fault", "drop=10,burst=8,seed=1"]}
LOSS_EPOCHS = 100  # a 99th percentile is of some
GOODPUT_GOAL = 0.85  # with 1 % lost, of lossless
P99_GOAL = 2.0       # transfer of a checkpoint, times lossless
SEALED_GOAL = 0.7    # raw transfer, of unsealed


def measure_variants(options, folder, variants, configurations):
    """@return {(configuration, variant): [JSON of each turn]}, a turn being all of them."""
    runs = {}
    for turn in range(options.turns):
        for configuration in configurations:
            for name, more in variants.items():
                runs.setdefault((configuration, name), []).append(
                    pair(options, folder, *configuration, *more))
        print(f"turn {turn + 1} of {options.turns} done", file=sys.stderr, flush=True)
    return runs


def goodput(run):
    """GB/s over all checkpoints but the first two: what was sent again counts as time only."""
    epochs = run["epochs"][2:]
    return sum(e["pages"] for e in epochs) * 4096 / sum(e["transfer_us"] for e in epochs) / 1000


def p99_ms(run):
    """By nearest rank, the first two not counted."""
    times = sorted(e["transfer_us"] for e in run["epochs"][2:])
    return times[-(-len(times) * 99 // 100) - 1] / 1000


def counted(run, name):
    return sum(c["counters"][name] for c in run["channels"])


def median_ratio(runs, others, number):
    """Of each turn's ratio: what disturbs a turn disturbs both."""
    return statistics.median(number(r) / number(o) for r, o in zip(runs, others))


def say_goal(what, ratio, goal, at_least):
    reached = ratio >= goal if at_least else ratio <= goal
    print(f"- {'reached' if reached else 'MISSED'}: {what}: {ratio:.2f}, goal "
          f"{'>=' if at_least else '<='} {goal:.2f}")


def report_loss(runs, configurations):
    print("\n| channels | wire | goodput GB/s | / lossless | transfer p50 ms | p99 ms | / lossless |"
          " sent again | of them in vain |")
    print("|---|---|---|---|---|---|---|---|---|")
    for configuration in configurations:
        base = runs[configuration, "lossless"]
        for name in LOSS:
            these = runs[configuration, name]
            resent = sum(counted(r, "tx_resent") for r in these)
            print(f"| {configuration[2]} | {name} | {statistics.median(map(goodput, these)):.2f} | "
                  f"{median_ratio(these, base, goodput):.2f} | "
                  f"{statistics.median(r['summary']['transfer_us']['p50'] for r in these) / 1000:.2f} | "
                  f"{statistics.median(map(p99_ms, these)):.2f} | {median_ratio(these, base, p99_ms):.2f} | "
                  f"{100 * resent / sum(counted(r, 'tx_packets') for r in these):.2f} % | "
                  f"{sum(counted(r, 'rx_duplicate') for r in these)} of {resent} |")
    print()
    for configuration in configurations:
        base, lossy = (runs[configuration, name] for name in ("lossless", "1 % lost"))
        what = f"{configuration[2]} channels, 1 % lost"
        say_goal(f"{what}, goodput / lossless", median_ratio(lossy, base, goodput), GOODPUT_GOAL, True)
        say_goal(f"{what}, p99 of transfer / lossless", median_ratio(lossy, base, p99_ms), P99_GOAL, False)


def report_sealed(runs, configurations):
    print("\n| MTU | channels | plain GB/s | sealed GB/s | sealed / plain |")
    print("|---|---|---|---|---|")
    ratios = {}
    for configuration in configurations:
        plain, sealed = (runs[configuration, name] for name in ("plain", "sealed"))
        ratios[configuration] = median_ratio(sealed, plain, goodput)
        print(f"| {configuration[1]} | {configuration[2]} | {statistics.median(map(goodput, plain)):.2f} | "
              f"{statistics.median(map(goodput, sealed)):.2f} | {ratios[configuration]:.2f} |")
    print()
    for (_, mtu, channels), ratio in ratios.items():
        say_goal(f"MTU {mtu}, {channels} channels, sealed / plain", ratio, SEALED_GOAL, True)


def run_loss(options, folder):
    options.epochs = max(options.epochs, LOSS_EPOCHS)
    configurations = [("raw", 4200, channels) for channels in (1, 2)]
    report_loss(measure_variants(options, folder, LOSS, configurations), configurations)


def run_sealed(options, folder):
    key = pathlib.Path(folder) / "key"
    with open(os.open(key, os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="ascii") as f:
        f.write(secrets.token_hex(32) + "\n")
    variants = {"plain": [], "sealed": ["--psk-file", str(key)]}
    configurations = [("raw", mtu, channels) for mtu in (4200, 9000) for channels in (1, 2)]
    report_sealed(measure_variants(options, folder, variants, configurations), configurations)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=3, help="how often each is measured (3)")
    parser.add_argument("--epochs", type=int, default=30, help="checkpoints of one run (30)")
    parser.add_argument("--realtime", action="store_true",
                        help="by SCHED_RR: on a machine that does other things meanwhile")
    parser.add_argument("--loss", action="store_true",
                        help="instead: what lost frames cost, against a wire that loses none")
    parser.add_argument("--sealed", action="store_true",
                        help="instead: what seals cost, against frames without")
    options = parser.parse_args()
    if options.turns < 1 or options.epochs < 4:
        env.fail("--turns takes 1 or more, --epochs 4 or more")
    env.ensure_packages(env.BUILD_PACKAGES)
    env.build()
    env.become_root()
    with contextlib.closing(env.Hugepages(HUGEPAGES_MIB)), \
            tempfile.TemporaryDirectory(prefix="colo-bench.") as folder:
        if options.loss:
            run_loss(options, folder)
        if options.sealed:
            run_sealed(options, folder)
        if not options.loss and not options.sealed:
            report(*measure(options, folder))


try:
    main()
except env.EnvError as error:
    env.fail(str(error))

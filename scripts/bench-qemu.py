# SPDX-License-Identifier: BSD-3-Clause
"""How long a guest of QEMU 11 stands still at COLO checkpoints: QEMU -> QEMU, QEMU -> dpdk-colo.

The same guest, at the same dirty rate, is protected by turns by QEMU as shipped, by QEMU with
TCP_NODELAY forced on, and by dpdk-colo (two processes over net_memif), with the wire encrypted as
it is by default and in the clear (--insecure) as QEMU's is; and by a reader that
checks the stream, lets go of every page and answers at once (tests/bench/colo_reader.c): what the
pause is with it, no secondary gets below on this machine. All times are of the primary QEMU's own
trace. Machines are shared and noisy: only numbers of one run can be compared.
"""
import argparse
import collections
import csv
import dataclasses
import json
import math
import os
import pathlib
import shlex
import sys
import time

import bench_picture
import colo_env as env
import colo_trace
import images

sys.path.insert(0, str(env.ROOT / "dts"))
from framework import eal  # noqa: E402
from framework.colo_guest import ColoGuest, trace_options  # noqa: E402
from framework.guest import gap  # noqa: E402
from framework.process import WaitError  # noqa: E402
from framework.qmp import QmpError  # noqa: E402
from framework.run import Run  # noqa: E402

MIB = 256  # of the guest
EAL_MIB = 256
DATA_PAGES = 32768  # that the guest rewrites, one after the other
HZ = 50
WARM_UP = 3  # checkpoints at the beginning of a run that do not count
PRIORITY = 10  # of --realtime
# pages rewritten a turn, HZ turns a second; the kernel's own are some more
LOADS = {"idle": 13, "load": 254}
CHANNELS = 4  # of multifd
LOG2_RING = 7  # of net_memif: 1.2 MB a channel, which the second level's cache holds

Configuration = collections.namedtuple("Configuration", "peer transport multifd")
CONFIGURATIONS = [Configuration(peer, transport, multifd) for multifd in (0, CHANNELS)
                  for peer, transport in (("qemu", "tcp"), ("nodelay", "tcp"), ("ours", "tcp"),
                                          ("ours", "unix"), ("insecure", "tcp"),
                                          ("insecure", "unix"), ("reader", "tcp"))]
PEERS = {"qemu": "QEMU as shipped", "nodelay": "QEMU, TCP_NODELAY", "ours": "dpdk-colo",
         "insecure": "dpdk-colo --insecure", "reader": "nobody, only read"}
OURS = ("ours", "insecure")
WORDS = {"peer": list(PEERS), "transport": ["tcp", "unix"], "multifd": ["plain", "multifd"],
         "load": list(LOADS)}
# (load, peer that is compared with, our mean and p99 may be at most this part of its)
GOALS = [("load", "qemu", 1 / 4), ("load", "nodelay", 1 / 2), ("idle", "qemu", 1 / 3)]


class RunFailed(Exception):
    """One run gave no numbers; says why."""


@dataclasses.dataclass
class Result:
    """All runs of one configuration at one load."""
    checkpoints: list = dataclasses.field(default_factory=list)
    own: list = dataclasses.field(default_factory=list)  # dpdk-colo's own --json, a run each
    failures: list = dataclasses.field(default_factory=list)


def name_of(configuration):
    peer, transport, multifd = configuration
    how = f", {transport}" if peer in (*OURS, "reader") else ""
    return f"{PEERS[peer]}{how}, {f'multifd-{multifd}' if multifd else 'plain'}"


class Bench:
    """One run: a primary QEMU and whoever protects it."""

    def __init__(self, run, options, configuration, load):
        self.run, self.options, self.load = run, options, load
        self.peer, self.transport, self.multifd = configuration
        self.trace = run.dir / "primary.trace"
        self.processes = []

    def guest(self, name, **kwargs):
        environment = self.run.environment()
        if self.peer == "nodelay":
            environment["LD_PRELOAD"] = str(env.ROOT / "build/tests/bench/libtcp_nodelay.so")
        guest = self.run.guest(
            name, self.run.ram_file(f"{name}.ram"), kind=ColoGuest, binary=images.qemu11(),
            mib=MIB, environment=environment, options=f"colo.data={DATA_PAGES} colo.check=64 "
            f"colo.dirty={LOADS[self.load]} colo.hz={HZ}", **kwargs)
        self.processes.append(guest)
        return guest

    def wait(self, what, ready, timeout):
        """Until ready(), while everything that was started is alive."""
        deadline = time.monotonic() + timeout
        while not ready():
            dead = [p.name for p in self.processes if not p.alive()]
            if dead or time.monotonic() > deadline:
                raise RunFailed(f"{what}: " + (f"{dead[0]} ended" if dead else f"not in {timeout:.0f} s"))
            time.sleep(0.1)

    def start_qemu(self):
        """@return where the primary is to migrate to."""
        standby = self.guest("standby", standby=True)
        uri = f"tcp:127.0.0.1:{self.run.port()}"
        standby.be_secondary(uri, self.multifd)
        return uri

    def uri(self):
        return (f"tcp:127.0.0.1:{self.run.port()}" if self.transport == "tcp"
                else f"unix:{self.run.dir}/colo.sock")

    def start_reader(self):
        """@return where the primary is to migrate to."""
        uri = self.uri()
        reader = self.run.start("reader", [env.ROOT / "build/tests/bench/colo_reader", uri])
        self.processes.append(reader)
        self.wait("the reader's start", lambda: "ready" in reader.output(), 30)
        return uri

    def start_ours(self):
        """@return where the primary is to migrate to."""
        uri = self.uri()
        channels = self.options.channels
        meet = f"127.0.0.1:{self.run.port()}"
        more = ["--channels", channels, "--mtu", self.options.mtu, "--rxd", 1 << LOG2_RING,
                "--txd", 1 << LOG2_RING, *shlex.split(self.options.options)]
        if self.peer == "insecure":
            more.append("--insecure")
        self.processes.append(self.run.program("secondary", eal.memif(
            self.run, "server", channels, EAL_MIB, log2_ring=LOG2_RING), [
                "--role", "secondary", "--listen", meet, "--block", f"pc.ram,size={MIB}M", *more]))
        self.wait("secondary's start", (self.run.dir / "memif.sock").exists, 30)
        primary = self.run.program("primary", eal.memif(
            self.run, "client", channels, EAL_MIB, log2_ring=LOG2_RING), [
                "--role", "primary", "--connect", meet, "--source", f"colo,listen={uri}",
                "--json", self.run.dir / "own.json", *more])
        self.processes.append(primary)
        self.wait("primary's start", lambda: "waiting for QEMU's migrate" in primary.output(), 30)
        return uri

    def measure(self, count):
        """@return [Checkpoint]"""
        guest = self.guest("guest", arguments=trace_options(self.trace))
        start = {"reader": self.start_reader, **dict.fromkeys(OURS, self.start_ours)}
        uri = start.get(self.peer, self.start_qemu)()
        self.wait("the guest's boot", lambda: guest.counter() > HZ, 90)
        guest.protect(uri, self.multifd, delay=self.options.interval)
        self.wait("the first checkpoint", lambda: self.taken() > 0, 60)
        wanted = WARM_UP + count
        self.wait(f"{wanted} checkpoints", lambda: self.taken() >= wanted,
                  30 + wanted * (self.options.interval / 1000 + 1))
        found = colo_trace.checkpoints(self.trace.read_text("utf-8"))[WARM_UP:][:count]
        if gap(guest.lines()):
            raise RunFailed(f"the guest: {gap(guest.lines())}")
        self.end()
        return found

    def taken(self):
        """How many checkpoints there are."""
        text = self.trace.read_text("utf-8") if self.trace.exists() else ""
        over = colo_trace.end_of_migration(text)
        if over:
            raise RunFailed(f"QEMU's migration ended: {over}")
        return len(colo_trace.checkpoints(text))

    def end(self):
        """The guest first, so that nobody is left waiting."""
        for process in reversed(self.processes):
            if isinstance(process, ColoGuest):
                process.kill()
        for process in self.processes:
            process.stop()

    def own(self):
        """dpdk-colo's own numbers, where it wrote them."""
        path = self.run.dir / "own.json"
        return [json.loads(path.read_text("utf-8"))] if path.exists() else []

    def logs(self):
        return "\n".join(f"--- {p.name}\n" + "\n".join(p.output().splitlines()[-15:])
                         for p in self.processes)


def one_run(options, configuration, load, count, result):
    """Add a run's checkpoints to the result, or why there are none."""
    huge = 2 * EAL_MIB + 3 * MIB + 128 if configuration.peer in OURS else 0
    with Run(huge) as run:
        bench = Bench(run, options, configuration, load)
        try:
            result.checkpoints += bench.measure(count)
            result.own += bench.own()
        except (RunFailed, QmpError, WaitError) as why:
            result.failures.append(str(why))
            print(f"{load}, {name_of(configuration)}: {why}\n{bench.logs()}", file=sys.stderr, flush=True)


def measure(options):
    """@return {(load, configuration): Result}"""
    wanted = [(load, c) for load in options.loads for c in options.configurations]
    results = {key: Result() for key in wanted}
    count = math.ceil(options.checkpoints / options.turns)
    for turn in range(options.turns):
        for load, configuration in wanted:
            result = results[load, configuration]
            one_run(options, configuration, load, count, result)
            if result.checkpoints and not options.quiet:
                pause = colo_trace.summary([c.pause for c in result.checkpoints])
                print(f"turn {turn + 1} of {options.turns}: {load}, {name_of(configuration)}: pause "
                      f"mean {pause['mean']:.1f} ms, p99 {pause['p99']:.1f} ms", file=sys.stderr, flush=True)
    return results


def statistics_of(result):
    return {"checkpoints": len(result.checkpoints), "failed_runs": len(result.failures),
            "pause_ms": colo_trace.summary([c.pause for c in result.checkpoints]),
            "transfer_ms": colo_trace.summary([c.transfer for c in result.checkpoints]),
            "pages": colo_trace.summary([c.pages for c in result.checkpoints])}


def cells(summary):
    return " | ".join(f"{summary[k]:.1f}" for k in ("mean", "p50", "p99", "stddev"))


def print_table(stats):
    print("\n| guest | protected by | pause ms: mean | p50 | p99 | stddev | transfer ms: mean | p50 | p99 "
          "| stddev | pages | checkpoints |")
    print("|---" * 12 + "|")
    for (load, configuration), s in stats.items():
        print(f"| {load} | {name_of(configuration)} | {cells(s['pause_ms'])} | {cells(s['transfer_ms'])} "
              f"| {s['pages']['mean']:.0f} | {s['checkpoints']} |")


def judge(stats):
    """@return [(goal in words, reached)], for what was measured."""
    verdicts = []
    for load, peer, part in GOALS:
        for (at, ours), s in stats.items():
            theirs = stats.get((load, Configuration(peer, "tcp", ours.multifd)))
            if at != load or ours.peer not in OURS or theirs is None:
                continue
            for key in ("mean", "p99"):
                ratio = s["pause_ms"][key] / theirs["pause_ms"][key]
                verdicts.append((f"{load}, {name_of(ours)}: {key} pause is {ratio:.2f} of that of "
                                 f"{PEERS[peer]}, goal {part:.2f}", ratio <= part))
    return verdicts


def print_goals(verdicts):
    print("\nGoals: at load mean and p99 pause at most 1/4 of QEMU's as shipped and 1/2 of QEMU's with "
          "TCP_NODELAY; idle at most 1/3 of QEMU's as shipped.")
    for text, reached in verdicts:
        print(f"- {'reached' if reached else 'MISSED'}: {text}")
    if verdicts:
        print(f"\n{sum(r for _, r in verdicts)} of {len(verdicts)} goals reached")
    else:
        print("not measured: that takes `ours` and a QEMU in the same run")


def write_json(path, stats, results, verdicts):
    rows = [{"load": load, "peer": c.peer, "transport": c.transport, "multifd": c.multifd, **s,
             "each": [dataclasses.asdict(k) for k in results[load, c].checkpoints],
             "own": results[load, c].own} for (load, c), s in stats.items()]
    goals = [{"goal": text, "reached": reached} for text, reached in verdicts]
    path.write_text(json.dumps({"runs": rows, "goals": goals}, indent=1) + "\n", encoding="utf-8")


def write_csv(path, results):
    with open(path, "w", encoding="ascii", newline="") as f:
        writer = csv.writer(f)
        writer.writerow(["load", "peer", "transport", "multifd", "pause_ms", "transfer_ms", "pages"])
        for (load, configuration), result in results.items():
            for c in result.checkpoints:
                writer.writerow([load, *configuration, f"{c.pause:.3f}", f"{c.transfer:.3f}", c.pages])


def draw(path, stats):
    panels = []
    for load in LOADS:
        rows = [(name_of(c).replace(", ", "\\n").replace(" --", "\\n--"), c.peer, s["pause_ms"]["mean"], s["pause_ms"]["p99"])
                for (at, c), s in stats.items() if at == load]
        if rows:
            rate = stats[next(k for k in stats if k[0] == load)]["pages"]["mean"]
            panels.append((f"{load}, about {rate:.0f} dirty pages a checkpoint", rows))
    bench_picture.draw(path, panels)


def select(parser, text):
    """@return (loads, configurations) that --only leaves: words of one kind add up, kinds narrow."""
    words = [w for w in text.split(",") if w]
    known = [w for kind in WORDS.values() for w in kind]
    if any(w not in known for w in words):
        parser.error(f"--only takes words of {', '.join(known)}, separated by commas")
    left = {kind: [w for w in of_kind if w in words] or of_kind for kind, of_kind in WORDS.items()}
    chosen = [c for c in CONFIGURATIONS if c.peer in left["peer"] and c.transport in left["transport"]
              and ("multifd" if c.multifd else "plain") in left["multifd"]]
    if not chosen:
        parser.error(f"--only {text} leaves nothing to measure")
    return left["load"], chosen


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench-qemu", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", type=int, default=60, help="of each, over all turns (60)")
    parser.add_argument("--turns", type=int, default=3, help="runs of each, by turns (3)")
    parser.add_argument("--only", default="", metavar="WORDS",
                        help="of " + ",".join(w for kind in WORDS.values() for w in kind)
                        + "; example: ours,load")
    parser.add_argument("--interval", type=int, default=600, help="x-checkpoint-delay, ms (600)")
    channels = max(1, min(len(os.sched_getaffinity(0)) // 2, CHANNELS))
    parser.add_argument("--channels", type=int, default=channels,
                        help=f"of dpdk-colo (default: half as many as cores, 1 to {CHANNELS}: {channels})")
    parser.add_argument("--mtu", type=int, default=9000, help="of dpdk-colo (9000)")
    parser.add_argument("--options", default="", help="more options for both dpdk-colo, in one word")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="everything")
    parser.add_argument("--csv", type=pathlib.Path, metavar="FILE", help="a line for each checkpoint")
    parser.add_argument("--png", type=pathlib.Path, metavar="FILE", help="a picture (gnuplot)")
    parser.add_argument("--quiet", action="store_true", help="no line after each run")
    parser.add_argument("--realtime", action="store_true",
                        help="all by SCHED_RR: on a machine that does other things meanwhile")
    options = parser.parse_args()
    if options.turns < 1 or options.checkpoints < 1 or options.interval < 50 or options.channels < 1:
        parser.error("accepted: --turns 1.., --checkpoints 1.., --interval 50.., --channels 1..")
    options.loads, options.configurations = select(parser, options.only)
    return options


def main():
    options = arguments()
    env.ensure_packages(env.BUILD_PACKAGES + env.GUEST_PACKAGES
                        + (bench_picture.PACKAGES if options.png else []))
    env.build(targets=["app/dpdk-colo", "tests/bench/libtcp_nodelay.so", "tests/bench/colo_reader"])
    env.become_root()
    images.qemu11()
    if options.realtime:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(PRIORITY))
    results = measure(options)
    stats = {key: statistics_of(result) for key, result in results.items() if result.checkpoints}
    verdicts = judge(stats)
    print_table(stats)
    print_goals(verdicts)
    if options.json:
        write_json(options.json, stats, results, verdicts)
    if options.csv:
        write_csv(options.csv, results)
    if options.png and stats:
        draw(options.png, stats)
    return 1 if any(result.failures for result in results.values()) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except env.EnvError as error:
        env.fail(str(error))
    except KeyboardInterrupt:
        print("\ninterrupted; everything was cleaned up", file=sys.stderr)
        sys.exit(130)

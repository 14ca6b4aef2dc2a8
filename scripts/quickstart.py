# SPDX-License-Identifier: BSD-3-Clause
"""Protect a real guest, kill its QEMU, and watch the standby go on from the last checkpoint.

Everything that it starts, reserves and writes is gone when it ends, Ctrl-C included. Exit status 0
only if the standby took over without a gap and the guest's own checksum stayed right.
"""
import argparse
import re
import signal
import sys
import time

import colo_env as env

sys.path.insert(0, str(env.ROOT / "dts"))
from framework import eal  # noqa: E402
from framework.guest import gap  # noqa: E402
from framework.process import WaitError  # noqa: E402
from framework.qmp import QmpError  # noqa: E402
from framework.run import Run  # noqa: E402

EAL_MIB = 256
SOURCE_GONE = 4  # the primary's exit status when its guest is gone
STANDBY_LINES = 20  # lines of the guest that are looked at after the takeover
EPOCH = re.compile(r"^epoch (\d+):.*$", re.M)
PROGRESS = re.compile(r"^precopy (\d+) %", re.M)


class Failed(Exception):
    """Something that had to be true was not."""


class Steps:
    """What the user reads: numbered steps, a bar, lines."""

    def __init__(self):
        self.began = time.monotonic()

    def say(self, text):
        print(f"[{time.monotonic() - self.began:5.1f} s] {text}", flush=True)

    def bar(self, percent):
        full = percent * 40 // 100
        end = "\n" if percent >= 100 or not sys.stdout.isatty() else "\r"
        print(f"          [{'#' * full}{'.' * (40 - full)}] {percent:3d} %", end=end, flush=True)


class Watched:
    """The primary's checkpoints, each with what the guest had printed when its line appeared."""

    def __init__(self, primary, guest, steps):
        self.primary, self.guest, self.steps = primary, guest, steps
        self.counter_at = {}  # epoch: counter
        self.percent = -1

    def look(self):
        text = self.primary.output()
        for found in PROGRESS.finditer(text):
            if int(found.group(1)) > self.percent and not self.counter_at:
                self.percent = int(found.group(1))
                self.steps.bar(self.percent)
        for found in EPOCH.finditer(text):
            if int(found.group(1)) not in self.counter_at:
                if self.percent < 100:
                    self.percent = 100
                    self.steps.bar(100)
                self.counter_at[int(found.group(1))] = self.guest.counter()
                self.steps.say(found.group(0).rstrip())

    def until(self, checkpoints, timeout):
        """Show what happens until so many checkpoints are taken."""
        deadline = time.monotonic() + timeout
        while len(self.counter_at) < checkpoints:
            if not self.primary.alive():
                raise Failed(f"the primary ended with status {self.primary.popen.returncode}")
            if time.monotonic() > deadline:
                raise Failed(f"{len(self.counter_at)} of {checkpoints} checkpoints in {timeout} s")
            time.sleep(0.01)
            self.look()


def start_secondary(run, args, standby, port):
    secondary = run.program("secondary", eal.memif(run, "server", args.channels, EAL_MIB), [
        "--role", "secondary", "--channels", args.channels, "--listen", f"127.0.0.1:{port}",
        "--block", f"{standby.block()},guest={standby.ram}", "--standby", f"unix:{standby.qmp}"])
    deadline = time.monotonic() + 30
    while not (run.dir / "memif.sock").exists():  # the client must find it
        if not secondary.alive() or time.monotonic() > deadline:
            raise Failed("the secondary did not start")
        time.sleep(0.02)
    return secondary


def start_primary(run, args, guest, port):
    return run.program("primary", eal.memif(run, "client", args.channels, EAL_MIB), [
        "--role", "primary", "--channels", args.channels, "--connect", f"127.0.0.1:{port}",
        "--block", f"{guest.block()},guest={guest.ram}", "--source", f"qmp,path={guest.qmp}",
        "--interval", args.interval, "--codec", args.codec])


def boot(run, args, steps):
    """@return the guest that is to be protected, and the standby that waits for it."""
    steps.say("booting a Linux guest, and starting a standby that waits")
    standby = run.guest("standby", run.huge.mount / "standby.ram", standby=True, binary=args.qemu)
    guest = run.guest("guest", run.ram_file("guest.ram"), binary=args.qemu)
    deadline = time.monotonic() + 60
    while guest.counter() < 5:
        if not guest.alive() or not standby.alive() or time.monotonic() > deadline:
            raise Failed("the guest did not boot")
        time.sleep(0.05)
    steps.say(f"guest: COUNTER {guest.counter()} CHECKSUM ok")
    return guest, standby


def take_over(guest, secondary, standby, steps, delay_s):
    """Kill the guest's QEMU between two checkpoints; tell the secondary.

    @return (reported us, s from telling to the first line)
    """
    time.sleep(delay_s)
    guest.kill()
    killed = time.monotonic()
    steps.say(f"killed the guest's QEMU by SIGKILL; its last line was COUNTER {guest.counter()}")
    steps.say(f"secondary: {secondary.wait_for('guest memory holds .* waiting to be told', 15).group(0)}")
    steps.say("telling it by SIGUSR1 to take over")
    told = time.monotonic()
    secondary.signal(signal.SIGUSR1)
    while standby.counter() == 0:
        if not standby.alive() or time.monotonic() > told + 15:
            raise Failed("the standby did not go on")
        time.sleep(0.002)
    first = time.monotonic()
    found = secondary.wait_for(r"takeover done in (\d+) us", 5)
    steps.say(f"secondary: {found.group(0)}; the guest's first line came {(first - told) * 1000:.0f} ms "
              f"after it was told, {(first - killed) * 1000:.0f} ms after the kill")
    return int(found.group(1)), first - told


def check(guest, standby, watched, secondary):
    """The counter goes on from the last committed checkpoint. @return what it went on with."""
    deadline = time.monotonic() + 20
    while len(standby.lines()) < STANDBY_LINES:
        if time.monotonic() > deadline:
            raise Failed(f"the standby printed only {len(standby.lines())} lines")
        time.sleep(0.05)
    committed = int(EPOCH.findall(secondary.output())[-1])
    lines = standby.lines()
    # a line that the checkpoint cut in two begins at the primary and ends at the standby
    cut = not standby.serial.read_bytes().startswith(b"COUNTER")
    first, last = lines[0][0] - cut, guest.counter()
    least = max([c for e, c in watched.counter_at.items() if e < committed], default=0)
    for name, printed in (("guest", guest.lines()), ("standby", lines)):
        if gap(printed):
            raise Failed(f"{name}: {gap(printed)}")
    if first > last + 1:
        raise Failed(f"lines were lost: the guest printed up to {last}, the standby began with {first}")
    if first <= least - 1:
        raise Failed(f"the standby began with {first}, older than checkpoint {committed}: the guest "
                     f"had printed {least} before it")
    return committed, first, last, lines[-1][0]


def quickstart(run, args, steps):
    guest, standby = boot(run, args, steps)
    steps.say("starting the secondary and the primary; full copy of the guest:")
    port = run.port()
    secondary = start_secondary(run, args, standby, port)
    primary = start_primary(run, args, guest, port)
    watched = Watched(primary, guest, steps)
    watched.until(args.checkpoints, 60 + args.checkpoints * (args.interval / 1000 + 2))
    took_us, first_s = take_over(guest, secondary, standby, steps, args.interval / 2000)
    watched.look()
    if primary.wait() != SOURCE_GONE:
        raise Failed(f"the primary ended with status {primary.wait()}, {SOURCE_GONE} was expected")
    committed, first, last, now = check(guest, standby, watched, secondary)
    if secondary.stop() != 0:
        raise Failed(f"the secondary ended with status {secondary.wait()}")
    if args.verbose:
        show_logs(run)
    print(f"The guest was killed after COUNTER {last}; the standby went on with COUNTER {first}, from "
          f"checkpoint {committed}, to {now} without a gap and with its checksum right; the takeover "
          f"took {took_us / 1000:.1f} ms ({first_s * 1000:.0f} ms to the guest's first line).")


def show_logs(run):
    for log in sorted(run.dir.glob("*.log")):
        text = log.read_text("utf-8", "replace").splitlines()[-15:]
        print(f"--- {log.name}\n" + "\n".join(text), file=sys.stderr)


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/quickstart", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", type=int, default=10, help="before the kill (default 10)")
    parser.add_argument("--interval", type=int, default=500, help="ms between two (default 500)")
    parser.add_argument("--channels", type=int, default=1, help="default 1")
    parser.add_argument("--codec", default="raw", help="raw (default) or zstd[:LEVEL]")
    parser.add_argument("--qemu", default="qemu-system-x86_64", metavar="BINARY",
                        help="default: the one of Debian's package")
    parser.add_argument("--verbose", action="store_true", help="show every process's output as well")
    args = parser.parse_args()
    if args.checkpoints < 2 or args.interval < 0 or args.channels < 1:
        parser.error("accepted: --checkpoints 2.., --interval 0.., --channels 1..")
    return args


def interrupted(*_):
    raise KeyboardInterrupt


def main():
    args = arguments()
    steps = Steps()
    signal.signal(signal.SIGTERM, interrupted)
    env.ensure_packages(env.BUILD_PACKAGES + env.GUEST_PACKAGES)
    steps.say("building")
    env.build(targets=["app/dpdk-colo"])
    env.become_root()
    # both EALs, guest memory and cache at the secondary, staging at the primary, device states
    with Run(2 * EAL_MIB + 3 * 256 + 64) as run:
        try:
            quickstart(run, args, steps)
        except (Failed, WaitError, QmpError) as why:
            show_logs(run)
            env.fail(str(why))


if __name__ == "__main__":
    try:
        main()
    except env.EnvError as error:
        env.fail(str(error))
    except KeyboardInterrupt:
        print("\ninterrupted; everything was cleaned up", file=sys.stderr)
        sys.exit(130)

# SPDX-License-Identifier: BSD-3-Clause
"""What quickstart and qemu-colo show: guests, pairs of dpdk-colo over net_memif, takeovers, and what
must be true of them."""
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
GUEST_MIB = 256
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


class Pair:
    """Secondary and primary, two processes; `name` tells one pair of a run from another."""

    def __init__(self, run, channels, name=""):
        self.run, self.channels, self.name = run, channels, name
        self.port = run.port()
        self.secondary = self.primary = None

    def _program(self, role, memif_role, options):
        return self.run.program(
            role + self.name, eal.memif(self.run, memif_role, self.channels, EAL_MIB, f"memif{self.name}"),
            ["--role", role, "--channels", self.channels, *options])

    def start_secondary(self, standby):
        self.secondary = self._program("secondary", "server", [
            "--listen", f"127.0.0.1:{self.port}", "--block", f"{standby.block()},guest={standby.ram}",
            "--standby", f"unix:{standby.qmp}"])
        wait_until("the secondary's start", (self.run.dir / f"memif{self.name}.sock").exists,
                   30, [self.secondary])

    def start_primary(self, options):
        self.primary = self._program(
            "primary", "client", ["--connect", f"127.0.0.1:{self.port}", *options])

    def ended(self, how, primary_status):
        """After a takeover: the secondary has ended in order; how() ends, or waits for, the primary."""
        if how() != primary_status:
            raise Failed(f"the primary ended with status {self.primary.wait()}, not with {primary_status}")
        if self.secondary.wait() != 0:
            raise Failed(f"the secondary ended with status {self.secondary.wait()}")


def wait_until(what, ready, timeout, processes):
    """Wait until ready(), while all the processes are alive."""
    deadline = time.monotonic() + timeout
    while not ready():
        dead = [p for p in processes if not p.alive()]
        if dead:
            raise Failed(f"{what}: {dead[0].name} ended with status {dead[0].popen.returncode}")
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {timeout:.0f} s")
        time.sleep(0.002)


def boot(guest, others, steps):
    """Wait until the guest counts."""
    wait_until("the guest's boot", lambda: guest.counter() >= 5, 60, [guest, *others])
    steps.say(f"guest: COUNTER {guest.counter()} CHECKSUM ok")


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
    wait_until("the standby's first line", lambda: standby.counter() > 0, 15, [standby])
    first = time.monotonic()
    found = secondary.wait_for(r"takeover done in (\d+) us", 5)
    steps.say(f"secondary: {found.group(0)}; the guest's first line came {(first - told) * 1000:.0f} ms "
              f"after it was told, {(first - killed) * 1000:.0f} ms after the kill")
    return int(found.group(1)), first - told


def check(guest, standby, watched, secondary):
    """The counter goes on from the last committed checkpoint. @return what it went on with."""
    wait_until(f"{STANDBY_LINES} lines of the standby", lambda: len(standby.lines()) >= STANDBY_LINES,
               20, [standby])
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


def show_logs(run):
    for log in sorted(run.dir.glob("*.log")):
        text = log.read_text("utf-8", "replace").splitlines()[-15:]
        print(f"--- {log.name}\n" + "\n".join(text), file=sys.stderr)


def run_demonstration(show, args, huge_mib):
    """Call show(run, args, steps), clean up, and end with status 1 and logs if it failed."""
    steps = Steps()
    signal.signal(signal.SIGTERM, interrupted)
    env.ensure_packages(env.BUILD_PACKAGES + env.GUEST_PACKAGES)
    steps.say("building")
    env.build(targets=["app/dpdk-colo"])
    env.become_root()
    with Run(huge_mib) as run:
        try:
            show(run, args, steps)
        except (Failed, WaitError, QmpError) as why:
            show_logs(run)
            env.fail(str(why))


def interrupted(*_):
    raise KeyboardInterrupt


def main(show, args, huge_mib):
    """The whole script."""
    try:
        run_demonstration(show, args, huge_mib)
    except env.EnvError as error:
        env.fail(str(error))
    except KeyboardInterrupt:
        print("\ninterrupted; everything was cleaned up", file=sys.stderr)
        sys.exit(130)

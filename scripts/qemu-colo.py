# SPDX-License-Identifier: BSD-3-Clause
"""Protect a guest by QEMU's own COLO, streamed to dpdk-colo, and lose its hosts one after the other.

  1. The secondary is killed: the guest runs on, freed by x-colo-lost-heartbeat, sent by hand.
     With a new pair and a new `migrate` it is protected again.
  2. The guest's QEMU is killed: the standby takes over.
  3. Both again, where the guest runs now; dpdk-colo has the QMP socket (qmp=) and frees it by itself.

Everything that it starts, reserves and writes is gone when it ends, Ctrl-C included. Exit status 0
only if the guest counted without a gap through all of it, with its checksum right.
"""
import argparse
import time

import demonstration
import images
from demonstration import (EAL_MIB, GUEST_MIB, Failed, Pair, Watched, boot, check, show_logs, take_over,
                           wait_until)
from framework.colo_guest import ColoGuest
from framework.guest import gap

FREED_LINES = 20  # that a guest prints after it was freed
GUEST_GONE = 4    # exit status of a primary whose QEMU is gone, as it knows by QMP
UNPROTECTED = 3   # exit status of a primary that waits for the next `migrate` when it is stopped


class Lives:
    """One guest through all its QEMUs, and the pairs that protect it."""

    def __init__(self, run, args, steps):
        self.run, self.args, self.steps = run, args, steps
        self.pairs = 0
        self.qemu = None     # the QEMU in which the guest runs
        self.standby = None  # the one that waits
        self.pair = self.watched = None

    def start(self, name, ram, **kwargs):
        return self.run.guest(name, ram, kind=ColoGuest, binary=self.args.qemu, mib=GUEST_MIB, **kwargs)

    def boot(self):
        self.steps.say("booting a Linux guest in QEMU 11")
        self.qemu = self.start("guest", self.run.ram_file("guest.ram"))
        boot(self.qemu, [], self.steps)

    def protect(self, with_qmp):
        """A new standby, a new pair, `migrate`, and some checkpoints."""
        self.pairs += 1
        name, args = f"standby{self.pairs}", self.args
        listen = f"unix:{self.run.dir}/{self.qemu.name}.colo"
        source = f"colo,listen={listen}" + (f",qmp={self.qemu.qmp}" if with_qmp else "")
        self.steps.say(f"starting {name}, a secondary, and a primary with --source {source}")
        self.standby = self.start(name, self.run.huge.mount / f"{name}.ram", standby=True)
        self.pair = Pair(self.run, args.channels or args.multifd or 1, str(self.pairs))
        self.pair.start_secondary(self.standby)
        self.pair.start_primary(["--source", source, "--codec", args.codec])
        self.pair.primary.wait_for("waiting for QEMU's migrate", 20)
        how = f"multifd with {args.multifd} channels" if args.multifd else "plain"
        self.steps.say(f"sending `migrate` to the guest's QEMU: x-colo, {how}")
        self.watched = Watched(self.pair.primary, self.qemu, self.steps)
        self.qemu.protect(listen, args.multifd, args.compression, args.interval)
        self.watched.until(args.checkpoints, 60 + args.checkpoints * (args.interval / 1000 + 2))

    def lose_secondary(self, with_qmp):
        """The guest must run on where it is, unprotected. @return ms from the kill until it does."""
        time.sleep(self.args.interval / 2000)
        self.pair.secondary.kill()
        killed = time.monotonic()
        self.steps.say("killed the secondary by SIGKILL")
        found = self.pair.primary.wait_for(r"PROTECTION LOST.*", 10)
        self.steps.say(f"primary: {found.group(0)}")
        if not with_qmp:
            self.steps.say("sending x-colo-lost-heartbeat by hand")
            self.qemu.free()
        wait_until("the guest's end of COLO", lambda: self.qemu.colo_mode() == "none"
                   and self.qemu.running(), 10, [self.qemu])
        freed = (time.monotonic() - killed) * 1000
        self.look_at_freed(freed)
        self.pair.primary.stop()
        self.standby.kill()
        self.standby.ram.unlink()
        return freed

    def look_at_freed(self, freed):
        """It counts on, without a gap."""
        lines = len(self.qemu.lines())
        wait_until(f"{FREED_LINES} lines of the freed guest",
                   lambda: len(self.qemu.lines()) >= lines + FREED_LINES, 20, [self.qemu])
        if gap(self.qemu.lines()):
            raise Failed(f"the freed guest: {gap(self.qemu.lines())}")
        self.steps.say(f"guest: runs, unprotected, {freed:.0f} ms after the kill; COUNTER "
                       f"{self.qemu.counter()} CHECKSUM ok")

    def lose_guest(self, with_qmp):
        """Its QEMU dies, it goes on in the standby. @return ms of the takeover, to the first line."""
        took_us, first_s = take_over(self.qemu, self.pair.secondary, self.standby, self.steps,
                                     self.args.interval / 2000)
        self.watched.look()
        # only by QMP can a primary know that nobody runs the guest any more
        self.pair.ended(self.pair.primary.stop, GUEST_GONE if with_qmp else UNPROTECTED)
        committed, first, last, now = check(self.qemu, self.standby, self.watched, self.pair.secondary)
        self.steps.say(f"guest: from checkpoint {committed}, killed after COUNTER {last}, went on with "
                       f"{first}, now {now}, CHECKSUM ok")
        self.qemu = self.standby
        return took_us / 1000, first_s * 1000


def both_losses(lives, with_qmp):
    """@return (ms until the guest was freed, (ms of the takeover, ms to its first line))"""
    lives.protect(with_qmp)
    freed = lives.lose_secondary(with_qmp)
    lives.protect(with_qmp)
    return freed, lives.lose_guest(with_qmp)


def qemu_colo(run, args, steps):
    lives = Lives(run, args, steps)
    lives.boot()
    by_hand, first = both_losses(lives, with_qmp=False)
    by_qmp, second = both_losses(lives, with_qmp=True)
    if args.verbose:
        show_logs(run)
    print(f"The guest counted to {lives.qemu.counter()} without a gap and with its checksum right: two "
          f"secondaries were killed (it ran on, freed after {by_hand:.0f} ms by hand and {by_qmp:.0f} ms "
          f"by dpdk-colo), and two QEMUs (takeovers took {first[0]:.1f} and {second[0]:.1f} ms, "
          f"{first[1]:.0f} and {second[1]:.0f} ms to the guest's first line).")


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/qemu-colo", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", type=int, default=5, help="of each protection (default 5)")
    parser.add_argument("--interval", type=int, default=500, help="x-checkpoint-delay, ms (default 500)")
    parser.add_argument("--multifd", type=int, default=4, help="channels, 0 for plain (default 4)")
    parser.add_argument("--compression", default="none", choices=["none", "zlib", "zstd"],
                        help="of multifd (default none)")
    parser.add_argument("--channels", type=int, default=0, help="of dpdk-colo (default: multifd's)")
    parser.add_argument("--codec", default="raw", help="raw (default) or zstd[:LEVEL]")
    parser.add_argument("--qemu", metavar="BINARY", help="default: QEMU 11, fetched once")
    parser.add_argument("--verbose", action="store_true", help="show every process's output as well")
    args = parser.parse_args()
    if args.checkpoints < 2 or args.interval < 50 or not 0 <= args.multifd <= 16 \
            or not 0 <= args.channels <= 16:
        parser.error("accepted: --checkpoints 2.., --interval 50.., --multifd 0..16, --channels 1..16")
    return args


def show(run, args, steps):
    if args.qemu is None:
        steps.say("looking for QEMU 11; fetching it takes a minute, once")
        args.qemu = images.qemu11()
    qemu_colo(run, args, steps)


if __name__ == "__main__":
    # both EALs, the guest's memory and the standby's, cache, staging; device states, ROMs and some to spare
    demonstration.main(show, arguments(), 2 * EAL_MIB + 5 * GUEST_MIB)

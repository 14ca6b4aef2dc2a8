# SPDX-License-Identifier: BSD-3-Clause
"""Protect a real guest, kill its QEMU, and watch the standby go on from the last checkpoint.

Everything that it starts, reserves and writes is gone when it ends, Ctrl-C included. Exit status 0
only if the standby took over without a gap and the guest's own checksum stayed right.
"""
import argparse

import demonstration
from demonstration import Failed, Pair, Watched, boot, check, show_logs, take_over  # noqa: F401


def quickstart(run, args, steps):
    steps.say("booting a Linux guest, and starting a standby that waits")
    standby = run.guest("standby", run.huge.mount / "standby.ram", standby=True, binary=args.qemu)
    guest = run.guest("guest", run.ram_file("guest.ram"), binary=args.qemu)
    boot(guest, [standby], steps)
    steps.say("starting the secondary and the primary; full copy of the guest:")
    pair = Pair(run, args.channels)
    pair.start_secondary(standby)
    pair.start_primary(["--block", f"{guest.block()},guest={guest.ram}", "--source",
                        f"qmp,path={guest.qmp}", "--interval", args.interval, "--codec", args.codec])
    watched = Watched(pair.primary, guest, steps)
    watched.until(args.checkpoints, 60 + args.checkpoints * (args.interval / 1000 + 2))
    took_us, first_s = take_over(guest, pair.secondary, standby, steps, args.interval / 2000)
    watched.look()
    pair.ended(pair.primary.wait, demonstration.SOURCE_GONE)
    committed, first, last, now = check(guest, standby, watched, pair.secondary)
    if args.verbose:
        show_logs(run)
    print(f"The guest was killed after COUNTER {last}; the standby went on with COUNTER {first}, from "
          f"checkpoint {committed}, to {now} without a gap and with its checksum right; the takeover "
          f"took {took_us / 1000:.1f} ms ({first_s * 1000:.0f} ms to the guest's first line).")


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


if __name__ == "__main__":
    # both EALs, guest memory and cache at the secondary, staging at the primary, device states
    demonstration.main(quickstart, arguments(), 2 * demonstration.EAL_MIB + 3 * demonstration.GUEST_MIB + 64)

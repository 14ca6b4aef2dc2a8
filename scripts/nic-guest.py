# SPDX-License-Identifier: BSD-3-Clause
"""Boot a guest of QEMU 11 that owns an emulated 82576, and run the built dpdk-colo in it.

Arguments are dpdk-colo's, EAL's first; $NIC stands for the NIC's PCI address, for example
  scripts/nic-guest -a '$NIC' --iova-mode=pa -m 192 "'--lcores=(0-5)@(0-1)'" -- --role secondary ...
The other ends of its NICs are tap0 (data) and tap1 (10.99.0.1) of a network namespace; its name is
printed. Ctrl-C ends the program in the guest, then the guest.
"""
import sys
import time

import colo_env as env

sys.path.insert(0, str(env.ROOT / "dts"))
from framework.nic_guest import NicGuest  # noqa: E402
from framework.run import Run  # noqa: E402


def follow(guest):
    """Show the guest's console until it powers off."""
    shown = 0
    while True:
        over = not guest.alive()
        text = guest.output()
        sys.stdout.write(text[shown:])
        sys.stdout.flush()
        shown = len(text)
        if over:
            return
        time.sleep(0.1)


def main():
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__.strip())
        return
    env.ensure_packages(env.BUILD_PACKAGES + env.GUEST_PACKAGES + env.TEST_PACKAGES)
    env.build()
    env.become_root()
    with Run() as run:
        namespace = run.namespace("nic")
        print(f"network namespace {namespace.name}", flush=True)
        guest = NicGuest(run, "nic", namespace, env.program(), sys.argv[1:])
        run.keep(guest.kill)
        try:
            follow(guest)
        except KeyboardInterrupt:
            guest.finish()
            print(guest.output()[-2000:])


if __name__ == "__main__":
    try:
        main()
    except env.EnvError as error:
        env.fail(str(error))

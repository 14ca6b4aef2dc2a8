# SPDX-License-Identifier: BSD-3-Clause
"""A guest whose QEMU streams COLO to dpdk-colo's primary, a secondary, and a standby.

    guest's QEMU --- unix or TCP --- primary --- net_memif --- secondary === standby's RAM file
"""
import re
import signal
import time

import images
import pytest

import colo_env as env

from .guest import BLOCK, gap
from .hardware import Hardware
from .process import WaitError
from .qmp import QmpError
from .tiny_guest import TinyGuest
from .two import READY, Two, eal_mib

PROTECTED = "the guest is PROTECTED: checkpoint"
EPOCH = re.compile(r"^epoch (\d+):", re.M)


def huge_mib(mib=64, channels=1):
    """Huge pages for both EALs, and the guest's memory three times: staging, cache, device states."""
    return 2 * eal_mib(channels) + 3 * mib + 64


def need_qemu11():
    """Skip, with the reason, if there is no QEMU 11 and it cannot be fetched."""
    try:
        images.qemu11()
    except env.EnvError as why:
        pytest.skip(f"QEMU 11 is not there and cannot be fetched: {why}")


def epochs(process, after=0):
    """The checkpoints that a process has printed so far, from character `after` on."""
    return [int(n) for n in EPOCH.findall(process.output(), after)]


def wait_until(what, condition, timeout=20):
    """@return what the condition returned."""
    deadline = time.monotonic() + timeout
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise WaitError(f"not within {timeout} s: {what}")
        time.sleep(0.005)


class Colo(Two):
    """memif's server (primary or secondary) outlives the other end: start it first."""

    # blocks, and so the rest of the primary, come with the first QEMU
    ready = {"primary": "waiting for QEMU's migrate at", "secondary": READY}

    def __init__(self, run, hardware=Hardware(), channels=1, tcp=False, server="primary"):
        super().__init__(run, channels=channels, server=server)
        self.hardware = hardware
        self.listen = f"tcp:127.0.0.1:{run.port()}" if tcp else f"unix:{run.dir}/colo.sock"

    def guest(self, name="guest", **kwargs):
        """A guest that counts."""
        guest = self.run.guest(name, self.run.ram_file(f"{name}.ram"), kind=TinyGuest,
                               hardware=self.hardware, **kwargs)
        guest.wait_for_counter(2)
        return guest

    def standby(self, name="standby", **kwargs):
        """Its QMP socket is there: a secondary looks for it at its start."""
        standby = self.run.guest(name, self.run.ram_file(f"{name}.ram"), kind=TinyGuest,
                                 hardware=self.hardware, standby=True, **kwargs)
        wait_until(f"{name}'s QMP socket", lambda: standby.qmp.exists() or not standby.alive(), 30)
        return standby

    def secondary(self, *options, standby=None, **kwargs):
        """With a standby: on its memory."""
        block = f"{BLOCK},size={self.hardware.mib}M"
        if standby is not None:
            block += f",guest={standby.ram}"
            options = ["--standby", f"unix:{standby.qmp}", *options]
        return super().secondary("--extra-blocks", f"{2 * self.hardware.total_mib()}M", *options,
                                 blocks=["--block", block], **kwargs)

    def primary(self, *options, guest=None, **kwargs):
        """With a guest: by its QMP the primary can free it."""
        qmp = f",qmp={guest.qmp}" if guest is not None else ""
        primary = super().primary(*options, source=f"colo,listen={self.listen}{qmp}", blocks=[], **kwargs)
        primary.wait_for(self.ready["primary"])
        return primary

    def protect(self, guest, primary, uri=None, **kwargs):
        """Let the guest's QEMU migrate to the primary. Returns when a checkpoint is committed."""
        # a slow machine's may need longer to its listen than the primary is patient
        self.last["secondary"].wait_for(self.ready["secondary"], 60)
        seen = len(primary.output())
        guest.protect(uri or self.listen, **kwargs)
        primary.wait_for(PROTECTED, 60, after=seen)


def wait_epochs(primary, n, timeout=30):
    """Wait until n more checkpoints are committed and flushed. @return the last one."""
    seen = len(primary.output())
    wait_until(f"{n} checkpoints\n{primary.output()[-2000:]}",
               lambda: len(epochs(primary, seen)) >= n or not primary.alive(), timeout)
    assert primary.alive(), primary.output()
    return epochs(primary, seen)[-1]


def wait_settled(primary):
    """Guest memory holds, from now on, what a quiet guest's memory holds."""
    return wait_epochs(primary, 2)  # the first of them may have begun before


def take_over(secondary, standby, seen=0):
    """The primary is gone: let the standby go on. @return the checkpoint that it goes on from."""
    found = secondary.wait_for(r"guest memory holds checkpoint (\d+).* waiting to be told", 15, after=seen)
    secondary.signal(signal.SIGUSR1)
    secondary.wait_for(r"takeover done in \d+ us", 15, after=found.end())
    assert secondary.wait() == 0, secondary.output()
    assert standby.watch().command("query-status")["running"], standby.output()
    return int(found.group(1))


def check_goes_on(guest, standby, at_least=0, turns=10):
    """The standby counts on from where the guest was, without a gap, with its checksum right."""
    first = wait_until("the standby prints", standby.lines)[0][0]
    standby.wait_for_counter(first + turns)
    lines = standby.lines()
    # a line that the checkpoint cut in two begins at the guest and ends at the standby
    if not standby.serial.read_bytes().startswith((b"COUNTER", b"QUIET")):
        first -= 1
    assert gap(guest.lines()) is None
    assert gap(lines) is None, lines[:3]
    assert at_least <= first <= guest.counter() + 1, (
        f"the guest printed up to {guest.counter()}, the standby began with {first}, the checkpoint "
        f"is not older than {at_least}")


class Pauses:
    """When a guest's QEMU stopped and resumed it, by its own events."""

    def __init__(self, guest):
        self.qmp = guest.watch()
        self.qmp.command("query-status")
        self.qmp.events.clear()
        self.events = []

    def wait_stop(self, timeout=20):
        """Wait for the next STOP."""
        self.events.append(self.qmp.wait_event("STOP", timeout))

    def wait_resume(self, timeout=20):
        self.events.append(self.qmp.wait_event("RESUME", timeout))

    def longest(self):
        """ms of the longest time that the guest stood still since; until now, if it does."""
        self.qmp.command("query-status")
        self.events += [e for e in self.qmp.events if e["event"] in ("STOP", "RESUME")]
        self.qmp.events.clear()
        stopped, longest = None, 0.0
        for event in sorted(self.events, key=_seconds):
            if event["event"] == "STOP":
                stopped = _seconds(event)
            elif stopped is not None:
                longest = max(longest, _seconds(event) - stopped)
                stopped = None
        if stopped is not None:
            longest = max(longest, time.time() - stopped)
        return longest * 1000


def _seconds(event):
    return event["timestamp"]["seconds"] + event["timestamp"]["microseconds"] / 1e6


def read_physical(guest, address, size, run):
    """Bytes of a guest's memory as its CPU sees it."""
    path = run.dir / f"{guest.name}.pmem"
    guest.watch().command("pmemsave", val=address, size=size, filename=str(path))
    data = path.read_bytes()
    path.unlink()
    return data


def vga_address(guest):
    """Where the VGA's memory is for the guest's CPU."""
    for bus in guest.watch().command("query-pci"):
        for device in bus["devices"]:
            if device["class_info"]["class"] == 0x300:
                return next(r["address"] for r in device["regions"] if r["type"] == "memory")
    raise QmpError("the guest has no VGA")

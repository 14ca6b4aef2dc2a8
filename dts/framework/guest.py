# SPDX-License-Identifier: BSD-3-Clause
"""The guest that counts, in a QEMU: as the primary or as the standby."""
import re
import time

import images

from .process import Process, WaitError
from .qmp import Qmp

LINE = re.compile(r"^COUNTER (\d+) CHECKSUM (ok|BAD)\r?$", re.M)
BLOCK = "pc.ram"


class Guest(Process):
    """QEMU with the counting guest. Two QMP sockets: `qmp` for dpdk-colo, `watch()` for us."""

    def __init__(self, run, name, ram, standby=False, binary="qemu-system-x86_64", mib=256,
                 options="", arguments=(), environment=None):
        self.ram = ram
        self.mib = mib
        self.qmp = run.dir / f"{name}.qmp"
        self.own_qmp = run.dir / f"{name}.qmp2"
        self.serial = run.dir / f"{name}.serial"
        self.serial.touch()
        self._watch = None
        command = [binary, "-accel", "tcg", "-nodefaults", "-display", "none", *self._memory(),
                   *self._software(options), *self._console(),
                   "-qmp", f"unix:{self.qmp},server=on,wait=off",
                   "-qmp", f"unix:{self.own_qmp},server=on,wait=off", *arguments]
        if standby:
            command += ["-incoming", "defer"]
        super().__init__(name, command, run.dir / f"{name}.log", env=environment)

    def _memory(self):
        return ["-m", str(self.mib), "-machine", f"pc,memory-backend={BLOCK}", "-object",
                f"memory-backend-file,id={BLOCK},size={self.mib}M,mem-path={self.ram},share=on"]

    def _software(self, options):
        kernel, initrd = images.guest_image()
        return ["-kernel", kernel, "-initrd", initrd,
                "-append", f"{images.GUEST_CMDLINE} {options}".strip()]

    def _console(self):
        return ["-serial", f"file:{self.serial}"]

    def block(self):
        """What --block says of its memory, at the primary."""
        return f"{BLOCK},size={self.mib}M"

    def watch(self):
        """Our own QMP connection."""
        if self._watch is None:
            self._watch = Qmp(self.own_qmp)
        return self._watch

    def lines(self):
        """[(counter, checksum is right)] of everything printed so far, whole lines only."""
        text = self.serial.read_bytes().decode("ascii", "replace")
        return [(int(n), word == "ok") for n, word in LINE.findall(text[:text.rfind("\n") + 1])]

    def counter(self):
        """The last counter printed, 0 before the first."""
        lines = self.lines()
        return lines[-1][0] if lines else 0

    def wait_for_counter(self, n, timeout=20):
        deadline = time.monotonic() + timeout
        while self.counter() < n:
            if not self.alive() or time.monotonic() > deadline:
                raise WaitError(f"{self.name} counts to {self.counter()}, not to {n}, within "
                                f"{timeout} s\n{self.output()}")
            time.sleep(0.01)


def gap(lines):
    """What is wrong with a guest's lines (not +1 each, or a bad checksum), or None."""
    for before, line in zip(lines, lines[1:]):
        if line[0] != before[0] + 1:
            return f"the counter went from {before[0]} to {line[0]}"
    bad = [n for n, right in lines if not right]
    return f"the checksum was wrong at {bad[0]}" if bad else None

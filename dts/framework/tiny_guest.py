# SPDX-License-Identifier: BSD-3-Clause
"""The guest that boots at once (scripts/guest/tiny.c), on whatever machine; it can be told to be quiet."""
import socket
import time

import images

from .colo_guest import ColoGuest
from .hardware import Hardware
from .process import WaitError


class TinyGuest(ColoGuest):
    """`pages` of data in each of its memories, `dirty` of all of them rewritten a turn."""

    def __init__(self, run, name, ram, hardware=Hardware(), pages=500, dirty=50, vga_pages=20, hz=50,
                 **kwargs):
        self.hardware = hardware
        self.console = run.dir / f"{name}.console"
        self._options = f"data={hardware.data(pages)} dirty={dirty} hz={hz}"
        if hardware.vga:
            self._options += f" vga={vga_pages}"
        super().__init__(run, name, ram, binary=images.qemu11(), mib=hardware.mib, **kwargs)

    def _memory(self):
        return self.hardware.arguments(self.ram)

    def _software(self, options):
        return ["-kernel", images.tiny_guest(), "-append", f"{self._options} {options}".strip()]

    def _console(self):
        return ["-chardev", f"socket,id=console,path={self.console},server=on,wait=off,"
                            f"logfile={self.serial}", "-serial", "chardev:console"]

    def tell(self, command):
        """A command, one letter (see tiny.c)."""
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(str(self.console))
            s.sendall(command.encode())

    def quiet(self, timeout=20):
        """It writes nothing from now on, until it is told to go on (g) or to take a step (s)."""
        before = self._quiets()
        self.tell("q")
        self._wait_for_quiet(before, timeout)

    def step(self, timeout=20):
        """One turn of a quiet guest."""
        before = self._quiets()
        self.tell("s")
        self._wait_for_quiet(before, timeout)

    def _quiets(self):
        return self.serial.read_bytes().count(b"QUIET\r\n")

    def _wait_for_quiet(self, before, timeout):
        deadline = time.monotonic() + timeout
        while self._quiets() == before:
            if not self.alive() or time.monotonic() > deadline:
                raise WaitError(f"{self.name} is not quiet within {timeout} s\n{self.output()}")
            time.sleep(0.005)

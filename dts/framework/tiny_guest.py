# SPDX-License-Identifier: BSD-3-Clause
"""The guest that boots at once (scripts/guest/tiny.c), on whatever machine; it can be told to be quiet."""
import contextlib
import fcntl
import socket
import struct
import termios
import time

import images

from .colo_guest import ColoGuest
from .hardware import Hardware
from .process import WaitError


def _unread(s):
    """Is there anything that the other side of a unix socket has not read yet?"""
    return struct.unpack("i", fcntl.ioctl(s, termios.TIOCOUTQ, bytes(4)))[0] > 0


class TinyGuest(ColoGuest):
    """`pages` of data in each of its memories, `dirty` of all of them rewritten a turn. QEMU 11,
    or `binary`."""

    def __init__(self, run, name, ram, hardware=Hardware(), pages=500, dirty=50, vga_pages=20, hz=50,
                 binary=None, **kwargs):
        self.hardware = hardware
        self.console = run.dir / f"{name}.console"
        self._options = f"data={hardware.data(pages)} dirty={dirty} hz={hz}"
        if hardware.vga:
            self._options += f" vga={vga_pages}"
        super().__init__(run, name, ram, binary=binary or images.qemu11(), mib=hardware.mib, **kwargs)

    def _memory(self):
        return self.hardware.arguments(self.ram)

    def _software(self, options):
        return ["-kernel", images.tiny_guest(), "-append", f"{self._options} {options}".strip()]

    def _console(self):
        return ["-chardev", f"socket,id=console,path={self.console},server=on,wait=off,"
                            f"logfile={self.serial}", "-serial", "chardev:console"]

    def tell(self, command, timeout=60):
        """A command, one letter (see tiny.c). Returns when QEMU has taken it.

        Not earlier: of a caller that has gone QEMU reads nothing while its serial port is full.
        """
        deadline = time.monotonic() + timeout
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(str(self.console))
            s.sendall(command.encode())
            while _unread(s):
                self._check_alive(deadline, f"does not take command {command}")
                with contextlib.suppress(BlockingIOError):  # what the guest prints meanwhile
                    s.recv(4096, socket.MSG_DONTWAIT)
                time.sleep(0.001)

    def quiet(self, timeout=60):
        """It writes nothing from now on, until it is told to go on (g) or to take a step (s)."""
        before = self._quiets()
        self.tell("q")
        self._wait_for_quiet(before, timeout)

    def step(self, timeout=60):
        """One turn of a quiet guest."""
        before = self._quiets()
        self.tell("s")
        self._wait_for_quiet(before, timeout)

    def _quiets(self):
        return self.serial.read_bytes().count(b"QUIET\r\n")

    def _wait_for_quiet(self, before, timeout):
        deadline = time.monotonic() + timeout
        while self._quiets() == before:
            self._check_alive(deadline, f"is not quiet within {timeout} s")
            time.sleep(0.005)

    def _check_alive(self, deadline, what):
        if not self.alive() or time.monotonic() > deadline:
            raise WaitError(f"{self.name} {what}, its last counter is {self.counter()}\n{self.output()}")

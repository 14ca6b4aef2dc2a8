# SPDX-License-Identifier: BSD-3-Clause
"""A client of DPDK's telemetry socket."""
import json
import pathlib
import re
import socket
import time

from .process import WaitError


def socket_of(pid, timeout=10):
    """The telemetry socket that this process listens on; it may be in another network namespace."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        inodes = set()
        for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
            try:
                found = re.match(r"socket:\[(\d+)\]", str(fd.readlink()))
            except OSError:
                continue
            inodes |= {found.group(1)} if found else set()
        for line in pathlib.Path(f"/proc/{pid}/net/unix").read_text("ascii", "replace").splitlines():
            words = line.split()
            if len(words) == 8 and words[6] in inodes and "dpdk_telemetry" in words[7]:
                return words[7]
        time.sleep(0.1)
    raise WaitError(f"process {pid} has no telemetry socket")


class Telemetry:
    """One connection."""

    def __init__(self, pid):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(10)
        self.socket.connect(socket_of(pid))
        self.socket.recv(1024)

    def ask(self, question):
        """@return what stands under the command's name in the answer."""
        self.socket.sendall(question.encode())
        return json.loads(self.socket.recv(1 << 20))[question.partition(",")[0]]

    def numbers(self, question):
        """All (name, number) of an answer, however deep."""
        def walk(name, value):
            if isinstance(value, dict):
                for key, inner in value.items():
                    yield from walk(key, inner)
            elif isinstance(value, int) and not isinstance(value, bool):
                yield name, value
        yield from walk("", self.ask(question))

    def close(self):
        self.socket.close()

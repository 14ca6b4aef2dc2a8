# SPDX-License-Identifier: BSD-3-Clause
"""A process whose output goes to a file, and which cannot outlive the one that started it."""
import ctypes
import os
import re
import signal
import subprocess
import time

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def slack():
    """Seconds to grant, beyond a limit of the program's, for noticing, ending and looking: more
    where others keep the cores busy."""
    return 1.5 + os.getloadavg()[0] / len(os.sched_getaffinity(0)) / 2


class WaitError(Exception):
    """What was waited for did not come; says what the process printed last."""


def die_with_parent():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Process:
    """Started at once. `log` is the file of its output (both streams)."""

    def __init__(self, name, command, log, **kwargs):
        self.name = name
        self.command = [str(c) for c in command]
        self.log = log
        with open(log, "wb") as output:
            self.popen = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=output,
                                          stderr=subprocess.STDOUT, start_new_session=True,
                                          preexec_fn=die_with_parent, **kwargs)
        self.pid = self.popen.pid

    def output(self):
        return self.log.read_text("utf-8", "replace")

    def alive(self):
        return self.popen.poll() is None

    def wait_for(self, pattern, timeout=20, after=0):
        """Wait until its output, from character `after` on, matches. @return the match."""
        deadline = time.monotonic() + timeout
        while True:
            over = not self.alive() or time.monotonic() > deadline
            found = re.compile(pattern, re.M).search(self.output(), after)
            if found:
                return found
            if over:
                how = "is still running" if self.alive() else f"ended with {self.popen.returncode}"
                raise WaitError(f"{self.name} did not print /{pattern}/ and {how}; its output ends\n"
                                + "\n".join(self.output().splitlines()[-25:]))
            time.sleep(0.02)

    def signal(self, number):
        if self.alive():
            os.kill(self.pid, number)

    def kill(self):
        """SIGKILL, at once."""
        self.signal(signal.SIGKILL)
        return self.popen.wait()

    def wait(self, timeout=20):
        """@return the exit status (negative: the signal that ended it)."""
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired as why:
            raise WaitError(f"{self.name} did not end within {timeout} s; its output ends\n"
                            + "\n".join(self.output().splitlines()[-25:])) from why

    def stop(self, timeout=10):
        """SIGINT, as a user's Ctrl-C; SIGKILL if that does not help. @return the exit status."""
        self.signal(signal.SIGINT)
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            return self.kill()

# SPDX-License-Identifier: BSD-3-Clause
"""What a synthetic guest's memory holds, by the model of tests/tools/synthetic_memory.c."""
import subprocess

import colo_env as env

from .process import WaitError, die_with_parent
from .run import BUILD


class Model:
    """One guest's life: questions go forward only. `files` hold its blocks, in order."""

    def __init__(self, run, source, files):
        self.set = 0  # the last whole one
        self.popen = subprocess.Popen(
            [env.ROOT / BUILD / "tests" / "tools" / "synthetic-memory", source, "follow", *files],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
        run.keep(self.close)

    def ask(self, last):
        """After which of its sets, from the last one found to `last`, is this the guest's memory?

        @return "whole SET", "torn SET PAGES" or "none".
        """
        try:
            self.popen.stdin.write(f"{self.set} {last}\n")
            self.popen.stdin.flush()
        except BrokenPipeError as why:
            raise WaitError("synthetic-memory has ended") from why
        return self.popen.stdout.readline().strip()

    def find(self, last):
        """It must be whole. @return the set."""
        said = self.ask(last)
        assert said.startswith("whole "), f"sets {self.set} to {last}: {said}"
        self.set = int(said.split()[1])
        return self.set

    def close(self):
        self.popen.stdin.close()
        self.popen.kill()
        self.popen.wait()

# SPDX-License-Identifier: BSD-3-Clause
"""dpdk-colo's prompt on a terminal of its own, typed at as a person would."""
import re

import pexpect

import colo_env as env

from .process import die_with_parent
from .run import BUILD

PROMPT = "colo> "
ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|[A-Za-z])|\x07")


class Prompt:
    """Started at once; close() ends it if it still runs."""

    def __init__(self, run, eal, options, timeout=20, namespace=None):
        command = [env.program(BUILD), *eal, "--", *options, "-i"]
        if namespace is not None:
            command = namespace.command(*command)
        self.child = pexpect.spawn(
            str(command[0]), [str(a) for a in command[1:]],
            encoding="utf-8", codec_errors="replace", timeout=timeout, dimensions=(50, 200),
            preexec_fn=die_with_parent)
        # seen(): all that was printed so far
        self.log = open(run.dir / "prompt.log", "w+", encoding="utf-8")
        self.child.logfile_read = self.log
        run.keep(self.close)

    def seen(self):
        self.log.flush()
        with open(self.log.name, encoding="utf-8") as f:
            return ESCAPES.sub("", f.read())

    def drain(self):
        """Read what is there, so that the terminal never fills up."""
        self.child.expect([pexpect.TIMEOUT, pexpect.EOF], timeout=0)

    def wait_for(self, pattern):
        """@return the match, in what comes from here on."""
        self.child.expect(pattern)
        return self.child.match

    def ready(self):
        self.child.expect_exact(PROMPT)

    def type(self, line):
        """Type a line, wait for its echo and the next prompt. @return what it printed."""
        self.child.sendline(line)
        self.child.expect_exact(line)
        self.child.expect(rf"\n{PROMPT}")
        return ESCAPES.sub("", self.child.before)

    def end(self):
        """Wait until it has ended. @return its exit status."""
        self.child.expect(pexpect.EOF)
        self.child.close()
        return self.child.exitstatus

    def close(self):
        self.child.close(force=True)
        self.log.close()

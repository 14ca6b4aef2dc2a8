# SPDX-License-Identifier: BSD-3-Clause
"""One run: a folder, huge pages, processes, namespaces; close() leaves nothing of them behind."""
import contextlib
import json
import os
import pathlib
import secrets
import shutil
import socket
import tempfile

import colo_env as env

from .guest import Guest
from .netns import Namespace
from .process import Process

# the build whose program is driven; a sanitized one may be named here
BUILD = os.environ.get("DPDK_COLO_BUILD", "build")


class Run:
    """Everything is named by pid and folder, so that runs may go side by side."""

    def __init__(self, huge_mib=0):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="dpdk-colo."))
        self.huge = None
        self._closers = []
        self._n = 0
        try:
            if huge_mib:
                self.huge = env.Hugepages(huge_mib)
        except env.EnvError:
            self.close()
            raise

    def prefix(self, name):
        """A name that no other run on this machine uses."""
        return f"colo-{self.dir.name.rpartition('.')[2]}-{name}"

    def keep(self, closer):
        """Call this when the run is closed; what came last goes first."""
        self._closers.append(closer)

    def start(self, name, command, **kwargs):
        """Any process. Its output goes to NAME.log in the run's folder, where its files go, too."""
        process = Process(name, command, self.dir / f"{name}.log", env=self.environment(), **kwargs)
        self.keep(lambda: process.stop(5))
        return process

    def environment(self):
        """What a process is started with: its temporary files are the run's."""
        return {**os.environ, "TMPDIR": str(self.dir)}

    def psk(self):
        """The run's key, for --psk-file of both ends."""
        path = self.dir / "colo.psk"
        if not path.exists():
            with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="ascii") as f:
                f.write(secrets.token_hex(32) + "\n")
        return path

    def secured(self, options):
        """The options of one of two processes, with the run's key if they say nothing about it."""
        words = [str(o) for o in options]
        two = "--role" in words and words[words.index("--role") + 1:][:1] in (["primary"], ["secondary"])
        if not two or "--psk-file" in words or "--insecure" in words:
            return words
        return [*words, "--psk-file", str(self.psk())]

    def program(self, name, eal, options, namespace=None, secured=True):
        """dpdk-colo, the built one. Two processes share the run's key, and a primary that loses its
        session ends, unless `options` say otherwise."""
        if "primary" in options and "--reconnect" not in options:
            options = [*options, "--reconnect", 0]
        if secured:
            options = self.secured(options)
        command = [env.program(BUILD), *eal, "--", *options]
        if namespace is not None:
            command = namespace.command(*command)
        return self.start(name, command)

    def guest(self, name, ram, kind=Guest, **kwargs):
        guest = kind(self, name, ram, **kwargs)
        self.keep(guest.kill)
        return guest

    def ram_file(self, name):
        """A path in memory, not made yet, removed at the end. Not a huge page's."""
        path = pathlib.Path("/dev/shm") / self.prefix(name)
        self.keep(lambda: path.unlink(missing_ok=True))
        return path

    def namespace(self, name):
        namespace = Namespace(self, name)
        self.keep(namespace.close)
        return namespace

    def port(self):
        """A TCP port of the loopback interface that nobody listens on now."""
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            return s.getsockname()[1]

    def json(self, name):
        return json.loads((self.dir / name).read_text("utf-8"))

    def close(self):
        """End processes first, in the reverse order of their start, then remove the rest."""
        while self._closers:
            with contextlib.suppress(env.EnvError, OSError):
                self._closers.pop()()
        if self.huge is not None:
            self.huge.close()
        for left in pathlib.Path("/var/run/dpdk").glob(self.prefix("*")):
            shutil.rmtree(left, ignore_errors=True)
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

# SPDX-License-Identifier: BSD-3-Clause
"""A secondary and a primary in two processes over net_memif, the session over the loopback."""
from . import eal

SOURCE = "synthetic,dirty=500,seed=7"
PATIENT = ["--peer-timeout", 5000]  # for tests of other things: a busy machine may stand still
READY = r"^json +\S"  # the last line of the configuration, printed when all is set up


def eal_mib(channels):
    """What an end asks for with -m. Without huge pages EAL gets no more than that later."""
    return 256 if channels <= 8 else 512


class Two:
    """Each may be started again; names tell the runs of an end apart.

    `server` names the end that is started first: the other one finds its memif there. What is
    the secondary's outlives primaries, and so the secondary it is by default.
    """

    ready = {"primary": READY, "secondary": READY}  # what a server has printed when it is up

    def __init__(self, run, channels=1, blocks=("pc.ram,size=16M",), mtu=4200, server="secondary",
                 mib=None, eal_options=()):
        self.run = run
        self.channels = channels
        self.port = run.port()
        self.mtu = mtu
        self.blocks = [word for block in blocks for word in ("--block", block)]
        self.server = server
        self.last = {}  # of each end, the process that was started last
        self.mib = mib  # of EAL, each end; None: as channels need
        self.eal_options = eal_options
        self._n = 0

    def _start(self, end, channels, blocks, options, wait=True):
        self._n += 1
        channels = channels or self.channels
        role = "server" if end == self.server else "client"
        if role == "server":  # one that was killed leaves its socket
            (self.run.dir / "memif.sock").unlink(missing_ok=True)
        process = self.run.program(f"{end}{self._n}",
                                   eal.memif(self.run, role, channels, self.mib or eal_mib(channels),
                                             more=self.eal_options),
                                   ["--role", end, "--channels", channels, "--mtu", self.mtu, *PATIENT,
                                    *(self.blocks if blocks is None else blocks), *options])
        self.last[end] = process
        if role == "server" and wait:
            process.wait_for(self.ready[end])
        return process

    def secondary(self, *options, blocks=None, channels=None, wait=True):
        return self._start("secondary", channels, blocks,
                           ["--listen", f"127.0.0.1:{self.port}", *options], wait)

    def primary(self, *options, blocks=None, channels=None, source=SOURCE):
        return self._start("primary", channels, blocks,
                           ["--connect", f"127.0.0.1:{self.port}", "--source", source,
                            "--json", self.run.dir / "primary.json", *options])

    def report(self):
        """The JSON of the primary that ended last."""
        return self.run.json("primary.json")

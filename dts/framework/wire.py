# SPDX-License-Identifier: BSD-3-Clause
"""Primary and secondary in two network namespaces, over a veth by net_af_packet.

    namespace a: primary    va0 10.98.0.1  ----veth----  vb0 10.98.0.2    namespace b: secondary
                 net_af_packet on va0                    net_af_packet on vb0; session by the kernel
"""
from . import eal
from .netns import veth
from .two import PATIENT, READY

PORT = 17999  # in a namespace of our own
BLOCK = ["--block", "pc.ram,size=16M"]
SOURCE = "synthetic,size=16M,dirty=500,seed=7"


class Wire:
    """Two namespaces, a veth between them, and what runs at its ends. `name` tells wires of a run apart."""

    def __init__(self, run, channels, qpairs, mtu, veth_mtu=9000, name=""):
        self.run = run
        self.channels = channels
        self.qpairs = qpairs
        self.mtu = mtu
        self.name = name
        self.a, self.b = run.namespace(f"{name}a"), run.namespace(f"{name}b")
        self.ends = veth(self.a, self.b, veth_mtu, addresses=("10.98.0.1/24", "10.98.0.2/24"))
        self._n = 0

    def _program(self, role, namespace, interface, options):
        self._n += 1
        return self.run.program(f"{self.name}{role}{self._n}",
                                eal.af_packet(interface, self.channels, self.qpairs),
                                ["--role", role, "--channels", self.channels, "--mtu", self.mtu,
                                 *PATIENT, "--hold", 5000, "--json", self.json(role), *options],
                                namespace)

    def json(self, role):
        """The report of that end which ended last."""
        return self.run.dir / f"{self.name}{role}.json"

    def secondary(self, *options, block=None):
        secondary = self._program("secondary", self.b, self.ends[1],
                                  ["--listen", f"10.98.0.2:{PORT}", *(BLOCK if block is None else block),
                                   *options])
        secondary.wait_for(READY, 60)
        return secondary

    def primary(self, *options, source=SOURCE):
        return self._program("primary", self.a, self.ends[0],
                             ["--connect", f"10.98.0.2:{PORT}", "--source", source, *options])

    def cut(self, down=True):
        """At the primary; the other end has no carrier then."""
        self.a.ip("link", "set", self.ends[0], "down" if down else "up")

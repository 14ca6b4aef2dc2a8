# SPDX-License-Identifier: BSD-3-Clause
"""Network namespaces named by pid; addresses exist only inside them."""
import colo_env as env


class Namespace:
    """One namespace; close() removes it with all its interfaces."""

    def __init__(self, run, name):
        self.name = f"{run.prefix(name)}"
        env.run(["ip", "netns", "add", self.name])
        self.ip("link", "set", "lo", "up")

    def ip(self, *arguments):
        return env.run(["ip", "-n", self.name, *arguments])

    def command(self, *arguments):
        """What runs a command in here."""
        return ["ip", "netns", "exec", self.name, *[str(a) for a in arguments]]

    def up(self, interface, mtu, address=None):
        """Raise an interface, without IPv6's own chatter."""
        env.run(self.command("sysctl", "-q", "-w", f"net.ipv6.conf.{interface}.disable_ipv6=1"))
        self.ip("link", "set", interface, "mtu", str(mtu), "up")
        if address:
            self.ip("addr", "add", address, "dev", interface)

    def tap(self, interface, mtu, address=None):
        self.ip("tuntap", "add", "dev", interface, "mode", "tap")
        self.up(interface, mtu, address)

    def close(self):
        env.run(["ip", "netns", "del", self.name])


def veth(a, b, mtu, index=0, addresses=(None, None)):
    """A wire between two namespaces. @return the names of its ends."""
    ends = f"va{index}", f"vb{index}"
    a.ip("link", "add", ends[0], "type", "veth", "peer", "name", ends[1], "netns", b.name)
    a.up(ends[0], mtu, addresses[0])
    b.up(ends[1], mtu, addresses[1])
    return ends

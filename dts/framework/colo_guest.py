# SPDX-License-Identifier: BSD-3-Clause
"""A guest whose QEMU (11) streams COLO: to dpdk-colo, or to a QEMU that plays the secondary."""
import time

from .guest import Guest
from .qmp import QmpError

MIGRATION = {"max-bandwidth": 20 << 30, "downtime-limit": 300}
TRACES = ["colo_*", "migration_bitmap_sync_end", "migrate_set_state"]


def trace_options(path):
    """QEMU writes the events of its COLO code there, each with its time."""
    return ["-msg", "timestamp=on", "-D", path] + [o for name in TRACES for o in ("-trace", name)]


class ColoGuest(Guest):
    """The counting guest, on its way to a COLO primary: call protect()."""

    def _prepare(self, multifd, compression, parameters):
        qmp = self.watch()
        capabilities = {"x-colo": True, "return-path": True, "multifd": multifd > 0}
        qmp.command("migrate-set-capabilities", capabilities=[
            {"capability": name, "state": state} for name, state in capabilities.items()])
        if multifd:
            parameters = {**parameters, "multifd-channels": multifd,
                          "multifd-compression": compression}
        qmp.command("migrate-set-parameters", **{**MIGRATION, **parameters})

    def protect(self, uri, multifd=0, compression="none", delay=600, **parameters):
        """Let QEMU migrate there, with a checkpoint every `delay` ms from then on."""
        self._prepare(multifd, compression, {"x-checkpoint-delay": delay, **parameters})
        self.watch().command("migrate", uri=uri)

    def be_secondary(self, uri, multifd=0, compression="none"):
        """A standby: let QEMU itself play COLO's secondary."""
        self._prepare(multifd, compression, {})
        self.watch().command("migrate-incoming", uri=uri)

    def colo_mode(self):
        """`none`, `primary` or `secondary`."""
        return self.watch().command("query-colo-status")["mode"]

    def running(self):
        return self.watch().command("query-status")["status"] == "running"

    def free(self, timeout=10):
        """What a cluster manager sends when the secondary is gone: the guest runs on, unprotected."""
        self.watch().command("x-colo-lost-heartbeat")
        deadline = time.monotonic() + timeout
        while not self.running() or self.colo_mode() != "none":
            if time.monotonic() > deadline:
                raise QmpError("the guest does not run, or is still in COLO state, after "
                               "x-colo-lost-heartbeat")
            time.sleep(0.005)

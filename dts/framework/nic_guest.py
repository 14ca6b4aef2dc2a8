# SPDX-License-Identifier: BSD-3-Clause
"""A program in a guest of QEMU 11 that owns an emulated 82576 (igb), reached over two taps.

    namespace                                   guest
    tap0  data: net_af_packet here      ------  igb, 4 queues, uio_pci_generic: DPDK's driver
    tap1  10.99.0.1, session over TCP   ------  eth0 10.99.0.2, e1000, kernel's driver
"""
import json
import re
import socket

import images

from .process import Process

NIC_MAC = "52:54:00:c0:10:01"
GUEST_IP = "10.99.0.2"
HOST_IP = "10.99.0.1"
DATA_TAP = "tap0"
CMDLINE = "console=ttyS0 quiet mitigations=off panic=-1 nokaslr no_timer_check tsc=reliable nowatchdog audit=0 random.trust_cpu=on"
RUN = """/bin/program {arguments} &
echo $! >/tmp/pid
wait $!
"""


class NicGuest(Process):
    """Booted at once; `arguments` are the program's, $NIC in them is the NIC's PCI address."""

    def __init__(self, run, name, namespace, program, arguments, mtu=9000, huge_mib=384):
        namespace.tap(DATA_TAP, mtu)
        namespace.tap("tap1", 1500, f"{HOST_IP}/24")
        self.control = run.dir / f"{name}.control"
        kernel = images.nic_guest(program, run.dir / "base.gz")
        self._add_run_script(run, arguments)
        super().__init__(name, namespace.command(*self._command(run, kernel, huge_mib)),
                         run.dir / f"{name}.log")

    @staticmethod
    def _add_run_script(run, arguments):
        """A second archive behind the first: the kernel unpacks both."""
        tree = run.dir / "tree"
        tree.mkdir()
        (tree / "run.sh").write_text(RUN.format(arguments=" ".join(str(a) for a in arguments)),
                                     encoding="ascii")
        images.pack_initramfs(tree, run.dir / "run.gz")
        with open(run.dir / "initrd.gz", "wb") as whole:
            for part in ("base.gz", "run.gz"):
                whole.write((run.dir / part).read_bytes())

    def _command(self, run, kernel, huge_mib):
        return [images.qemu11(), "-machine", "q35", "-accel", "tcg,thread=multi", "-smp", "2",
                "-m", str(huge_mib + 320), "-cpu", "max", "-nodefaults", "-display", "none",
                "-no-reboot", "-kernel", kernel, "-initrd", run.dir / "initrd.gz",
                "-append", f"{CMDLINE} hugepages={huge_mib // 2}", "-serial", "stdio",
                "-serial", f"unix:{self.control},server=on,wait=off",
                "-device", "pcie-root-port,id=rp1,chassis=1,slot=1",
                "-netdev", f"tap,id=data,ifname={DATA_TAP},script=no,downscript=no",
                "-device", f"igb,netdev=data,bus=rp1,mac={NIC_MAC}",
                "-netdev", "tap,id=session,ifname=tap1,script=no,downscript=no",
                "-device", "e1000,netdev=session,mac=52:54:00:c0:10:02"]

    def finish(self, timeout=60):
        """End the program as Ctrl-C would, wait for the power-off. @return its exit status."""
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(str(self.control))
            control.sendall(b"stop\n")
            self.wait(timeout)
        return int(self.wait_for(r"^GUEST program ended with (\d+)").group(1))

    def json(self, name):
        """A /tmp/NAME.json that the program left in the guest."""
        found = re.search(rf"^FILE {name}\.json begins\r?\n(.*)^FILE {name}\.json ends",
                          self.output(), re.M | re.S)
        return json.loads(found.group(1))

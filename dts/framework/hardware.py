# SPDX-License-Identifier: BSD-3-Clause
"""A guest's machine: the same at primary and standby, or no takeover is possible."""
import dataclasses

from .guest import BLOCK

FOUR_GIB = 4 << 30
PAGE = 4096


@dataclasses.dataclass(frozen=True)
class Hardware:
    """What QEMU is told of it, and where its memory is."""
    machine: str = "pc"
    mib: int = 64         # of pc.ram
    below_4g_mib: int = 0 # so much of it; the rest above 4 GiB. 0: all
    numa_mib: int = 0     # a second node, block "node1", with memory of its own
    dimm_mib: int = 0     # a DIMM, block "dimm0"
    vga: bool = False
    devices: tuple = ()

    def arguments(self, ram):
        """`ram` is the file of pc.ram; the other blocks are in no file."""
        machine = f"{self.machine},max-ram-below-4g={self.below_4g_mib}M" if self.below_4g_mib \
            else self.machine
        size = f"{self.mib + self.numa_mib}M"
        words = ["-m", f"{size},slots=1,maxmem=1G" if self.dimm_mib else size, "-object",
                 f"memory-backend-file,id={BLOCK},size={self.mib}M,mem-path={ram},share=on"]
        if self.numa_mib:
            words += ["-machine", machine, "-numa", f"node,memdev={BLOCK}",
                      "-object", f"memory-backend-ram,id=node1,size={self.numa_mib}M",
                      "-numa", "node,memdev=node1"]
        else:
            words += ["-machine", f"{machine},memory-backend={BLOCK}"]
        if self.dimm_mib:
            words += ["-object", f"memory-backend-ram,id=dimm0,size={self.dimm_mib}M",
                      "-device", f"pc-dimm,memdev=dimm0,addr={FOUR_GIB:#x}"]
        if self.vga:
            words += ["-device", "VGA"]
        return words + list(self.devices)

    def total_mib(self):
        return self.mib + self.numa_mib + self.dimm_mib + (16 if self.vga else 0)

    def beyond_ram(self):
        """[(address, bytes)] of memory that is in no file."""
        ranges = []
        if self.numa_mib:
            ranges.append((self.mib << 20, self.numa_mib << 20))
        if self.dimm_mib:
            ranges.append((FOUR_GIB, self.dimm_mib << 20))
        return ranges

    def data(self, pages):
        """The tiny guest's data=: so many pages in each memory that there is."""
        regions = [start + (1 << 20) for start, _ in self.beyond_ram()]
        if self.below_4g_mib:
            regions.append(FOUR_GIB + (1 << 20))
        return ",".join(f"{start:#x}+{pages}" for start in [16 << 20, *regions])

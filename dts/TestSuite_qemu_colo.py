# SPDX-License-Identifier: BSD-3-Clause
"""An unmodified QEMU 11 streams COLO to dpdk-colo: guest memory is the primary's, byte for byte.

The guest can be quiet: it runs, its checkpoints go on, but it writes nothing. Then its RAM file and
the secondary's must be the same. Blocks that are in no file (VGA, ROMs, DIMM, second node) are
compared by --verify at every checkpoint, and read by QMP before and after the takeover.
"""
import dataclasses

import pytest

from framework.colo import (Colo, check_goes_on, huge_mib, need_qemu11, read_physical, take_over,
                            vga_address, wait_epochs, wait_settled)
from framework.hardware import Hardware
from framework.report import check_shape

ROUNDS = 3
MIB = 1 << 20
ROMS = (0xC0000, 256 << 10)
DEVICES = ("-device", "virtio-net-pci", "-drive", "id=disk,if=none,driver=null-co,size=1M",
           "-device", "virtio-blk-pci,drive=disk")
PLAIN = Hardware()
PC = Hardware(vga=True, devices=DEVICES)
Q35 = Hardware("q35", vga=True, devices=DEVICES)
HOLE = Hardware(below_4g_mib=48)
NODES = Hardware(numa_mib=32)
DIMM = Hardware("q35", mib=128, dimm_mib=128)


@dataclasses.dataclass(frozen=True)
class Case:
    """A machine, and how its QEMU streams."""
    hardware: Hardware
    multifd: int = 0
    compression: str = "none"
    tcp: bool = False

    def __str__(self):
        return f"{self.multifd}-{self.compression}-{'tcp' if self.tcp else 'unix'}"


CASES = {"plain": Case(PLAIN),
         "plain-vga-virtio": Case(PC, tcp=True),
         "plain-q35": Case(Q35),
         "plain-hole": Case(HOLE),
         "plain-dimm": Case(DIMM),
         "multifd4": Case(PC, 4, tcp=True),
         "multifd4-zstd": Case(NODES, 4, "zstd"),
         "multifd4-hole": Case(HOLE, 4, tcp=True),
         "multifd1-zlib": Case(PC, 1, "zlib", tcp=True),
         "multifd16": Case(PLAIN, 16),
         "multifd4-q35-dimm": Case(DIMM, 4)}


@pytest.fixture(autouse=True)
def qemu11():
    need_qemu11()


def check_same_ram(guest, standby):
    """Both files, all bytes."""
    ours, theirs = guest.ram.read_bytes(), standby.ram.read_bytes()
    assert len(ours) == len(theirs) == guest.mib * MIB
    if ours != theirs:
        differ = [p for p in range(0, len(ours), 4096) if ours[p:p + 4096] != theirs[p:p + 4096]]
        pytest.fail(f"{len(differ)} of {len(ours) // 4096} pages differ, the first at {differ[0]:#x}")


def memories(guest, run):
    """What the CPU of a quiet guest sees of memories that are in no file."""
    ranges = [ROMS, *[(address, n) for address, n in guest.hardware.beyond_ram()]]
    if guest.hardware.vga:
        ranges.append((vga_address(guest), 2 * MIB))
    return [read_physical(guest, address, size, run) for address, size in ranges]


def check_rounds(primary, guest, standby):
    """Some checkpoints under load, then still: the same; one turn more: the same again."""
    for _ in range(ROUNDS):
        wait_epochs(primary, 2)
        guest.quiet()
        wait_settled(primary)
        check_same_ram(guest, standby)
        guest.step()
        wait_settled(primary)
        check_same_ram(guest, standby)
        guest.tell("g")


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=[] if name == "multifd4-zstd" else pytest.mark.slow) for name in CASES])
def test_memory(start_run, name):
    """Step: checkpoints under load, three times quiet, then the guest's QEMU is killed.

    Verify: the files are the same each time; --verify finds every block the same every time; the
    standby sees every memory as the guest did; it counts on.
    """
    case = CASES[name]
    channels = max(1, case.multifd)
    run = start_run(huge_mib(case.hardware.total_mib(), channels))
    colo = Colo(run, case.hardware, channels, case.tcp)
    guest, standby = colo.guest(), colo.standby()
    primary = colo.primary("--verify", "--hold", 5000, guest=guest)
    secondary = colo.secondary(standby=standby)
    colo.protect(guest, primary, multifd=case.multifd, compression=case.compression, delay=100)
    check_rounds(primary, guest, standby)
    guest.quiet()
    wait_settled(primary)
    seen = memories(guest, run)
    counter = guest.counter()
    guest.kill()
    take_over(secondary, standby)
    assert memories(standby, run) == seen
    standby.tell("g")
    check_goes_on(guest, standby, counter + 1)
    primary.stop()
    report = colo.report()
    check_shape(report)
    summary = report["summary"]
    assert summary["epochs"] == summary["verified"] > 4 * ROUNDS and summary["mismatches"] == 0

# SPDX-License-Identifier: BSD-3-Clause
"""The EAL arguments of each driver, as drivers-config/ explains them."""
import os


def lcores(channels):
    """Main, control and a poll core for each channel, on whatever cores this machine lets us use."""
    cpus = ",".join(str(c) for c in sorted(os.sched_getaffinity(0)))
    return f"--lcores=(0-{channels + 1})@({cpus})"


def pair(channels):
    """Both roles in one process, over crossed net_ring ports."""
    return ["--in-memory", "--no-pci", "--iova-mode=va", lcores(channels)]


def memif(run, role, channels, mib=256, name="memif", log2_ring=10, more=()):
    """One of two processes; `role` is server (start it first) or client. They meet at `name`.sock."""
    return ["--in-memory", "--no-pci", "--iova-mode=va", lcores(channels), "-m", str(mib), *more,
            f"--vdev=net_memif0,role={role},id=0,socket={run.dir}/{name}.sock,"
            f"socket-abstract=no,bsize=9216,rsize={log2_ring}"]


def af_packet(interface, channels, qpairs=1, huge=True):
    """Run it in the namespace of the interface."""
    memory = ["--in-memory"] if huge else ["--no-huge", "--no-shconf"]
    return [*memory, "--no-pci", "--iova-mode=va", lcores(channels), "-m", "256",
            f"--vdev=net_af_packet0,iface={interface},framesz=16384,blocksz=65536,framecnt=512,"
            f"qpairs={qpairs}"]


def null(channels):
    """Sends to nowhere, receives nothing that anybody sent."""
    return ["--in-memory", "--no-pci", "--iova-mode=va", lcores(channels), "-m", "256",
            "--vdev=net_null0,no-rx=1"]

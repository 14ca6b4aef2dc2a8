# SPDX-License-Identifier: BSD-3-Clause
"""What a started process may still do: no capability, few system calls, in every thread; and whose its
files are. That everything works like that, every other suite shows: it is the default."""
import os
import pathlib
import re
import socket
import stat
import time

import pytest

from framework import eal
from framework.netns import veth
from framework.process import WaitError
from framework.telemetry import Telemetry, socket_of
from framework.two import PATIENT, READY, Two

ALL_SETS = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]
DROPPED = r"privileges: (\d+) of \1 capabilities dropped, kept: none; \d+ system calls are left"


def threads(pid):
    """{name: status} of all threads of a process."""
    found = {}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        text = (task / "status").read_text("utf-8")
        words = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        found[f"{words['Name'].strip()} {task.name}"] = {k: v.strip() for k, v in words.items()}
    return found


def check_dropped(pid, least):
    """No thread has anything left."""
    now = threads(pid)
    assert len(now) >= least, now.keys()
    for name, status in now.items():
        assert {s: int(status[s], 16) for s in ALL_SETS} == dict.fromkeys(ALL_SETS, 0), name
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2"), name
    return now


def modes(folder):
    """{name: mode} of everything in a folder."""
    return {str(p.relative_to(folder)): stat.S_IMODE(p.lstat().st_mode) for p in folder.rglob("*")}


def process_of(run, name, timeout=30):
    """Wait for the process of this name that belongs to this run: its temporary files are the run's."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        for comm in pathlib.Path("/proc").glob("[0-9]*/comm"):
            try:
                if comm.read_text("utf-8").strip() == name and \
                        str(run.dir).encode() in (comm.parent / "environ").read_bytes():
                    return int(comm.parent.name)
            except OSError:
                pass
        time.sleep(0.02)
    raise WaitError(f"there is no {name}")


def test_memif(start_run):
    """Step: two processes over net_memif, sealed, with journal, files and --json; a telemetry client.

    Verify: no thread has a capability, each has the filter, one that was started later as well; what was
    made is its owner's alone; checkpoints go on, so does the next primary.
    """
    run = start_run()
    two = Two(run, blocks=(f"pc.ram,size=16M,guest={run.dir}/guest,cache={run.dir}/cache",))
    run.psk()
    before = os.umask(0)  # as wide as can be: the program narrows it
    try:
        secondary = two.secondary("--journal", run.dir / "journal", "--json", run.dir / "secondary.json")
        primary = two.primary("--interval", 50, "--verify")
    finally:
        os.umask(before)
    primary.wait_for("^epoch 4:", 30)
    telemetry = Telemetry(secondary.pid)
    telemetry.ask("/colo/stats")
    now = check_dropped(secondary.pid, 6)  # main, interrupts, 2 workers, telemetry, its client
    assert sum("telemetry" in name for name in now) >= 2, now.keys()
    telemetry.close()
    check_dropped(primary.pid, 5)
    for process in primary, secondary:
        assert re.search(DROPPED, process.output()), process.output()
        assert "WARNING: priv" not in process.output()
    made = {name: mode for name, mode in modes(run.dir).items() if not name.endswith(".log")}
    assert {"guest", "cache", "journal", "journal.device", "journal.device-cache", "memif.sock",
            "primary.json", "secondary.json"} <= set(made)
    assert not {name: oct(mode) for name, mode in made.items() if mode & 0o177 and name != "memif.sock"}
    assert made["memif.sock"] & 0o77 == 0  # DPDK's: a socket with x for its owner
    of_telemetry = pathlib.Path(socket_of(secondary.pid))
    assert of_telemetry.stat().st_mode & 0o77 == 0 and of_telemetry.parent.stat().st_mode & 0o77 == 0
    assert primary.stop() == 0, primary.output()
    primary = two.primary("--epochs", 2, "--interval", 50, "--verify")
    assert primary.wait(60) == 0, primary.output()
    assert secondary.stop() == 0, secondary.output()
    assert not (run.dir / "journal").exists() and not (run.dir / "memif.sock").exists()


def test_af_packet(start_run):
    """Step: a process on net_af_packet, in a namespace. Verify: it needs CAP_NET_RAW at the start only."""
    run = start_run()
    a, b = run.namespace("a"), run.namespace("b")
    ends = veth(a, b, 9000, addresses=("10.98.0.1/24", "10.98.0.2/24"))
    both = [["--role", "secondary", "--listen", "10.98.0.2:17999", "--block", "pc.ram,size=16M"],
            ["--role", "primary", "--connect", "10.98.0.2:17999", "--source",
             "synthetic,size=16M,dirty=100", "--epochs", 2, "--interval", 50, "--verify"]]
    secondary = run.program("secondary", eal.af_packet(ends[1], 1), [*both[0], *PATIENT], b)
    secondary.wait_for(READY, 60)
    check_dropped(secondary.pid, 5)
    primary = run.program("primary", eal.af_packet(ends[0], 1), [*both[1], *PATIENT], a)
    assert primary.wait(60) == 0, primary.output()
    assert secondary.stop() == 0, secondary.output()


def test_keep(start_run):
    """Step: --privileges keep. Verify: everything stays, and that is said loudly."""
    run = start_run()
    pair = run.program("pair", eal.pair(1), ["--role", "pair", "--source", "synthetic,size=4M,dirty=10",
                                             "--interval", 50, "--privileges", "keep"])
    pair.wait_for("^epoch 3:", 60)
    own = threads(os.getpid())
    mine = own[next(iter(own))]
    for name, status in threads(pair.pid).items():
        assert status["CapEff"] == mine["CapEff"], name
        assert (status["NoNewPrivs"], status["Seccomp"]) == (mine["NoNewPrivs"], mine["Seccomp"]), name
    assert "WARNING: --privileges keep" in pair.output()
    assert re.search("^privileges +keep$", pair.output(), re.M)
    assert pair.stop() == 0


@pytest.mark.parametrize("source,name", [("qmp,path={0}", "dpdk-colo-guard"),
                                         ("colo,listen=unix:{1}/colo.sock,qmp={0}", "dpdk-colo-keep")])
def test_process_beside(start_run, source, name):
    """Step: start what frees a guest when the primary cannot. Verify: it has nothing left, either; its
    socket for QEMU is its owner's."""
    run = start_run()
    qmp = socket.socket(socket.AF_UNIX)
    qmp.bind(str(run.dir / "qmp"))
    qmp.listen()
    run.keep(qmp.close)
    block = ["--block", f"pc.ram,size=16M,guest={run.ram_file('ram')}"] if source.startswith("qmp") else []
    primary = run.program("primary", eal.null(1), [
        "--role", "primary", "--connect", f"127.0.0.1:{run.port()}", "--source",
        source.format(run.dir / "qmp", run.dir), *block])
    pid = process_of(run, name)
    deadline = time.monotonic() + 30
    while int(threads(pid)[f"{name} {pid}"]["Seccomp"]) != 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    check_dropped(pid, 1)
    if source.startswith("colo"):
        primary.wait_for("waiting for QEMU", 30)
        assert modes(run.dir)["colo.sock"] == 0o600
    primary.kill()

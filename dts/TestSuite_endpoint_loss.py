# SPDX-License-Identifier: BSD-3-Clause
"""A guest whose QEMU streams COLO to us is never left standing, whatever of us dies, hangs or is cut off.

Told from QEMU's own STOP and RESUME events: the guest never stands still for longer than --hold.
With qmp= it is freed without anybody's help; without, sockets are closed, and the primary says what
the operator must send. Afterwards a new `migrate` protects it again.
"""
import os
import re
import signal
import time

import pytest

from framework import eal
from framework.colo import (PROTECTED, Colo, Pauses, check_goes_on, huge_mib, need_qemu11, wait_epochs,
                            wait_settled, wait_until)
from framework.guest import gap
from framework.hardware import Hardware
from framework.netns import veth
from framework.process import slack
from framework.prompt import Prompt
from framework.qmp import Qmp
from framework.two import READY

HOLD_MS = 600
PEER_TIMEOUT_MS = 500
LIMITS = ["--hold", HOLD_MS, "--peer-timeout", PEER_TIMEOUT_MS]
HEAVY = {"pages": 2500, "dirty": 1200}  # a checkpoint takes long enough to be disturbed
DELAY_MS = 150
AGAIN = 2  # checkpoints that must come when it is protected again
PORT = 17999  # in a namespace of our own


@pytest.fixture(autouse=True)
def qemu11():
    need_qemu11()


def tolerance_ms():
    """A busy machine delays what is due."""
    return 150 * max(1.0, os.getloadavg()[0] / len(os.sched_getaffinity(0)))


class Watched:
    """A protected guest with a load, and when it stood still."""

    def __init__(self, colo, with_qmp, multifd=0):
        self.colo = colo
        self.multifd = multifd
        self.guest = colo.guest(**HEAVY)
        self.keeper_guest = self.guest if with_qmp else None
        for end in ("primary", "secondary") if colo.server == "primary" else ("secondary", "primary"):
            self.start(end)
        self.protect()
        self.pauses = Pauses(self.guest)

    def start(self, end):
        if end == "primary":
            self.primary = self.colo.primary(*LIMITS, guest=self.keeper_guest)
        else:
            self.secondary = self.colo.secondary(*LIMITS)

    def protect(self):
        self.colo.protect(self.guest, self.primary, delay=DELAY_MS, multifd=self.multifd)

    def disturb(self, when, process, number):
        """A signal at a process, between two checkpoints or within one. @return a property of it"""
        if when == "within":
            self.pauses.wait_stop()
        else:
            wait_epochs(self.primary, 1)
        process.signal(number)
        end = "primary" if process is self.primary else "secondary"
        place = "between checkpoints" if when == "between" else "in a checkpoint"
        return f"{'kills' if number == signal.SIGKILL else 'hangs'}.{end}, {place}"

    def check_freed(self):
        """It runs, in no COLO state, and never stood still for too long."""
        limit = (PEER_TIMEOUT_MS + HOLD_MS + DELAY_MS) / 1000 + slack()
        wait_until("the guest is freed", lambda: self.guest.colo_mode() == "none" and self.guest.running(),
                   limit)
        assert self.pauses.longest() <= HOLD_MS + tolerance_ms()
        self.check_counts()

    def check_counts(self):
        self.guest.wait_for_counter(self.guest.counter() + 3)
        assert gap(self.guest.lines()) is None

    def check_again(self):
        """Ends that are not there (any more) are started; the guest is protected again."""
        if not self.primary.alive():
            self.start("primary")
        if not self.secondary.alive():
            self.start("secondary")
        self.protect()
        wait_epochs(self.primary, AGAIN)
        self.check_counts()


def watched(start_run, lost, with_qmp=True, multifd=0):
    """The end that will be lost is memif's client."""
    colo = Colo(start_run(huge_mib()), Hardware(), max(1, multifd),
                server="primary" if lost == "secondary" else "secondary")
    return Watched(colo, with_qmp, multifd)


@pytest.mark.slow
@pytest.mark.parametrize("when,multifd", [("between", 0), ("within", 0), ("within", 4)])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_secondary(start_run, record_property, number, when, multifd):
    """Step: the secondary is killed, or hangs. Verify: the guest is freed within --hold; the primary
    says that it is unprotected, and protects it again.
    """
    w = watched(start_run, "secondary", multifd=multifd)
    what = w.disturb(when, w.secondary, number)
    w.primary.wait_for("^WARNING: PROTECTION LOST: .*UNPROTECTED", 10)
    w.check_freed()
    assert w.primary.alive(), w.primary.output()
    w.secondary.kill()
    w.check_again()
    record_property(what, 1)


@pytest.mark.slow
@pytest.mark.parametrize("when,multifd", [("between", 0), ("within", 0), ("within", 4)])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_primary(start_run, record_property, number, when, multifd):
    """Step: the primary is killed, or hangs. Verify: its keeper frees a guest that stands still
    within --hold; the next primary protects it again.
    """
    w = watched(start_run, "primary", multifd=multifd)
    what = w.disturb(when, w.primary, number)
    if when == "between" and number == signal.SIGSTOP:
        time.sleep(2 * DELAY_MS / 1000)  # QEMU asks for a checkpoint and runs on: it needs no help
        w.check_counts()
        w.primary.kill()
    w.check_freed()
    w.primary.kill()
    w.check_again()
    record_property(what, 1)


@pytest.mark.slow
@pytest.mark.parametrize("number,when", [(signal.SIGKILL, "between"), (signal.SIGSTOP, "within")])
def test_secondary_without_qmp(start_run, record_property, number, when):
    """Step: the secondary is lost, the primary has no qmp=. Verify: it says what must be sent; that
    frees the guest; it is protected again.
    """
    w = watched(start_run, "secondary", with_qmp=False)
    what = w.disturb(when, w.secondary, number)
    w.primary.wait_for("x-colo-lost-heartbeat", 10)
    w.guest.free()
    w.check_counts()
    assert w.primary.alive(), w.primary.output()
    w.secondary.kill()
    w.check_again()
    record_property(what, 1)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_primary_without_qmp(start_run, record_property, number):
    """Step: the primary is lost within a checkpoint, without qmp=. Verify: what a cluster manager
    sends (yank out of band, then x-colo-lost-heartbeat) frees the guest; it is protected again.
    """
    w = watched(start_run, "primary", with_qmp=False)
    oob = Qmp(w.guest.qmp, oob=True)
    what = w.disturb("within", w.primary, number)
    time.sleep(0.3)
    oob.command_oob("yank", instances=[{"type": "migration"}])
    oob.close()
    w.guest.free()
    w.check_counts()
    w.primary.kill()
    w.check_again()
    record_property(what, 1)


@pytest.mark.slow
def test_take_over_unasked(start_run):
    """Step: --on-peer-loss failover. The primary gives up, for the secondary hangs for longer than
    --hold; then, protected again, the guest's QEMU is killed.

    Verify: from a primary that lives nobody takes over, its guest runs on; from one whose QEMU is
    gone the standby does, and counts on.
    """
    colo = Colo(start_run(huge_mib()))
    guest, standby = colo.guest(**HEAVY), colo.standby()
    primary = colo.primary(*LIMITS, guest=guest)
    secondary = colo.secondary(*LIMITS, "--on-peer-loss", "failover", standby=standby)
    colo.protect(guest, primary, delay=DELAY_MS)
    wait_epochs(primary, 1)
    secondary.signal(signal.SIGSTOP)
    primary.wait_for("^WARNING: PROTECTION LOST", 10)
    secondary.signal(signal.SIGCONT)
    told = secondary.wait_for("gave the session up: .*; its guest runs on")
    secondary.wait_for("waiting to be told", after=told.end())
    wait_until("the guest is freed", guest.running)
    guest.wait_for_counter(guest.counter() + 3)
    colo.protect(guest, primary, delay=DELAY_MS)
    at_least = guest.counter()
    wait_settled(primary)
    guest.kill()
    primary.wait_for("the guest is gone with its QEMU")
    secondary.wait_for("takeover done in", 15)
    assert secondary.output().count("taking over") == 1
    check_goes_on(guest, standby, at_least)
    assert primary.alive(), primary.output()


@pytest.mark.slow
def test_migrate_at_once(start_run):
    """Step: x-colo-lost-heartbeat, and `migrate` as soon as the guest runs, again and again.

    Verify: it is protected each time, whatever the primary knew by then.
    """
    colo = Colo(start_run(huge_mib()), channels=4)
    guest = colo.guest()
    primary = colo.primary("--hold", 5000, guest=guest)
    colo.secondary("--hold", 5000)
    for n in range(8):
        colo.protect(guest, primary, delay=DELAY_MS, multifd=4 * (n % 2))
        time.sleep(0.02 * n)  # between two checkpoints, or within one
        guest.free()
    primary.wait_for("UNPROTECTED")
    assert primary.alive(), primary.output()
    assert gap(guest.lines()) is None


class Cut(Colo):
    """Session and datapath over one veth between two namespaces; QEMU beside the primary."""

    def __init__(self, run):
        super().__init__(run)
        self.a, self.b = run.namespace("a"), run.namespace("b")
        self.ends = veth(self.a, self.b, 9000, addresses=("10.98.0.1/24", "10.98.0.2/24"))

    def _in(self, namespace, role, interface, options):
        self._n += 1
        return self.run.program(f"{role}{self._n}", eal.af_packet(interface, 1),
                                ["--role", role, "--mtu", 4200, *options], namespace)

    def secondary(self, *options, **_):
        secondary = self._in(self.b, "secondary", self.ends[1],
                             ["--listen", f"10.98.0.2:{PORT}", "--block", "pc.ram,size=64M", *options])
        self.last["secondary"] = secondary
        secondary.wait_for(READY)
        return secondary

    def primary(self, *options, guest=None, **_):
        primary = self._in(self.a, "primary", self.ends[0], [
            "--connect", f"10.98.0.2:{PORT}",
            "--source", f"colo,listen={self.listen},qmp={guest.qmp}", *options])
        primary.wait_for(self.ready["primary"])
        return primary

    def wire(self, state):
        self.a.ip("link", "set", self.ends[0], state)


@pytest.mark.slow
@pytest.mark.parametrize("when", ["between", "within"])
def test_cut(start_run, record_property, when):
    """Step: the wire is cut, nobody says goodbye; it is mended. Verify: the guest is freed within
    --hold, and protected again by the same two.
    """
    colo = Cut(start_run(huge_mib() + 128))
    w = Watched(colo, True)
    if when == "within":
        w.pauses.wait_stop()
    else:
        wait_epochs(w.primary, 1)
    colo.wire("down")
    w.primary.wait_for("^WARNING: PROTECTION LOST: .*UNPROTECTED", 10)
    w.check_freed()
    colo.wire("up")
    w.check_again()
    record_property("faults.wire cut", 1)


# An abort from outside

def prompt(colo, guest):
    """A primary with a prompt."""
    p = Prompt(colo.run, eal.memif(colo.run, "server", 1), colo.run.secured([
        "--role", "primary", "--mtu", colo.mtu, "--connect", f"127.0.0.1:{colo.port}", "--hold", 5000,
        "--peer-timeout", 5000, "--source", f"colo,listen={colo.listen},qmp={guest.qmp}"]))
    p.wait_for(colo.ready["primary"])  # its prompt comes with the first QEMU
    return p


def ms_until(qmp, event, began):
    """From a time until the event, by the event's own time."""
    at = qmp.wait_event(event)["timestamp"]
    return (at["seconds"] + at["microseconds"] / 1e6 - began) * 1000


@pytest.mark.slow
def test_stop_between(start_run):
    """Step: `stop` while checkpoints go on. Verify: QEMU is out of COLO within 100 ms; the guest
    runs, and is protected again.
    """
    colo = Colo(start_run(huge_mib()))
    guest = colo.guest()
    p = prompt(colo, guest)
    secondary = colo.secondary("--peer-timeout", 5000)
    for _ in range(3):
        guest.protect(colo.listen, delay=DELAY_MS)
        p.wait_for(PROTECTED)
        p.wait_for(r"epoch \d+: ")
        guest.watch().command("query-status")
        guest.watch().events.clear()
        began = time.time()
        p.type("stop")
        assert ms_until(guest.watch(), "COLO_EXIT", began) < 100 + tolerance_ms() - 150
        p.wait_for("in order")
        assert guest.running() and guest.colo_mode() == "none"
    assert gap(guest.lines()) is None
    assert secondary.stop() == 0


@pytest.mark.slow
@pytest.mark.parametrize("how", ["stop", signal.SIGUSR1])
def test_abort_within(start_run, record_property, how):
    """Step: the secondary hangs, the guest stands still in a checkpoint; `stop`, or the signal.

    Verify: the guest runs within 100 ms; it is protected again.
    """
    colo = Colo(start_run(huge_mib()))
    guest = colo.guest(**HEAVY)
    p = prompt(colo, guest)
    secondary = colo.secondary("--peer-timeout", 5000)
    guest.protect(colo.listen, delay=DELAY_MS)
    p.wait_for(PROTECTED)
    p.wait_for(r"epoch \d+: ")
    secondary.signal(signal.SIGSTOP)
    wait_until("it stands still", lambda: not guest.running())
    time.sleep(0.2)
    assert not guest.running()
    guest.watch().events.clear()
    began = time.time()
    if how == "stop":
        p.child.sendline("stop")
    else:
        os.kill(p.child.pid, how)
    assert ms_until(guest.watch(), "RESUME", began) < 100 + tolerance_ms() - 150
    wait_until("it is out of COLO", lambda: guest.colo_mode() == "none")
    secondary.kill()
    colo.secondary("--peer-timeout", 5000)
    guest.protect(colo.listen, delay=DELAY_MS)
    p.wait_for(PROTECTED)
    assert gap(guest.lines()) is None
    record_property("hangs.secondary, in a checkpoint", 1)

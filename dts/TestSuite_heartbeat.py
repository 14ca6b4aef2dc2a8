# SPDX-License-Identifier: BSD-3-Clause
"""A cluster manager drives the primary's QEMU by QMP as it always did; only its migrate address is ours.

What it does to a pair: capabilities with events and pause-before-switchover, migrate, continue when
told, ask for the state's health again and again; and when it has decided that the peer is gone:
yank out of band, x-colo-lost-heartbeat. It decides: nothing of us takes over by itself.
"""
import signal
import time

import pytest

from framework.colo import (PROTECTED, Colo, check_goes_on, huge_mib, need_qemu11, take_over, wait_epochs,
                            wait_settled, wait_until)
from framework.colo_guest import MIGRATION
from framework.guest import gap
from framework.qmp import Qmp

DELAY_MS = 200
LIMITS = ["--hold", 2000]


@pytest.fixture(autouse=True)
def qemu11():
    need_qemu11()


class Manager:
    """Its QMP connection; out-of-band commands are enabled, as it needs them to yank."""

    def __init__(self, guest):
        self.guest = guest
        self.qmp = Qmp(guest.qmp, oob=True)

    def start(self, uri, multifd):
        """Replication begins: QEMU stops before the switchover for disks to be made ready."""
        capabilities = {"events": True, "x-colo": True, "return-path": True, "multifd": multifd > 0,
                        "pause-before-switchover": True}
        self.qmp.command("migrate-set-capabilities", capabilities=[
            {"capability": name, "state": state} for name, state in capabilities.items()])
        channels = {"multifd-channels": multifd} if multifd else {}
        self.qmp.command("migrate-set-parameters", **MIGRATION, **channels,
                         **{"x-checkpoint-delay": DELAY_MS})
        self.qmp.events.clear()
        self.qmp.command("migrate", uri=uri)
        self.wait_migration("pre-switchover")
        assert not self.guest.running()
        time.sleep(0.3)  # it looks after its disks
        self.qmp.command("migrate-continue", state="pre-switchover")
        self.wait_migration("colo")

    def wait_migration(self, status):
        while True:
            event = self.qmp.wait_event("MIGRATION", 20)
            assert event["data"]["status"] not in ("failed", "cancelled"), event
            if event["data"]["status"] == status:
                return

    def health(self):
        """What it asks for every second or so."""
        return (self.qmp.command("query-status")["status"],
                self.qmp.command("query-colo-status")["mode"],
                self.qmp.command("query-migrate")["status"])

    def peer_lost(self):
        """It has decided: the guest goes on alone."""
        self.qmp.events.clear()
        self.qmp.command_oob("yank", instances=[{"type": "migration"}])
        self.qmp.command("x-colo-lost-heartbeat")
        self.qmp.wait_event("COLO_EXIT")
        wait_until("the guest runs alone", lambda: self.guest.running()
                   and self.guest.colo_mode() == "none")


@pytest.mark.slow
@pytest.mark.parametrize("multifd", [0, 4])
def test_peer_lost(start_run, multifd):
    """Step: start, watch, say twice that the peer is lost, start again. Verify: each step's events
    come; the guest runs on; the secondary holds a checkpoint and takes nothing over.
    """
    colo = Colo(start_run(huge_mib()), channels=max(1, multifd))
    guest, standby = colo.guest(), colo.standby()
    primary = colo.primary(*LIMITS)
    secondary = colo.secondary(*LIMITS, standby=standby)
    manager = Manager(guest)
    for _ in range(3):
        seen, seen_there = len(primary.output()), len(secondary.output())
        manager.start(colo.listen, multifd)
        primary.wait_for(PROTECTED, after=seen)
        for _ in range(4):
            status, mode, migration = manager.health()
            assert status in ("running", "colo", "finish-migrate", "paused"), status
            assert (mode, migration) == ("primary", "colo")
            time.sleep(0.1)
        wait_epochs(primary, 2)
        manager.peer_lost()
        primary.wait_for("UNPROTECTED|unprotected", after=seen)
        secondary.wait_for("guest memory holds checkpoint|ended the session", after=seen_there)
        guest.wait_for_counter(guest.counter() + 5)
        assert primary.alive() and secondary.alive()
    assert gap(guest.lines()) is None
    assert standby.lines() == []


@pytest.mark.slow
def test_failover_is_told(start_run):
    """Step: the primary's QEMU is killed; some time passes; the manager tells the secondary.

    Verify: nothing happens before it is told; then the standby counts on.
    """
    colo = Colo(start_run(huge_mib()))
    guest, standby = colo.guest(), colo.standby()
    primary = colo.primary(*LIMITS, guest=None)
    secondary = colo.secondary(*LIMITS, standby=standby)
    Manager(guest).start(colo.listen, 0)
    primary.wait_for(PROTECTED)
    at_least = guest.counter()
    wait_settled(primary)
    guest.kill()
    secondary.wait_for("waiting to be told")
    time.sleep(3)
    assert standby.lines() == [] and secondary.alive()
    take_over(secondary, standby)
    check_goes_on(guest, standby, at_least)


@pytest.mark.slow
def test_parameters_while_protected(start_run):
    """Step: x-checkpoint-delay is changed while checkpoints go on.

    Verify: their rate follows.
    """
    colo = Colo(start_run(huge_mib()))
    guest = colo.guest()
    primary = colo.primary(*LIMITS)
    colo.secondary(*LIMITS)
    manager = Manager(guest)
    manager.start(colo.listen, 0)
    primary.wait_for(PROTECTED)
    manager.qmp.command("migrate-set-parameters", **{"x-checkpoint-delay": 50})
    began = time.monotonic()
    wait_epochs(primary, 11)
    assert time.monotonic() - began < 11 * DELAY_MS / 1000
    manager.qmp.command("migrate-set-parameters", **{"x-checkpoint-delay": 60000})
    time.sleep(0.5)
    seen = len(primary.output())
    time.sleep(1)
    assert "epoch" not in primary.output()[seen:]

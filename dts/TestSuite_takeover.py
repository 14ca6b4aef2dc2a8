# SPDX-License-Identifier: BSD-3-Clause
"""The primary's QEMU is killed while it streams COLO: the standby goes on from the last checkpoint.

The guest counts on its serial line and adds up its memory each turn, the VGA's included: after each
takeover the counter has no gap, goes on from a checkpoint that is not too old, and the sum is right.
"""
import random
import signal
import time

import images
import pytest

from framework.colo import (PROTECTED, Colo, Pauses, check_goes_on, huge_mib, need_qemu11, take_over,
                            wait_epochs, wait_settled, wait_until)
from framework.colo_guest import ColoGuest
from framework.guest import BLOCK
from framework.hardware import Hardware
from framework.relay import RECEIVED, REPLY, Relay

DELAY_MS = 200
VGA = Hardware(vga=True)
HEAVY = {"pages": 2500, "dirty": 1200}  # a checkpoint takes long enough to be killed in
MULTIFD = [{}, {"multifd": 4}, {"multifd": 2, "compression": "zstd"}]
HOLD = ["--hold", 5000]


@pytest.fixture(autouse=True)
def qemu11():
    need_qemu11()


class Turn:
    """One guest, its standby and secondary; the primary's dpdk-colo is there for all turns."""

    def __init__(self, colo, n, hardware=None, **guest):
        self.colo = colo
        self.guest = colo.guest(f"guest{n}", **guest)
        self.standby = colo.standby(f"standby{n}", **guest)
        self.secondary = None
        self.relay = Relay(colo.run, f"relay{n}", colo.listen.partition(":")[2])

    def protect(self, primary, **kwargs):
        """@return a counter that no checkpoint from now on is older than."""
        self.secondary = self.colo.secondary(*HOLD, standby=self.standby)
        self.colo.protect(self.guest, primary, self.relay.uri(), delay=DELAY_MS, **kwargs)
        printed = self.guest.counter()
        wait_settled(primary)
        return printed

    def close(self):
        """What the next turn must not find in its way."""
        for process in (self.guest, self.standby, self.secondary):
            process.kill()
        for end in (self.guest, self.standby):
            end.ram.unlink(missing_ok=True)


def between(turn, _):
    """Killed while the guest runs."""
    pauses = Pauses(turn.guest)
    pauses.wait_resume()
    time.sleep(random.uniform(0, 0.8) * DELAY_MS / 1000)
    turn.guest.kill()


def within(turn, _):
    """Killed while the guest stands still."""
    Pauses(turn.guest).wait_stop()
    time.sleep(random.uniform(0, 0.025))
    turn.guest.kill()


def unacknowledged(turn, _):
    """Killed when the checkpoint is committed and QEMU does not know yet."""
    turn.relay.hold(RECEIVED)
    turn.relay.wait_held()
    turn.guest.kill()


def uncommitted(turn, primary):
    """Killed when the whole device buffer is sent, and the secondary could not commit it yet."""
    wait_epochs(primary, 1)
    turn.secondary.signal(signal.SIGSTOP)
    Pauses(turn.guest).wait_stop()
    turn.relay.wait_silent(0.15)
    said = [word for _, word in turn.relay.said]
    assert said[-1] == REPLY, f"QEMU was told {said[-1]} of what was not committed"
    turn.guest.kill()
    time.sleep(random.uniform(0, 0.05))
    turn.secondary.signal(signal.SIGCONT)


PLACES = {between: "between checkpoints", within: "in a checkpoint",
          unacknowledged: "committed, not told", uncommitted: "sent, not committed"}


@pytest.mark.parametrize("moment,kills", [
    pytest.param(between, 6, marks=pytest.mark.slow), pytest.param(within, 8, marks=pytest.mark.slow),
    pytest.param(unacknowledged, 4, marks=pytest.mark.slow),
    pytest.param(uncommitted, 4, marks=pytest.mark.slow)], ids=lambda p: getattr(p, "__name__", str(p)))
def test_killed(start_run, record_property, moment, kills):
    """Step: so often, QEMU is killed at that moment. Verify: the standby counts on each time."""
    colo = Colo(start_run(huge_mib(VGA.total_mib())), VGA, channels=4)
    primary = colo.primary(*HOLD)
    for n in range(kills):
        turn = Turn(colo, n, **(HEAVY if moment is not between else {}))
        at_least = turn.protect(primary, **MULTIFD[n % len(MULTIFD)])
        moment(turn, primary)
        if moment is unacknowledged:  # nothing was printed since: it goes on from exactly here
            at_least = turn.guest.counter() + 1
        take_over(turn.secondary, turn.standby)
        check_goes_on(turn.guest, turn.standby, at_least)
        turn.close()
        if not primary.alive():
            primary = colo.primary(*HOLD)
    assert primary.stop() in (0, 3, 4), primary.output()
    record_property(f"kills.guest, {PLACES[moment]}", kills)
    record_property("takeovers", kills)


@pytest.mark.slow
@pytest.mark.parametrize("multifd", [0, 4])
def test_precopy_state(start_run, record_property, multifd):
    """Step: killed before the first checkpoint. Verify: the standby goes on from precopy's state."""
    colo = Colo(start_run(huge_mib(VGA.total_mib())), VGA, channels=4)
    primary = colo.primary(*HOLD)
    guest, standby = colo.guest(), colo.standby()
    at_least = guest.counter()
    secondary = colo.secondary(*HOLD, standby=standby)
    colo.protect(guest, primary, multifd=multifd, delay=600000)
    pauses = Pauses(guest)
    time.sleep(0.3)
    guest.kill()
    assert pauses.events == []
    take_over(secondary, standby)
    check_goes_on(guest, standby, at_least)
    record_property("kills.guest, between checkpoints", 1)
    record_property("takeovers", 1)


@pytest.mark.slow
def test_no_state(start_run, record_property):
    """Step: killed in the middle of precopy. Verify: nothing can take over, and that is said; the
    next guest is protected.
    """
    colo = Colo(start_run(huge_mib()))
    primary = colo.primary(*HOLD)
    guest, standby = colo.guest(), colo.standby()
    secondary = colo.secondary(*HOLD, standby=standby)
    guest.protect(colo.listen, **{"max-bandwidth": 2 << 20})
    primary.wait_for("secondary connected: full copy begins")
    time.sleep(0.5)
    guest.kill()
    secondary.wait_for("no checkpoint was committed")
    secondary.signal(signal.SIGUSR1)
    secondary.wait_for("no takeover: ")
    if not primary.alive():
        primary = colo.primary(*HOLD)
    guest = colo.guest("next")
    colo.protect(guest, primary, delay=DELAY_MS)
    wait_settled(primary)
    at_least = guest.counter()
    wait_settled(primary)
    guest.kill()
    take_over(secondary, standby, seen=secondary.output().rindex("PROTECTED") if
              "PROTECTED" in secondary.output() else 0)
    check_goes_on(guest, standby, at_least)
    record_property("kills.guest, in precopy", 1)
    record_property("kills.guest, between checkpoints", 1)
    record_property("takeovers", 1)


@pytest.mark.slow
def test_third_standby(start_run, record_property):
    """Step: the standby that took over is protected, killed, and so is the next one.

    Verify: the counter has no gap, over all of them.
    """
    colo = Colo(start_run(2 * huge_mib(VGA.total_mib())), VGA, channels=4)
    primary = colo.primary(*HOLD)
    guest = colo.guest()
    for n in range(3):
        standby = colo.standby(f"standby{n}")
        secondary = colo.secondary(*HOLD, standby=standby)
        colo.protect(guest, primary, multifd=4 * (n % 2), delay=DELAY_MS)
        at_least = guest.counter()
        wait_settled(primary)
        guest.kill()
        take_over(secondary, standby)
        check_goes_on(guest, standby, at_least)
        guest = standby
        if not primary.alive():
            primary = colo.primary(*HOLD)
    record_property("kills.guest, between checkpoints", 3)
    record_property("takeovers", 3)


@pytest.mark.slow
def test_linux(start_run, record_property):
    """Step: a Linux guest over multifd with zstd, killed. Verify: the standby counts on."""
    run = start_run(huge_mib(256))
    colo = Colo(run, Hardware(mib=256), channels=4)
    guest, standby = [run.guest(name, run.ram_file(f"{name}.ram"), kind=ColoGuest,
                                binary=images.qemu11(), standby=name == "standby")
                      for name in ("guest", "standby")]
    wait_until("the guest boots", lambda: guest.counter() >= 5, 60)
    primary = colo.primary(*HOLD, guest=guest)
    secondary = colo.secondary(*HOLD, standby=standby)
    colo.protect(guest, primary, multifd=4, compression="zstd", delay=DELAY_MS)
    at_least = guest.counter()
    wait_settled(primary)
    wait_epochs(primary, 3)
    guest.kill()
    take_over(secondary, standby)
    check_goes_on(guest, standby, at_least)
    record_property("kills.guest, between checkpoints", 1)
    record_property("takeovers", 1)

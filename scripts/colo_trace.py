# SPDX-License-Identifier: BSD-3-Clause
"""What QEMU's own trace of a COLO primary says about its checkpoints, and statistics of it."""
import dataclasses
import datetime
import math
import re
import statistics

LINE = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6})Z (\w+) ?(.*)$", re.M)
QUOTED = re.compile(r"'([^']*)'")
OVER = ("failed", "cancelled", "completed")
SYNC_PERIOD_S = 1.0  # QEMU adds dirty pages up, and forgets the sum after this


@dataclasses.dataclass
class Checkpoint:
    """Of the primary, in ms.

    pause: the guest was stopped .. it runs again. transfer: `vmstate-send` was sent ..
    `vmstate-received` came. pages: found dirty by the checkpoint.
    """
    pause: float
    transfer: float
    pages: int


def events(text):
    """[(seconds, name, what it says)], whole lines only."""
    whole = text[:text.rfind("\n") + 1]
    return [(datetime.datetime.fromisoformat(at).timestamp(), name, rest)
            for at, name, rest in LINE.findall(whole)]


class _DirtyPages:
    """New dirty pages of each sync, from sums that QEMU starts anew about once a second."""

    def __init__(self):
        self.sum = 0
        self.began = None

    def new(self, at, pages):
        self.began = at if self.began is None else self.began
        new = pages - self.sum if pages >= self.sum else pages
        self.sum = pages
        if at - self.began > SYNC_PERIOD_S:
            self.sum, self.began = 0, at
        return new


def checkpoints(text):
    """@return the whole checkpoints, in their order, all others (a failover) left out."""
    found, dirty, at = [], _DirtyPages(), {}
    for now, name, rest in events(text):
        quoted = tuple(QUOTED.findall(rest))
        if name == "migration_bitmap_sync_end":
            at["pages"] = dirty.new(now, int(rest.split()[-1]))
        elif name == "colo_vm_state_change" and quoted == ("run", "stop"):
            at = {"stop": now}
        elif name in ("colo_send_message", "colo_receive_message") and quoted:
            at[quoted[0]] = now
        elif name == "colo_vm_state_change" and quoted == ("stop", "run"):
            if {"stop", "vmstate-send", "vmstate-received", "vmstate-loaded", "pages"} <= at.keys():
                transfer = at["vmstate-received"] - at["vmstate-send"]
                found.append(Checkpoint((now - at["stop"]) * 1e3, transfer * 1e3, at["pages"]))
            at = {}
    return found


def end_of_migration(text):
    """@return the state in which QEMU's migration ended, or None: it goes on."""
    states = [rest.split()[-1] for _, name, rest in events(text) if name == "migrate_set_state"]
    return states[-1] if states and states[-1] in OVER else None


def percentile(values, percent):
    """Nearest rank: of fewer than 100 values, the 99th is the largest."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def summary(values):
    """Of at least one value."""
    return {"mean": statistics.fmean(values), "p50": percentile(values, 50),
            "p99": percentile(values, 99), "max": max(values), "stddev": statistics.pstdev(values)}

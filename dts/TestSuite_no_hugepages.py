# SPDX-License-Identifier: BSD-3-Clause
"""A machine without huge pages: slower, and it says how to reserve some, but it works."""
from framework import eal
from framework.report import check_verified

EPOCHS = 3


class Hidden:
    """A mount namespace that shows no huge pages, used like a network namespace."""

    @staticmethod
    def command(*command):
        hide = "mount -t tmpfs none /sys/kernel/mm/hugepages && exec \"$@\""
        return ["unshare", "-m", "sh", "-c", hide, "sh", *command]


def test_falls_back_with_a_warning(start_run):
    """Step: a pair where no huge pages are seen. Verify: it warned, all checkpoints verified."""
    run = start_run()
    pair = run.program("pair", eal.pair(1), [
        "--role", "pair", "--channels", 1, "--source", "synthetic,size=16M,dirty=200", "--epochs",
        EPOCHS, "--interval", 0, "--verify", "--json", run.dir / "pair.json"], Hidden)
    assert pair.wait(60) == 0, pair.output()
    assert "WARNING: no free hugepages: going on with --no-huge" in pair.output()
    assert "/proc/sys/vm/nr_hugepages" in pair.output()
    check_verified(run.json("pair.json"), EPOCHS)


def test_two_processes_side_by_side(start_run):
    """Step: secondary and primary, neither sees huge pages. Verify: both start, they talk."""
    run = start_run()
    listen = f"127.0.0.1:{run.port()}"
    secondary = run.program("secondary", eal.null(1), [
        "--role", "secondary", "--listen", listen, "--block", "ram,size=16M"], Hidden)
    primary = run.program("primary", eal.null(1), [
        "--role", "primary", "--connect", listen, "--block", "ram,size=32M", "--source",
        "synthetic,dirty=1"], Hidden)
    assert primary.wait(30) == 1, primary.output()
    assert "the secondary refuses" in primary.output(), primary.output()
    assert secondary.stop() == 0, secondary.output()

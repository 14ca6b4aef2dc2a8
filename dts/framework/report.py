# SPDX-License-Identifier: BSD-3-Clause
"""What --json must look like, and what every run that went well says in it."""

EPOCH = ["epoch", "pages", "zero_pages", "wire_bytes", "pause_us", "transfer_us", "commit_us",
         "flush_us", "resent"]
TIMES = ["pause_us", "transfer_us", "commit_us", "flush_us"]
SUMMARY = ["epochs", "verified", "mismatches", *TIMES, "gbytes_per_s"]
STATISTICS = ["mean", "p50", "p99", "max", "stddev"]


def check_shape(report):
    """Exactly the keys that are promised, in epochs and summary."""
    for epoch in report["epochs"]:
        assert list(epoch) == EPOCH
        assert all(type(n) is int and n >= 0 for n in epoch.values()), epoch
    summary = report["summary"]
    assert list(summary) == SUMMARY
    for name in TIMES:
        assert list(summary[name]) == STATISTICS
        assert summary[name]["p50"] <= summary[name]["p99"] <= summary[name]["max"]
        assert summary[name]["max"] == max((e[name] for e in report["epochs"]), default=0)


def check_verified(report, epochs):
    """`epochs` checkpoints were taken, one after the other, each of them compared and the same."""
    check_shape(report)
    numbers = [e["epoch"] for e in report["epochs"]]
    assert len(numbers) == epochs
    assert numbers == list(range(numbers[0], numbers[0] + epochs)) if epochs else True
    summary = report["summary"]
    assert (summary["epochs"], summary["verified"], summary["mismatches"]) == (epochs, epochs, 0)


def resent(report):
    return sum(e["resent"] for e in report["epochs"])


def counters(report, end):
    """{channel: counters} of one end, `send` or `receive`."""
    return {c["channel"]: c["counters"] for c in report["channels"] if c["end"] == end}


def total(report, end, name):
    """A counter, over all channels of one end."""
    return sum(c[name] for c in counters(report, end).values())


def sessions(report, end):
    """What became of the sessions of `primary` or `secondary`: sessions, full_copies, resumed, aborted."""
    return next(s for s in report["sessions"] if s["end"] == end)


def fault_counts(*reports):
    """{kind: frames} that --fault harmed, over all queues of all reports."""
    kinds = ("dropped", "bursts", "duplicated", "reordered", "flipped")
    return {kind: sum(q[kind] for r in reports for q in r["faults"]) for kind in kinds}

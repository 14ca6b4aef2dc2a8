# SPDX-License-Identifier: BSD-3-Clause
"""scripts/bench-qemu: what it reads out of QEMU's trace, its statistics, and one short run."""
import json
import subprocess

import pytest

import colo_env as env
import colo_trace
import images

BENCH = env.ROOT / "scripts" / "bench-qemu"


def at(seconds, text):
    return f"2026-01-01T00:00:{seconds:09.6f}Z {text}\n"


def checkpoint(start, pages, until="run"):
    """The trace of one: stopped at `start`, transfer 40 ms, pause 90 ms."""
    text = (at(start, "colo_send_message Send 'checkpoint-request' message")
            + at(start + 0.001, "colo_receive_message Receive 'checkpoint-reply' message")
            + at(start + 0.002, "colo_vm_state_change Change 'run' => 'stop'")
            + at(start + 0.010, "colo_send_message Send 'vmstate-send' message")
            + at(start + 0.011, f"migration_bitmap_sync_end dirty_pages {pages}")
            + at(start + 0.048, "colo_send_message Send 'vmstate-size' message")
            + at(start + 0.050, "colo_receive_message Receive 'vmstate-received' message"))
    if until == "run":
        text += (at(start + 0.090, "colo_receive_message Receive 'vmstate-loaded' message")
                 + at(start + 0.092, "colo_vm_state_change Change 'stop' => 'run'"))
    return text


def test_checkpoints_of_a_trace():
    """Step: two checkpoints. Verify: pause and transfer of each; precopy's stop and run is none."""
    text = (at(0.1, "migration_bitmap_sync_end dirty_pages 5000")
            + at(0.2, "colo_vm_state_change Change 'stop' => 'run'")
            + checkpoint(1, 100) + checkpoint(3, 70))
    found = colo_trace.checkpoints(text)
    assert [round(c.pause, 3) for c in found] == [90.0, 90.0]
    assert [round(c.transfer, 3) for c in found] == [40.0, 40.0]


def test_a_checkpoint_that_a_failover_ended_does_not_count():
    """Step: one that no answer came to, then a run. Verify: it is left out; a cut line is as well."""
    text = checkpoint(1, 100) + checkpoint(2, 5, until="loss") + at(
        2.5, "colo_vm_state_change Change 'stop' => 'run'")
    assert len(colo_trace.checkpoints(text)) == 1
    assert len(colo_trace.checkpoints(checkpoint(1, 100)[:-1])) == 0


def test_pages_are_not_a_sum():
    """Step: QEMU adds pages up for a second. Verify: pages of each checkpoint."""
    text = "".join(checkpoint(*c) for c in [
        (1.0, 900), (1.6, 1000), (2.2, 1100), (2.8, 300), (3.4, 700), (4.0, 250)])
    # sums are forgotten at 2.2 (1.2 s after the first) and at 3.4
    assert [c.pages for c in colo_trace.checkpoints(text)] == [900, 100, 100, 300, 400, 250]


@pytest.mark.parametrize("states,end", [
    (["active", "colo"], None), (["active", "failed"], "failed"), (["failed", "active"], None), ([], None)])
def test_end_of_migration(states, end):
    """Step: QEMU's states. Verify: only a last one that ends it counts."""
    text = "".join(at(1, f"migrate_set_state new state {state}") for state in states)
    assert colo_trace.end_of_migration(text) == end


@pytest.mark.parametrize("values,percent,expected", [
    ([5], 99, 5), ([5], 50, 5), (range(1, 100), 99, 99), (range(1, 101), 99, 99),
    (range(1, 102), 99, 100), ([3, 1, 2, 4], 50, 2)])
def test_percentile(values, percent, expected):
    """Step: nearest rank. Verify: around 100 values, where the 99th stops being the largest."""
    assert colo_trace.percentile(values, percent) == expected


def bench(*arguments):
    return subprocess.run([BENCH, *arguments], stdin=subprocess.DEVNULL, text=True, timeout=170,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)


@pytest.mark.parametrize("arguments,words", [
    (["--only", "qemu,fast"], "--only takes words of"),
    (["--only", "qemu,unix"], "leaves nothing to measure"),
    (["--turns", "0"], "accepted: --turns 1.."),
    (["--checkpoints", "0"], "--checkpoints 1..")])
def test_bad_arguments(arguments, words):
    """Step: arguments that make no sense. Verify: one sentence, before anything is started."""
    done = bench(*arguments)
    assert done.returncode == 2 and words in done.stdout


@pytest.mark.slow
def test_qemu_to_qemu(tmp_path):
    """Step: QEMU by itself, a few checkpoints. Verify: the table, and as many in JSON and CSV."""
    images.qemu11()
    done = bench("--only", "nodelay,plain,idle", "--turns", "1", "--checkpoints", "3",
                 "--json", tmp_path / "j", "--csv", tmp_path / "c")
    assert done.returncode == 0, done.stdout
    assert "| idle | QEMU, TCP_NODELAY, plain |" in done.stdout
    run, = json.loads((tmp_path / "j").read_text("utf-8"))["runs"]
    assert run["checkpoints"] == len(run["each"]) == 3
    assert all(0 < c["transfer"] < c["pause"] < 600 and c["pages"] > 100 for c in run["each"])
    assert len((tmp_path / "c").read_text("ascii").splitlines()) == 4

# SPDX-License-Identifier: BSD-3-Clause
"""scripts/quickstart, the main job, as a user runs it."""
import os
import pathlib
import re
import signal
import subprocess
import time

import pytest

import colo_env as env

QUICKSTART = env.ROOT / "scripts" / "quickstart"


def left_behind():
    """What a run could leave: files in memory, huge pages' mounts, folders, processes."""
    mounts = pathlib.Path("/proc/self/mounts").read_text("ascii")
    programs = subprocess.run(["pgrep", "-s", str(os.getsid(0)), "-f", "dpdk-colo --"], check=False,
                              stdout=subprocess.PIPE, text=True).stdout
    return mounts.count("/run/dpdk-colo/huge."), programs


def run_quickstart(*arguments):
    return subprocess.run([QUICKSTART, *arguments], stdin=subprocess.DEVNULL, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=170, check=False)


def verify(done, checkpoints):
    assert done.returncode == 0, done.stdout
    assert len(re.findall(r"epoch \d+: .*pages.*pause.*transfer.*commit.*flush", done.stdout)) >= checkpoints
    closing = done.stdout.rstrip().splitlines()[-1]
    found = re.match(r"The guest was killed after COUNTER (\d+); the standby went on with COUNTER (\d+), "
                     r"from checkpoint \d+, to (\d+) without a gap .*takeover took ([\d.]+) ms", closing)
    assert found, closing
    killed, first, last, _ = (float(n) for n in found.groups())
    assert first <= killed + 1 and last >= first + 19


def test_takeover():
    """Step: run it as it is. Verify: status 0, a line for each checkpoint, the closing line."""
    verify(run_quickstart("--checkpoints", "5"), 5)


@pytest.mark.slow
def test_takeover_zstd_two_channels():
    """Step: compressed, over two channels. Verify: the same."""
    verify(run_quickstart("--checkpoints", "5", "--codec", "zstd", "--channels", "2"), 5)


@pytest.mark.slow
def test_takeover_qemu11():
    """Step: with QEMU 11, unmodified as well. Verify: the same."""
    import images
    verify(run_quickstart("--checkpoints", "5", "--qemu", str(images.qemu11())), 5)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.5, 3, 6])
def test_interrupted(seconds, tmp_path):
    """Step: Ctrl-C while it builds, boots, takes checkpoints. Verify: nothing is left behind."""
    before = left_behind()
    (tmp_path / "tmp").mkdir()
    process = subprocess.Popen([QUICKSTART], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True,
                               env={**os.environ, "TMPDIR": str(tmp_path / "tmp")})
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 130, output
    assert list((tmp_path / "tmp").iterdir()) == []
    assert left_behind() == before

# SPDX-License-Identifier: BSD-3-Clause
"""scripts/qemu-colo, as a user runs it."""
import re
import subprocess

import pytest

import colo_env as env
import images

SCRIPT = env.ROOT / "scripts" / "qemu-colo"


def run_script(*arguments):
    return subprocess.run([SCRIPT, *arguments], stdin=subprocess.DEVNULL, text=True, timeout=280,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)


def verify(done, checkpoints):
    assert done.returncode == 0, done.stdout
    lines = re.findall(r"epoch \d+: .*pages.*pause.*transfer.*commit.*flush", done.stdout)
    assert len(lines) >= 4 * checkpoints
    assert done.stdout.count("takeover done in") == 2
    assert done.stdout.count("PROTECTION LOST") >= 2
    closing = done.stdout.rstrip().splitlines()[-1]
    assert re.match(r"The guest counted to \d+ without a gap and with its checksum right: two secondaries "
                    r"were killed .*, and two QEMUs", closing), closing


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [[], ["--multifd", "0"], ["--multifd", "2", "--compression", "zstd"]],
                         ids=["multifd-4", "plain", "multifd-2-zstd"])
def test_all_of_it(arguments):
    """Step: run it. Verify: status 0, checkpoints of each protection, the closing line."""
    images.qemu11()
    verify(run_script("--checkpoints", "3", *arguments), 3)


@pytest.mark.parametrize("arguments", [
    ["--checkpoints", "1"], ["--interval", "49"], ["--multifd", "17"], ["--channels", "17"]])
def test_bad_arguments(arguments):
    """Step: one beyond what is accepted. Verify: one sentence, before anything is started."""
    done = run_script(*arguments)
    assert done.returncode == 2 and "accepted: --checkpoints 2.." in done.stdout

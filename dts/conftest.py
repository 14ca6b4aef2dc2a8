# SPDX-License-Identifier: BSD-3-Clause
"""What pytest gives every suite: the paths, and `start_run`, whose runs are always cleaned up."""
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
for folder in (HERE, HERE.parent / "scripts"):
    sys.path.insert(0, str(folder))

from framework.run import Run  # noqa: E402


@pytest.fixture
def start_run():
    """start_run(huge_mib) -> Run, closed when the test is over, however it ends."""
    runs = []

    def start(huge_mib=0):
        runs.append(Run(huge_mib))
        return runs[-1]

    yield start
    for run in runs:
        run.close()

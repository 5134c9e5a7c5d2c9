"""kill -9 of Spark's executors on RayDP, again and again: no row is lost or counted twice.

It takes eight minutes on two cores, so that it runs when asked for: ``make test ARGS="-m slow"``.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("spark_under_fire.py")


def processes_of(folder):
    """Return the processes that name the folder, Ray's daemons among them."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if str(folder).encode() in (process / "cmdline").read_bytes():
                found.append(int(process.name))
    return found


@pytest.fixture
def folder():
    folder = Path(tempfile.mkdtemp(prefix="cl-kill-"))  # short: a socket's path has a limit
    yield folder
    for process in processes_of(folder):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    shutil.rmtree(folder)


@pytest.mark.ray
@pytest.mark.spark
@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_no_row_is_lost_or_counted_twice(folder):
    run = subprocess.run(
        [sys.executable, PROGRAM, folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-4000:]
    assert "20 killed" in run.stdout
    assert processes_of(folder) == []

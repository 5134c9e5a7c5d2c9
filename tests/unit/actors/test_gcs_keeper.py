"""What a keeper of the GCS reads in the table of processes, with a stand-in for Ray's programs."""

import os
import shutil
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from closedloop.actors import gcs_keeper
from closedloop.actors.gcs_keeper import find_head

PATIENCE_S = 60


@pytest.fixture
def programs(tmp_path):
    """Ray's two programs, as far as a keeper sees them: they run until they are ended."""
    for name in ("gcs_server", "raylet"):
        shutil.copy(shutil.which("tail"), tmp_path / name)
    (tmp_path / "session").mkdir()
    return tmp_path


@contextmanager
def running(programs, name, *words):
    # `tail` takes no option that it does not know, but any file to follow.
    with subprocess.Popen(
        [str(programs / name), "-F", "--", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"RAY_gcs_storage": "rocksdb"},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def head(programs, port):
    folder = programs / "session"
    session = f"--session-name=session of {port}"
    with ExitStack() as both:
        gcs = both.enter_context(
            running(
                programs, "gcs_server", "--gcs_server_port=0", session, f"--session-dir={folder}"
            )
        )
        raylet = both.enter_context(
            running(programs, "raylet", f"--gcs-address=127.0.0.1:{port}", session, "--head")
        )
        yield gcs, raylet


def until(condition, what):
    pause = threading.Event()
    for _ in range(PATIENCE_S * 20):
        if found := condition():
            return found
        pause.wait(0.05)
    raise AssertionError(what)


@contextmanager
def keeper_of(port):
    command = [sys.executable, "-I", "-S", gcs_keeper.__file__, str(port)]
    with subprocess.Popen(command) as keeper:
        try:
            yield keeper
        finally:
            keeper.kill()


def children(process):
    return Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()


def test_the_head_of_a_port_is_found_among_others(programs):
    with head(programs, 70001) as (gcs, raylet), head(programs, 70002):
        found = until(lambda: find_head(70001), "no head")
        assert (found.gcs, found.raylet) == (gcs.pid, raylet.pid)
        assert "--gcs_server_port=70001" in found.command
        assert found.environment["RAY_gcs_storage"] == "rocksdb"
        assert find_head(70003) is None


def test_a_killed_gcs_is_started_again_each_time_and_ends_with_the_raylet(programs):
    with head(programs, 70004) as (gcs, raylet), keeper_of(70004) as keeper:
        until(lambda: (programs / "session/gcs_keeper.lock").exists(), "it finds no head")
        gcs.kill()
        gcs.wait()
        (first,) = until(lambda: children(keeper), "no other GCS")
        os.kill(int(first), 9)
        (second,) = until(lambda: _others(children(keeper), first), "no third GCS")
        raylet.kill()
        raylet.wait()
        assert keeper.wait(PATIENCE_S) == 0
        assert not Path(f"/proc/{second}").exists()


def _others(found, known):
    return [each for each in found if each != known]


def test_a_second_keeper_leaves_the_gcs_to_the_first(programs):
    with head(programs, 70005) as (gcs, _), keeper_of(70005) as first:
        until(lambda: (programs / "session/gcs_keeper.lock").exists(), "it finds no head")
        until(lambda: _locked(programs / "session/gcs_keeper.lock"), "it does not hold the lock")
        with keeper_of(70005) as second:
            assert second.wait(PATIENCE_S) == 0
        assert first.poll() is None
        assert gcs.poll() is None


def _locked(file):
    import fcntl

    with file.open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False

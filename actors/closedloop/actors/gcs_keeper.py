"""Starts Ray's GCS again when it dies, since nothing in Ray does so on the head's machine.

The GCS holds what the cluster is: nodes, actors, jobs, Serve's own checkpoint. Where it keeps that
outside its memory (`closedloop.actors.gcs_state`), one that was started again with the same
arguments, on the same port, is found by the raylets, and everything goes on. They look for it for
a minute (``RAY_gcs_rpc_server_reconnect_timeout_s``), then they end.

    python gcs_keeper.py PORT

The keeper finds the GCS of that port, ends when the head's raylet has ended, and takes along the
GCS that it started. `ray stop` ends the raylet first, so it ends that way. A keeper that is killed
takes nothing along, and a second one for the same GCS ends at once. It runs by path and needs the
standard library only.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_FOUND_S = 30.0
_PAUSE_S = 0.2
_AGAIN_S = 1.0  # between starts of a GCS that ends at once
_END_S = 10.0  # that the GCS may take to end


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """The head's processes of one cluster, and how its GCS was started."""

    raylet: int
    gcs: int
    session_folder: str
    command: tuple[str, ...]
    environment: dict[str, str]


def restart_command(words: Sequence[str], port: int) -> tuple[str, ...]:
    """Return a GCS's command with the port that it really has.

    Examples
    --------
    >>> restart_command(["/ray/gcs_server", "--gcs_server_port=0", "--node-id=a"], 6379)
    ('/ray/gcs_server', '--gcs_server_port=6379', '--node-id=a')
    """
    name = "--gcs_server_port="
    return tuple(f"{name}{port}" if word.startswith(name) else word for word in words)


def find_head(port: int) -> Head | None:
    """Return the head whose GCS listens on a port; None where there is none of this user."""
    running = {int(place.name): _words(place) for place in Path("/proc").glob("[0-9]*")}
    for raylet, words in running.items():
        about = _options(words)
        if not _is(words, "raylet") or "--head" not in words:
            continue
        if about.get("--gcs-address", "").rpartition(":")[2] != str(port):
            continue
        for gcs, others in running.items():
            theirs = _options(others)
            if _is(others, "gcs_server") and theirs["--session-name"] == about["--session-name"]:
                return Head(
                    raylet=raylet,
                    gcs=gcs,
                    session_folder=theirs["--session-dir"],
                    command=restart_command(others, port),
                    environment=_environment(gcs),
                )
    return None


def keep(head: Head) -> None:
    """Start the GCS again whenever it dies, until the head's raylet has ended."""
    child: subprocess.Popen[bytes] | None = None
    raylet, gcs = os.pidfd_open(head.raylet), os.pidfd_open(head.gcs)
    while not _ended(raylet, gcs):
        os.close(gcs)
        if child is not None:
            child.wait()
            time.sleep(_AGAIN_S)
        child = subprocess.Popen(
            head.command, env=head.environment, cwd="/", stdin=subprocess.DEVNULL
        )
        gcs = os.pidfd_open(child.pid)
    if child is not None:
        _end(child)


def _ended(raylet: int, gcs: int) -> bool:
    """Wait for the end of either; True where it is the raylet's."""
    waiting = select.poll()
    for process in (raylet, gcs):
        waiting.register(process, select.POLLIN)
    waiting.poll()
    # Where all is ended at once, the raylet may be a moment behind.
    time.sleep(_PAUSE_S)
    return any(process == raylet for process, _ in waiting.poll(0))


def _end(gcs: subprocess.Popen[bytes]) -> None:
    gcs.terminate()
    try:
        gcs.wait(_END_S)
    except subprocess.TimeoutExpired:
        gcs.kill()
        gcs.wait()


def _words(place: Path) -> list[str]:
    with suppress(OSError):
        return (place / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    return []


def _options(words: Sequence[str]) -> dict[str, str]:
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def _is(words: Sequence[str], program: str) -> bool:
    return bool(words) and words[0].rpartition("/")[2] == program


def _environment(process: int) -> dict[str, str]:
    read = Path(f"/proc/{process}/environ").read_bytes().decode(errors="surrogateescape")
    return {name: value for name, _, value in (each.partition("=") for each in read.split("\0"))}


def main(port: int) -> int:
    """Run from the command line; 1 where no GCS is found in time."""
    for each in (signal.SIGINT, signal.SIGHUP):  # a shell's, meant for others
        signal.signal(each, signal.SIG_IGN)
    ends_at = time.monotonic() + _FOUND_S
    while (head := find_head(port)) is None:
        if time.monotonic() > ends_at:
            return 1
        time.sleep(_PAUSE_S)
    with open(f"{head.session_folder}/gcs_keeper.lock", "w") as lock, suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        keep(head)
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))

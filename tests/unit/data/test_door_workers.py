"""Rows through the door in processes of their own: the same events, in the same order."""

import os
import signal
import subprocess
import sys
import time
from functools import partial

import pytest

from closedloop.core.errors import EngineError
from closedloop.core.pseudonyms import KeyChain, Pseudonyms
from closedloop.data import ingest
from closedloop.data.door_workers import DoorWorkers
from closedloop.data.event_log.protocol import START
from closedloop.data.event_log.sqlite import SqliteEventLog
from closedloop.data.ingest import ingest_file, ingest_workers
from closedloop.data.lake import Lake
from closedloop.data.log_file import LogFile

PARENT = """
import sys
from functools import partial
from closedloop.data.door_workers import DoorWorkers
if __name__ == "__main__":
    workers = DoorWorkers(2, sorted)
    list(workers.through([[1], [2]]))
    print(*(process.pid for process in workers._processes), flush=True)
    sys.stdin.read()
"""


def test_workers_make_the_events_that_one_process_makes(tmp_path, monkeypatch):
    monkeypatch.setattr(ingest, "_BATCH_ROWS", 40)
    lines = [
        f"text {i % 130},third" if i % 50 == 7 else f"text {i % 130},{i % 3}" for i in range(500)
    ]
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["text,turn", *lines]) + "\n", "utf-8")
    found = []
    for workers in (0, 2):
        log = SqliteEventLog(tmp_path / f"{workers}.db")
        lake = Lake(str(tmp_path / f"lake-{workers}"))
        done = ingest_file(
            LogFile(path=path, mapping={}),
            log=log,
            lake=lake,
            tenant="shop",
            pseudonyms=Pseudonyms(KeyChain(first=bytes(32))),
            workers=workers,
        )
        events = [logged.event for logged in log.read(START, limit=1_000).events]
        found.append((done, [(e.event_id, e.text, e.turn) for e in events]))
        assert lake.count("dead_letters") == done.refused == 10
        assert len({event_id for event_id, *_ in found[-1][1]}) == 490  # equal rows are many turns
        log.close()
    assert found[0] == found[1]


def test_an_error_in_a_worker_comes_back_and_a_dead_worker_is_named():
    with DoorWorkers(1, partial(int, base=10)) as door, pytest.raises(TypeError):
        list(door.through([["x"]]))
    with DoorWorkers(1, sorted) as door:
        assert list(door.through([[2, 1], [4, 3]])) == [([2, 1], [1, 2]), ([4, 3], [3, 4])]
        os.kill(door._processes[0].pid, signal.SIGKILL)
        door._processes[0].join()
        with pytest.raises(EngineError, match="has died"):
            list(door.through([[1]]))


def test_workers_end_with_a_process_that_was_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    with subprocess.Popen(
        [sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        parent.kill()
    assert len(pids) == 2
    deadline = time.monotonic() + 30
    while any(_runs(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _runs(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_small_file_starts_no_process(tmp_path):
    small = tmp_path / "a.csv"
    small.write_text("text\nhi\n")
    assert ingest_workers(small) == 0
    assert ingest_workers(tmp_path / "none.csv") == 0

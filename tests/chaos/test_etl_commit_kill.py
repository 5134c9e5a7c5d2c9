"""kill -9 of the ETL's writer at any moment of replacing days, again and again."""

from __future__ import annotations

import signal
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

from closedloop.data.jobs.daily import DAILY_SCHEMA
from closedloop.data.lake import Lake, Progress
from closedloop.data.lake_files import replace_dates

KILLS = 20
DAYS = ["2026-01-01", "2026-01-02"]
# It forks a writer a kill, so that each dies as a process does without importing everything
# anew. Delta's threads do not survive a fork: only the writers touch the lake.
WRITER = """
import os, signal, sys
from pathlib import Path
from deltalake import DeltaTable
from closedloop.data.lake import Lake, Progress
import closedloop.data.lake_files as files

lake, staging, kills, days = Lake(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]

def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

def write(number):
    staged = staging / str(number)
    if number % 2:  # after the files are in their place, before the commit
        DeltaTable.create_write_transaction = die
    else:           # half of the files are in their place
        rename, moved = Path.rename, []
        def rename_once(self, target):
            if moved:
                die()
            moved.append(target)
            return rename(self, target)
        Path.rename = rename_once
    files.replace_dates(lake, "daily", staged, days, [files.Progress(writer="etl", offset=number)])

for number in range(kills):
    pid = os.fork()
    if not pid:
        write(number)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    print(os.WTERMSIG(status))
"""


def stage(folder, intent):
    for day in DAYS:
        (folder / f"date={day}").mkdir(parents=True)
        row = dict.fromkeys(DAILY_SCHEMA.names[1:])
        row |= {"tenant": "a", "intent": intent, "turns": 1, "users": 1, "bad": 0, "disliked": 0}
        table = pa.Table.from_pylist([row], schema=pa.schema(list(DAILY_SCHEMA)[1:]))
        pq.write_table(table, folder / f"date={day}" / "part-0.parquet")
    return folder


def intents(lake):
    rows = lake.read("daily", columns=["date", "intent"]).to_pylist()
    return sorted((row["date"], row["intent"]) for row in rows)


def test_no_kill_shows_half_of_a_replacement(tmp_path):
    lake = Lake(str(tmp_path / "lake"))
    first = stage(tmp_path / "first", "old")
    replace_dates(lake, "daily", first, DAYS, [Progress(writer="etl", offset=0)])
    old = intents(lake)
    for number in range(KILLS):
        stage(tmp_path / "staged" / str(number), f"new {number}")
    command = [sys.executable, "-c", WRITER, lake.url, str(tmp_path / "staged"), str(KILLS), *DAYS]
    died = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    assert died.stdout.split() == [f"{signal.SIGKILL:d}"] * KILLS
    assert lake.version("daily") == 0  # none of them was seen at any time
    assert intents(lake) == old

    last = stage(tmp_path / "last", "new")
    replace_dates(lake, "daily", last, DAYS, [Progress(writer="etl", offset=KILLS)])
    assert intents(lake) == [(day, "new") for day in DAYS]
    assert lake.reached("daily", "etl") == KILLS
    unseen = DeltaTable(lake.uri("daily")).vacuum(
        retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True
    )
    assert len(unseen) >= KILLS
    assert intents(lake) == [(day, "new") for day in DAYS]

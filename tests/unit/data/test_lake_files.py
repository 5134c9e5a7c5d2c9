import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from closedloop.core.errors import EngineError, InputError
from closedloop.data.event import Event, Kind, derived_event_id, to_table
from closedloop.data.jobs.daily import DAILY_SCHEMA
from closedloop.data.lake import Lake, Progress
from closedloop.data.lake_files import added_files, live_files, replace_dates

DAY = datetime(2026, 1, 1, tzinfo=UTC)
READ = [Progress(writer="etl", offset=3)]


def turns(*days):
    """One turn on each of these days."""
    return to_table(
        Event(
            event_id=derived_event_id(DAY, str(place), str(day)),
            ts=DAY + timedelta(days=day),
            tenant="a",
            kind=Kind.TURN,
            text="hello",
        )
        for place, day in enumerate(days)
    )


def stage(folder, **intents_of_days):
    """Write one day's aggregates a file, as Spark would: without the partition's column."""
    for name, intents in intents_of_days.items():
        day = folder / f"date=2026-01-{name[1:]}"
        day.mkdir(parents=True)
        rows = [
            dict.fromkeys(DAILY_SCHEMA.names)
            | {"tenant": "a", "intent": intent, "turns": 1, "users": 1, "bad": 0, "disliked": 0}
            for intent in intents
        ]
        table = pa.Table.from_pylist(rows, schema=pa.schema(list(DAILY_SCHEMA)[1:]))
        pq.write_table(table, day / "part-0.parquet")
    return folder


def intents(lake):
    rows = lake.read("daily", columns=["date", "intent"]).to_pylist()
    return sorted((row["date"][-2:], row["intent"]) for row in rows)


def test_live_files_are_told_by_day(tmp_path):
    lake = Lake(str(tmp_path / "有 空格"))
    lake.append("turns", turns(0, 1))
    found = live_files(lake, "turns")
    assert [file.date for file in found] == ["2026-01-01", "2026-01-02"]
    assert all(Path(file.path).stat().st_size == file.size_bytes for file in found)
    assert live_files(lake, "feedback") == []


def test_what_came_after_a_version_is_told(tmp_path):
    lake = Lake(str(tmp_path))
    first = lake.append("turns", turns(0))
    last = lake.append("turns", turns(1, 2))
    added = added_files(lake, "turns", after=first, until=last)
    assert sorted(file.date for file in added) == ["2026-01-02", "2026-01-03"]
    assert added_files(lake, "turns", after=last, until=last) == []


def test_compaction_adds_nothing(tmp_path):
    lake = Lake(str(tmp_path))
    lake.append("turns", turns(0))
    before = lake.append("turns", turns(0))
    DeltaTable(lake.uri("turns")).optimize.compact()
    after = lake.version("turns")
    assert after > before
    assert len(live_files(lake, "turns")) == 1
    assert added_files(lake, "turns", after=before, until=after) == []


def test_a_log_that_was_cleaned_says_that_it_does_not_know(tmp_path):
    lake = Lake(str(tmp_path))
    lake.append("turns", turns(0))
    last = lake.append("turns", turns(1))
    (tmp_path / "turns/_delta_log" / f"{0:020}.json").unlink()
    assert added_files(lake, "turns", after=-1, until=last) is None


def test_whole_days_are_replaced_in_one_commit(tmp_path):
    lake = Lake(str(tmp_path / "lake"))
    staged = stage(tmp_path / "one", d01=["old"], d02=["kept"], d03=["gone"])
    assert replace_dates(lake, "daily", staged, [], READ) == 3
    staged = stage(tmp_path / "two", d01=["new", "newer"])
    assert replace_dates(lake, "daily", staged, ["2026-01-01", "2026-01-03"], READ) == 2
    assert intents(lake) == [("01", "new"), ("01", "newer"), ("02", "kept")]
    assert lake.version("daily") == 1
    assert lake.reached("daily", "etl") == 3
    assert lake.count("daily") == 3


def test_a_run_that_touches_no_day_still_says_what_it_has_read(tmp_path):
    lake = Lake(str(tmp_path / "lake"))
    replace_dates(lake, "daily", stage(tmp_path / "one", d01=["a"]), ["2026-01-01"], READ)
    replace_dates(lake, "daily", tmp_path / "none", [], [Progress(writer="etl", offset=9)])
    assert lake.reached("daily", "etl") == 9
    assert intents(lake) == [("01", "a")]


def test_days_that_somebody_else_changed_meanwhile_are_refused(tmp_path, monkeypatch):
    lake = Lake(str(tmp_path / "lake"))
    replace_dates(lake, "daily", stage(tmp_path / "one", d01=["a"]), ["2026-01-01"], READ)
    stale = lake.open("daily")
    replace_dates(lake, "daily", stage(tmp_path / "two", d01=["b"]), ["2026-01-01"], READ)
    monkeypatch.setattr(Lake, "open", lambda self, table, version=None: stale)
    with pytest.raises(EngineError, match="writing to the lake table daily"):
        replace_dates(lake, "daily", stage(tmp_path / "three", d01=["c"]), ["2026-01-01"], READ)
    monkeypatch.undo()
    assert intents(lake) == [("01", "b")]


KILLED_BEFORE_ITS_COMMIT = """
import os, signal, sys
from pathlib import Path
from deltalake import DeltaTable
from closedloop.data.lake import Lake, Progress
from closedloop.data.lake_files import replace_dates

def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

DeltaTable.create_write_transaction = die
lake, staged = Lake(sys.argv[1]), Path(sys.argv[2])
replace_dates(lake, "daily", staged, ["2026-01-01"], [Progress(writer="etl", offset=4)])
"""


def test_a_writer_killed_before_its_commit_leaves_nothing_to_see(tmp_path):
    lake = Lake(str(tmp_path / "lake"))
    replace_dates(lake, "daily", stage(tmp_path / "one", d01=["a"]), ["2026-01-01"], READ)
    staged = stage(tmp_path / "two", d01=["b"])
    died = subprocess.run([sys.executable, "-c", KILLED_BEFORE_ITS_COMMIT, lake.url, str(staged)])
    assert died.returncode == -signal.SIGKILL
    assert (intents(lake), lake.reached("daily", "etl")) == ([("01", "a")], 3)
    assert len(os.listdir(tmp_path / "lake/daily/date=2026-01-01")) == 2  # one of them unseen
    again = stage(tmp_path / "three", d01=["b"])
    replace_dates(lake, "daily", again, ["2026-01-01"], [Progress(writer="etl", offset=4)])
    assert (intents(lake), lake.reached("daily", "etl")) == ([("01", "b")], 4)


def test_an_object_store_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot do in s3://bucket"):
        replace_dates(Lake("s3://bucket/lake"), "daily", tmp_path, [], READ)

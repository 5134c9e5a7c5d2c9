"""Compaction changes no row; retention removes what it says and nothing that is needed."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from closedloop.core.errors import Conflict, EngineError, InputError, NotFound
from closedloop.data.event import Event, Kind, derived_event_id, to_table
from closedloop.data.lake import LABEL_SCHEMA, Lake, Progress
from closedloop.data.lake_files import added_files
from closedloop.data.lake_maintenance import compact, lake_status, retain

NOW = datetime(2026, 7, 1, tzinfo=UTC)
NEW = timedelta(days=30)


@pytest.fixture
def lake(tmp_path):
    return Lake(str(tmp_path / "lake"))


def add(lake, day, *texts, offset=0):
    events = [
        Event(
            event_id=derived_event_id(day, text, str(offset), str(place)),
            ts=day,
            tenant="shop",
            kind=Kind.TURN,
            text=text,
            attributes={"region": text},
        )
        for place, text in enumerate(texts)
    ]
    return lake.append("turns", to_table(events), progress=Progress(writer="w", offset=offset))


def add_labels(lake, day, *texts):
    rows = [
        {
            "sample_id": text,
            "ts": day,
            "model": "shop.intent.main",
            "text": text,
            "label": "a",
            "votes": 1,
            "agreement": 1.0,
            "simulated": False,
            "split": "train",
            "run_id": "r",
        }
        for text in texts
    ]
    return lake.append("labels", pa.Table.from_pylist(rows, schema=LABEL_SCHEMA))


def day(number):
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=number)


def rows_of(lake, **options):
    return lake.read("turns", **options).sort_by("event_id").to_pylist()


def let_go(lake, table="turns", *, older_than=NEW, named=None, now=NOW, **options):
    return retain(lake, table, older_than=older_than, named=named or {}, now=now, **options)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batches=st.lists(
        st.tuples(st.integers(0, 3), st.lists(st.text(max_size=5), min_size=1, max_size=4)),
        min_size=1,
        max_size=8,
    )
)
def test_compaction_changes_no_row_and_no_writers_progress(tmp_path_factory, batches):
    lake = Lake(str(tmp_path_factory.mktemp("lake")))
    for offset, (number, texts) in enumerate(batches):
        add(lake, day(number), *texts, offset=offset)
    before = rows_of(lake)
    done = compact(lake, "turns")
    assert rows_of(lake) == before
    assert done.rows == len(before)
    assert done.files == len({number for number, _ in batches}) <= done.files_before
    assert lake.reached("turns", "w") == len(batches) - 1
    # A batch that was written is still recognised.
    add(lake, day(0), "again", offset=len(batches) - 1)
    assert rows_of(lake) == before


def test_an_incremental_reader_sees_nothing_new_in_a_compaction(lake):
    for offset in range(4):
        last = add(lake, day(0), "x", offset=offset)
    done = compact(lake, "turns")
    assert done.version > last
    assert added_files(lake, "turns", after=last, until=done.version) == []


def test_an_older_version_reads_as_before_a_compaction(lake):
    first = add(lake, day(0), "one", offset=0)
    add(lake, day(0), "two", offset=1)
    compact(lake, "turns")
    assert [row["text"] for row in rows_of(lake, version=first)] == ["one"]


def test_status_counts_what_is_there(lake):
    add(lake, day(0), "a", "b", offset=0)
    add(lake, day(9), "c", offset=1)
    [table] = lake_status(lake)
    assert (table.table, table.version, table.rows, table.files) == ("turns", 1, 3, 2)
    assert (table.first_day, table.last_day, table.days) == ("2026-01-01", "2026-01-10", 2)
    sizes = [Path(file).stat().st_size for file in lake.files("turns")]
    assert table.size_bytes == sum(sizes)


def test_retention_deletes_whole_days_before_the_cut(lake):
    add(lake, NOW - timedelta(days=31), "old", offset=0)
    add(lake, NOW - timedelta(days=30), "on the edge", offset=1)
    add(lake, NOW, "new", offset=2)
    done = let_go(lake)
    assert done.days == ("2026-05-31",)
    assert done.rows == 1
    assert sorted(row["text"] for row in rows_of(lake)) == ["new", "on the edge"]
    assert lake.reached("turns", "w") == 2


def test_a_dry_run_says_the_same_and_changes_nothing(lake):
    add(lake, day(0), "old", offset=0)
    add(lake, NOW, "new", offset=1)
    said = let_go(lake, dry_run=True)
    assert (said.days, said.rows, said.dry_run) == (("2026-01-01",), 1, True)
    assert lake.version("turns") == 1
    done = let_go(lake)
    assert (done.days, done.rows) == (said.days, said.rows)


def test_files_stay_for_the_grace_and_then_go(lake):
    add(lake, day(0), "old", offset=0)
    [old] = lake.files("turns")
    add(lake, NOW, "new", offset=1)
    let_go(lake)
    assert Path(old).exists()
    done = let_go(lake, grace=timedelta(0), force=True)
    assert done.files_removed == 1
    assert not Path(old).exists()
    assert [row["text"] for row in rows_of(lake)] == ["new"]


def test_what_a_dead_writer_left_behind_goes_after_the_grace(lake):
    add(lake, NOW, "new", offset=0)
    [kept] = lake.files("turns")
    orphan = Path(kept).with_name("left-behind.parquet")
    orphan.write_bytes(Path(kept).read_bytes())
    let_go(lake)
    assert orphan.exists()  # its writer may still be at work
    long_ago = (datetime.now() - timedelta(days=8)).timestamp()
    os.utime(orphan, (long_ago, long_ago))
    os.utime(kept, (long_ago, long_ago))
    let_go(lake)
    assert not orphan.exists()
    assert [row["text"] for row in rows_of(lake)] == ["new"]


def test_days_that_a_training_set_names_stay_unless_forced(lake):
    version = add_labels(lake, day(0), "one", "two")
    add_labels(lake, NOW, "three")
    named = {version: ["shop.intent.main 1"]}
    with pytest.raises(Conflict, match=r"shop\.intent\.main 1") as refused:
        let_go(lake, "labels", named=named)
    assert "--force" in refused.value.remedy
    assert lake.count("labels") == 3
    let_go(lake, "labels", named=named, grace=timedelta(0), force=True)
    assert lake.count("labels") == 1
    with pytest.raises(EngineError):
        lake.read("labels", version=version)


def test_a_named_version_outlives_compaction_and_the_removal_of_files(lake):
    add_labels(lake, NOW, "one")
    named = {add_labels(lake, NOW, "two"): ["shop.intent.main 1"]}
    add_labels(lake, NOW, "three")
    compact(lake, "labels")
    add_labels(lake, NOW, "four")
    compact(lake, "labels")
    # No day is old, so nothing is refused; files go, but for those of the named version.
    long_ago = (datetime.now() - timedelta(days=8)).timestamp()
    files = list(Path(lake.uri("labels")).rglob("*.parquet"))
    for file in files:
        os.utime(file, (long_ago, long_ago))
    # Delta counts the grace of removed files from their commit, which was just now.
    done = let_go(lake, "labels", older_than=timedelta(days=30_000), named=named)
    assert (done.days, done.files_removed) == ((), 0)
    opened = lake.open("labels")
    gone = opened.vacuum(
        retention_hours=0,
        dry_run=False,
        enforce_retention_duration=False,
        keep_versions=[*named],
        full=True,
    )
    assert 0 < len(gone) < len(files)
    assert sorted(lake.read("labels", version=next(iter(named)))["text"].to_pylist()) == [
        "one",
        "two",
    ]
    assert lake.count("labels") == 4


def test_the_labels_keep_their_log_for_good(lake):
    add_labels(lake, NOW, "one")
    configuration = lake.open("labels").metadata().configuration
    assert configuration["delta.enableExpiredLogCleanup"] == "false"


def test_labels_of_an_earlier_release_get_that_by_a_compaction(lake):
    from deltalake import write_deltalake

    rows = LABEL_SCHEMA.append(pa.field("date", pa.string())).empty_table()
    write_deltalake(lake.uri("labels"), rows, partition_by=["date"])
    add_labels(lake, NOW, "one")
    compact(lake, "labels")
    configuration = lake.open("labels").metadata().configuration
    assert configuration["delta.enableExpiredLogCleanup"] == "false"
    assert lake.count("labels") == 1


def test_what_cannot_be_done_is_said(lake):
    add(lake, day(0), "x")
    with pytest.raises(NotFound, match="labels"):
        compact(lake, "labels")
    with pytest.raises(NotFound, match="labels"):
        let_go(lake, "labels")
    with pytest.raises(InputError, match="whole days"):
        let_go(lake, older_than=timedelta(hours=5))
    with pytest.raises(InputError, match="an hour"):
        let_go(lake, grace=timedelta(0))

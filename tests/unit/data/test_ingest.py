from datetime import UTC, datetime, timedelta

import pytest

from closedloop.core.pseudonyms import KeyChain, Pseudonyms
from closedloop.data.drain import LAKE_CONSUMER, drain_to_lake
from closedloop.data.event import Kind
from closedloop.data.event_log.protocol import START
from closedloop.data.event_log.sqlite import SqliteEventLog
from closedloop.data.ingest import ingest_file
from closedloop.data.lake import Lake
from closedloop.data.log_file import LogFile

NAMES = Pseudonyms(KeyChain(first=bytes(32)))


@pytest.fixture
def log(tmp_path):
    opened = SqliteEventLog(tmp_path / "events.db")
    yield opened
    opened.close()


@pytest.fixture
def lake(tmp_path):
    return Lake(str(tmp_path / "lake"))


def load(path, log, lake, **mapping):
    file = LogFile(path=path, mapping=mapping)
    return ingest_file(file, log=log, lake=lake, tenant="shop", pseudonyms=NAMES)


def write(path, lines):
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def test_rows_become_turns_in_the_lake(tmp_path, log, lake):
    path = write(tmp_path / "a.csv", ["text,label,ts", "hi,greet,2026-01-02T03:04:05Z"])
    assert load(path, log, lake).new == 1
    assert drain_to_lake(log, lake) == 1
    [row] = lake.read("turns").to_pylist()
    assert (row["tenant"], row["kind"], row["text"]) == ("shop", "turn", "hi")
    assert row["ts"] == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert dict(row["attributes"]) == {"label": "greet"}


def test_the_same_file_twice_adds_nothing(tmp_path, log, lake):
    path = write(tmp_path / "a.csv", ["text", "hi", "hi", '""', "ho"])
    first, second = load(path, log, lake), load(path, log, lake)
    assert (first.new, first.refused) == (3, 1)  # equal rows are different turns
    assert (second.new, second.duplicates, second.refused) == (0, 3, 1)
    drain_to_lake(log, lake)
    assert lake.count("turns") == 3
    assert lake.count("dead_letters") == 1


def test_a_file_that_grew_adds_only_its_new_rows(tmp_path, log, lake):
    path = write(tmp_path / "a.csv", ["text", "one", "two"])
    load(path, log, lake)
    write(path, ["text", "one", "two", "three"])
    assert load(path, log, lake).new == 1


def test_refused_rows_keep_their_line_and_reason(tmp_path, log, lake):
    future = (datetime.now(UTC) + timedelta(days=30)).isoformat()
    path = write(
        tmp_path / "a.csv",
        [
            "text,ts,turn",
            ",,",
            "ok,,",
            "when,yesterday,",
            f"later,{future},",
            "which,,x",
            f"{'long ' * 2_000},,",
        ],
    )
    assert load(path, log, lake).new == 1
    dead = {row["line"]: row["reason"] for row in lake.read("dead_letters").to_pylist()}
    assert sorted(dead) == [2, 4, 5, 6, 7]
    assert dead[2] == "the text is empty"
    assert "yesterday" in dead[4]
    assert "lies in the future" in dead[5]
    assert "characters; the limit is" in dead[7]


def test_personal_data_is_masked_before_it_is_stored(tmp_path, log, lake):
    path = write(tmp_path / "a.csv", ["text,user_id", "my phone is 13812345678,u1", "again,u1"])
    load(path, log, lake)
    (first, second) = log.read(START, limit=10).events
    assert "13812345678" not in first.event.text
    assert first.event.user_id == second.event.user_id != "u1"
    assert b"13812345678" not in (tmp_path / "events.db").read_bytes()


def test_a_lake_batch_that_was_written_but_not_committed_is_not_written_again(tmp_path, log, lake):
    load(write(tmp_path / "a.csv", ["text", "one", "two"]), log, lake)
    drain_to_lake(log, lake)
    log.commit(LAKE_CONSUMER, START)  # as if the process died between the two commits
    load(write(tmp_path / "b.csv", ["text", "three"]), log, lake)
    drain_to_lake(log, lake)
    assert sorted(lake.read("turns")["text"].to_pylist()) == ["one", "three", "two"]


def test_kinds_go_to_their_tables(log, lake):
    from closedloop.data.event import Event, new_event_id

    now = datetime.now(UTC)
    log.append(
        [
            Event(event_id=new_event_id(), ts=now, tenant="shop", kind=kind, text="x")
            for kind in (Kind.TURN, Kind.PREDICTION, Kind.PREDICTION, Kind.FEEDBACK)
        ]
    )
    drain_to_lake(log, lake)
    assert [lake.count(t) for t in ("turns", "predictions", "feedback")] == [1, 2, 1]


def test_a_malformed_text_costs_only_its_row(tmp_path, log, lake):
    """Half of a surrogate pair, as broken clients send it: no log can hold it."""
    path = write(
        tmp_path / "a.jsonl", ['{"text": "one"}', '{"text": "\\ud800"}', '{"text": "two"}']
    )
    loaded = load(path, log, lake)
    assert (loaded.new, loaded.refused) == (2, 1)
    [letter] = lake.read("dead_letters").to_pylist()
    assert (letter["line"], "surrogate" in letter["reason"]) == (2, True)


def test_an_oversized_row_costs_only_itself(tmp_path, log, lake):
    path = write(tmp_path / "a.csv", ["text", "one", "x" * 8_001, "two"])
    assert (load(path, log, lake).new, lake.count("dead_letters")) == (2, 1)


def test_a_future_dated_row_costs_only_itself(tmp_path, log, lake):
    future = (datetime.now(UTC) + timedelta(days=2)).isoformat()
    path = write(tmp_path / "a.csv", ["text,ts", f"later,{future}", "now,2026-01-01"])
    assert (load(path, log, lake).new, lake.count("dead_letters")) == (1, 1)


def test_columns_that_analysis_knows_become_attributes(tmp_path, log, lake):
    path = write(
        tmp_path / "a.csv",
        ["text,merchant,region,product,note", "hi,m-1,GB,,secret", "ho,ann@example.org,,p,"],
    )
    load(path, log, lake)
    first, second = (logged.event.attributes for logged in log.read(START, limit=9).events)
    assert first == {"merchant": "m-1", "region": "GB"}
    assert second == {"merchant": "<EMAIL>", "product": "p"}


def test_batches_are_counted_to_the_last_row(tmp_path, log, lake):
    path = write(tmp_path / "a.csv", ["text", *(f"text {i}" for i in range(12_345))])
    seen = []
    file = LogFile(path=path, mapping={})
    done = ingest_file(
        file, log=log, lake=lake, tenant="shop", pseudonyms=NAMES, progress=seen.append
    )
    assert (done.new, seen[-1], seen == sorted(seen)) == (12_345, 12_345, True)
    assert [e.event.text for e in log.read(START, limit=20_000).events] == [
        f"text {i}" for i in range(12_345)
    ]

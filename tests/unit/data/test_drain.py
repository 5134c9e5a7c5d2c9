"""From the event log into the lake, on each kind of log."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from closedloop.core.errors import EngineError
from closedloop.data import drain
from closedloop.data.drain import LAKE_CONSUMER, drain_to_lake
from closedloop.data.event import Event, Kind, new_event_id, to_table
from closedloop.data.event_log.opening import open_event_log
from closedloop.data.event_log.protocol import START
from closedloop.data.lake import Lake, Progress

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)


def event(text="x", kind=Kind.TURN, ts=NOW, dialogue_id="d"):
    return Event(
        event_id=new_event_id(at=ts),
        ts=ts,
        tenant="a",
        kind=kind,
        text=text,
        dialogue_id=dialogue_id,
    )


@pytest.fixture
def lake(tmp_path):
    return Lake(str(tmp_path / "lake"))


def texts(lake, table="turns"):
    return sorted(lake.read(table)["text"].to_pylist())


def test_each_kind_goes_to_its_table_once(open_log, lake):
    log = open_log()
    kinds = (Kind.TURN, Kind.PREDICTION, Kind.PREDICTION, Kind.FEEDBACK)
    log.append([event(kind=kind, dialogue_id=f"d{i}") for i, kind in enumerate(kinds)])
    assert drain_to_lake(log, lake) == 4
    assert drain_to_lake(log, lake) == 0
    assert [lake.count(t) for t in ("turns", "predictions", "feedback")] == [1, 2, 1]


def test_a_place_that_was_lost_writes_nothing_again(open_log, lake):
    log = open_log()
    log.append([event(str(i), dialogue_id=f"d{i}") for i in range(20)])
    drain_to_lake(log, lake)
    log.commit(LAKE_CONSUMER, dict.fromkeys(log.end(), 0))  # as if it died before its commit
    log.append([event("new")])
    versions = lake.version("turns")
    assert drain_to_lake(log, lake) == 1
    assert lake.version("turns") == versions + 1
    assert texts(lake) == sorted([*map(str, range(20)), "new"])


def test_a_duplicate_event_that_two_clients_appended_reaches_the_lake_once(open_log, lake):
    """A duplicate event: the acknowledgement was lost, and another process sent it again."""
    events = [event(str(i), dialogue_id=f"d{i}") for i in range(10)]
    open_log().append(events)
    other = open_log()
    other.append([*events[:3], event("more")])
    drain_to_lake(other, lake)
    open_log().append(events[5:])
    drain_to_lake(other, lake)
    assert texts(lake) == sorted([*map(str, range(10)), "more"])


def test_an_event_that_another_log_brought_before_is_known(new_log_url, lake):
    """The way from the embedded log to Kafka: what was copied over is in the lake already."""
    events = [event(str(i), ts=NOW + timedelta(hours=i)) for i in range(60)]
    for kind in ("sqlite", "kafka"):
        log = open_event_log(new_log_url(kind))
        log.append(events)
        drain_to_lake(log, lake)
        log.close()
    assert texts(lake) == sorted(map(str, range(60)))


def test_a_new_log_in_the_place_of_an_old_one_loses_nothing(new_log_url, lake):
    for batch in ("a", "b"):
        log = open_event_log(new_log_url("sqlite"))
        log.append([event(batch + str(i)) for i in range(5)])
        assert drain_to_lake(log, lake) == 5
        log.close()


def test_out_of_order_events_go_to_the_days_they_belong_to(open_log, lake):
    log = open_log()
    days = [3, 1, 2, 1]
    log.append([event(str(i), ts=NOW + timedelta(days=day)) for i, day in enumerate(days)])
    drain_to_lake(log, lake)
    log.append([event("late", ts=NOW - timedelta(days=400))])
    drain_to_lake(log, lake)
    rows = lake.open("turns").to_pyarrow_table(columns=["date", "text"]).to_pylist()
    assert {row["text"]: row["date"] for row in rows} == {
        "0": "2026-01-08",
        "1": "2026-01-06",
        "2": "2026-01-07",
        "3": "2026-01-06",
        "late": "2024-12-01",
    }


def test_a_malformed_record_goes_to_the_dead_letters_and_holds_nothing_up(new_log_url, lake):
    """Somebody else wrote into the topic: no JSON, no event, an event whose values do not fit."""
    from confluent_kafka import Producer

    url = new_log_url("kafka")
    log = open_event_log(url)
    servers, _, topic = url.removeprefix("kafka://").partition("/")
    stranger = Producer({"bootstrap.servers": servers})
    misfit = event("misfit").to_record() | {"turn": "third"}
    for value in (b"\xff{", b'{"text": "call 13812345678"}', json.dumps(misfit).encode(), b""):
        stranger.produce(topic, value=value)
    stranger.flush(10)
    log.append([event("good")])
    assert drain_to_lake(log, lake) == 1
    assert drain_to_lake(log, lake) == 0
    letters = lake.read("dead_letters").to_pylist()
    assert len(letters) == 4
    assert all(letter["source"].startswith("event log ") for letter in letters)
    assert "13812345678" not in str(letters)
    log.close()


@pytest.mark.parametrize("part", [2, 4, 5])
def test_two_drains_that_meet_write_each_event_once(new_log_url, lake, monkeypatch, part):
    """Another drain commits a part, all or more of the page while this one is looking."""
    log = open_event_log(new_log_url("sqlite"))
    log.append([event("first")])
    drain_to_lake(log, lake)
    log.append([event(str(i)) for i in range(4)])
    looked = drain._unknown

    def overtaken(rows, opened, table, where):
        monkeypatch.setattr(drain, "_unknown", looked)
        log.append([event("later")] if part == 5 else [])
        done = log.read(log.committed(LAKE_CONSUMER), limit=part).events
        place = Progress(writer=log.identity, offset=done[-1].offset)
        lake.append(table, to_table(e.event for e in done), progress=place)
        return looked(rows, opened, table, where)

    monkeypatch.setattr(drain, "_unknown", overtaken)
    if part < 4:
        with pytest.raises(EngineError):
            drain_to_lake(log, lake)
    drain_to_lake(log, lake)
    assert texts(lake) == sorted(["first", *"0123", *(["later"] if part == 5 else [])])
    log.close()


def test_known_ids_are_found_among_the_days_of_a_batch(new_log_url, lake, monkeypatch):
    log = open_event_log(new_log_url("sqlite"))
    for day in range(3):
        log.append([event(str(i), ts=NOW + timedelta(days=day, seconds=i)) for i in range(50)])
        drain_to_lake(log, lake)
    rows = to_table([event("new", ts=NOW + timedelta(days=1, hours=1))])
    opened = lake.open("turns")
    assert drain._unknown(rows, opened, "turns", lake).num_rows == 1
    again = to_table([replace(e.event) for e in log.read(START, limit=10).events])
    assert drain._unknown(again, opened, "turns", lake).num_rows == 0
    log.close()

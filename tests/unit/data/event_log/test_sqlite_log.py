import sqlite3
import threading
from contextlib import closing
from datetime import UTC, datetime

import pytest

from closedloop.core.errors import EngineError
from closedloop.data.event import Event, Kind
from closedloop.data.event_log.codec import encode
from closedloop.data.event_log.protocol import START, Retention
from closedloop.data.event_log.sqlite import SqliteEventLog

TS = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def event(event_id, **more):
    return Event(event_id=event_id, ts=TS, tenant="retail", kind=Kind.PREDICTION, **more)


def test_an_event_is_found_by_its_id_as_it_was_appended(tmp_path):
    log = SqliteEventLog(tmp_path / "events.db")
    kept = event("b", text="退款", model_version=3, attributes={"comment": "no"})
    log.append([event("a"), kept])
    assert log.get("b") == kept
    assert log.get("none") is None


def test_threads_share_one_log_without_losing_events(tmp_path):
    log = SqliteEventLog(tmp_path / "events.db")
    together = threading.Barrier(4)
    missed = []

    def work(worker):
        together.wait()
        for i in range(50):
            name = f"{worker}-{i}"
            log.append([event(name)])
            if log.get(name) is None:
                missed.append(name)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert missed == []
    assert len(log.read(START, limit=1_000).events) == 200


def test_a_log_that_is_gone_is_an_error_of_the_engine(tmp_path):
    log = SqliteEventLog(tmp_path / "events.db")
    log.close()
    for ask in (lambda: log.get("a"), lambda: log.append([event("a")]), log.end):
        with pytest.raises(EngineError):
            ask()


def test_a_file_of_the_first_release_goes_on(tmp_path):
    with closing(sqlite3.connect(tmp_path / "events.db")) as old, old:
        old.executescript(
            "CREATE TABLE event (offset INTEGER PRIMARY KEY AUTOINCREMENT,"
            " event_id TEXT NOT NULL UNIQUE, payload TEXT NOT NULL);"
            "CREATE TABLE consumer (name TEXT PRIMARY KEY, offset INTEGER NOT NULL);"
            "INSERT INTO consumer VALUES ('lake', 2);"
        )
        old.execute("INSERT INTO event VALUES (1, 'a', ?)", (encode(event("a")),))
    log = SqliteEventLog(tmp_path / "events.db")
    assert log.identity == "lake"  # by which the lake knows what it took
    assert log.append([event("a"), event("b")]).new == 1
    assert [e.offset for e in log.read(START, limit=9).events] == [1, 2]
    assert log.committed("lake") == {0: 2}
    # Nobody noted when its events came, so that they are young.
    assert log.retain(Retention(older_than_s=60)).removed == 0
    log.close()


@pytest.fixture
def aged(tmp_path):
    """A log of 30 events: ten are ten days old, ten are five days old, ten are new."""
    log = SqliteEventLog(tmp_path / "events.db")
    log.append([event(f"{i:02}", text="x" * 2_000) for i in range(30)])
    with closing(sqlite3.connect(tmp_path / "events.db")) as file, file:
        for days, first in ((10, 1), (5, 11)):
            file.execute(
                "UPDATE event SET stored_ms = stored_ms - ? WHERE offset BETWEEN ? AND ?",
                (days * 86_400_000, first, first + 9),
            )
    yield log
    log.close()


def offsets(log):
    return [logged.offset for logged in log.read(START, limit=100).events]


def test_what_is_too_old_goes_when_every_consumer_has_read_it(aged):
    aged.commit("lake", {0: 31})
    done = aged.retain(Retention(older_than_s=7 * 86_400))
    assert (done.removed, done.kept, done.held_back_by) == (10, 20, ())
    assert offsets(aged) == list(range(11, 31))
    assert aged.size() == 20


def test_nothing_goes_that_a_consumer_has_not_read(aged):
    aged.commit("lake", {0: 31})
    aged.commit("clusterer", {0: 4})
    done = aged.retain(Retention(older_than_s=86_400, max_bytes=1))
    assert (done.removed, done.held_back_by) == (3, ("clusterer",))
    assert offsets(aged) == list(range(4, 31))


def test_nothing_goes_before_anybody_has_read(aged):
    assert aged.retain(Retention(older_than_s=0, max_bytes=1)).removed == 0
    assert len(offsets(aged)) == 30


def test_a_log_gets_below_its_size_and_gives_the_disk_its_space_back(tmp_path):
    log = SqliteEventLog(tmp_path / "events.db")
    for batch in range(20):
        log.append([event(f"{batch}-{i}", text="x" * 500) for i in range(1_000)])
    log.commit("lake", log.end())
    bound = 6_000_000
    done = log.retain(Retention(max_bytes=bound))
    assert 0 < done.bytes_after <= bound < done.bytes_before
    assert (tmp_path / "events.db").stat().st_size <= bound
    assert done.removed + done.kept == 20_000
    assert done.kept > 0
    log.close()


def test_offsets_go_on_after_everything_was_removed(tmp_path):
    log = SqliteEventLog(tmp_path / "events.db")
    log.append([event("a"), event("b")])
    log.commit("lake", log.end())
    assert log.retain(Retention(max_bytes=1)).kept == 0
    assert log.size() == 0
    end = log.end()
    log.append([event("c")])
    assert [(e.offset, e.event.event_id) for e in log.read(end, limit=5).events] == [(3, "c")]
    log.close()


def test_a_payload_that_is_no_event_is_told_apart(tmp_path):
    log = SqliteEventLog(tmp_path / "events.db")
    log.append([event("a")])
    with closing(sqlite3.connect(tmp_path / "events.db")) as file, file:
        file.execute("INSERT INTO event (event_id, payload) VALUES ('b', 'torn')")
    page = log.read(START, limit=5)
    assert ([e.event.event_id for e in page.events], page.next) == (["a"], {0: 3})
    assert [(u.offset, u.raw) for u in page.unreadable] == [(2, "torn")]
    log.close()

import threading
from datetime import UTC, datetime

import pytest

from closedloop.core.errors import EngineError
from closedloop.data.event import Event, Kind
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

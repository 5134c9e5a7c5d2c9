import threading
from datetime import UTC, datetime

import pytest

from closedloop.core.errors import EngineError, Overloaded
from closedloop.data.event import Event, Kind
from closedloop.data.event_log.protocol import START
from closedloop.data.event_log.sqlite import SqliteEventLog
from closedloop.serve import event_writer
from closedloop.serve.event_writer import EventWriter


def events(*names):
    return [
        Event(event_id=name, ts=datetime.now(UTC), tenant="retail", kind=Kind.PREDICTION)
        for name in names
    ]


class GatedLog:
    """Writes only while the gate is open, and can be told to fail."""

    def __init__(self):
        self.gate = threading.Event()
        self.reached = threading.Event()
        self.fault = None
        self.written = []

    def append(self, batch):
        self.reached.set()
        assert self.gate.wait(10)
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault
        if any(event.event_id == "poison" for event in batch):
            raise UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")
        self.written += [event.event_id for event in batch]


@pytest.fixture
def log():
    return GatedLog()


def test_events_reach_the_log_in_order(tmp_path):
    log = SqliteEventLog(tmp_path / "events.db")
    writer = EventWriter(log)
    for i in range(50):
        writer.offer(events(f"{i}-a", f"{i}-b"))
    assert writer.flush(10)
    found = [logged.event.event_id for logged in log.read(START, limit=1000).events]
    assert found == [f"{i}-{part}" for i in range(50) for part in "ab"]
    assert writer.close() == 0


def test_a_full_buffer_refuses_the_whole_request(log):
    writer = EventWriter(log, capacity_events=3)
    writer.offer(events("a", "b"))
    with pytest.raises(Overloaded):
        writer.offer(events("c", "d"))
    writer.offer(events("c"))
    log.gate.set()
    assert writer.flush(10)
    writer.offer(events("d"))
    assert writer.close() == 0
    assert log.written == ["a", "b", "c", "d"]


def test_a_batch_that_failed_is_written_later_and_reported_meanwhile(log, monkeypatch):
    monkeypatch.setattr(event_writer, "_RETRY_S", 0.001)
    log.fault = EngineError("no space", remedy="free some")
    writer = EventWriter(log)
    writer.offer(events("a"))
    log.gate.set()
    assert writer.flush(10)
    assert (log.written, writer.problem) == (["a"], None)
    writer.close()


def test_one_event_that_cannot_be_stored_does_not_stop_the_others(log):
    writer = EventWriter(log)
    writer.offer(events("a", "poison", "b"))
    log.gate.set()
    assert writer.flush(10)
    assert log.written == ["a", "b"]
    writer.close()


def test_closing_writes_what_waits_and_takes_no_more(log):
    writer = EventWriter(log)
    writer.offer(events("a"))
    assert log.reached.wait(10)
    writer.offer(events("b"))
    log.gate.set()
    assert writer.close() == 0
    assert log.written == ["a", "b"]
    with pytest.raises(Overloaded):
        writer.offer(events("c"))


def test_closing_tells_what_was_lost(log):
    log.fault = EngineError("no space", remedy="free some")
    writer = EventWriter(log)
    writer.offer(events("a", "b"))
    assert log.reached.wait(10)
    closing = threading.Thread(target=log.gate.set)
    writer._closing = True
    closing.start()
    assert writer.close() == 2
    assert "no space" in writer.problem


def test_what_is_stored_tells_its_places_behind_what_was_offered(tmp_path):
    log = SqliteEventLog(tmp_path / "events.db")
    writer = EventWriter(log)
    writer.offer(events("a"))
    first = writer.store(events("b", "c"))
    second = writer.store(events("c", "d"))
    assert [place.offset for place in first.result(10)] == [2, 3]
    assert second.result(10)[0] is None
    assert second.result(10)[1].offset == 4
    writer.close()


def test_a_failure_is_told_to_who_waits_and_what_was_offered_is_written_later(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(event_writer, "_RETRY_S", 0.001)
    log = SqliteEventLog(tmp_path / "events.db")
    store, begun, go = log.append, threading.Event(), threading.Event()
    batches = []

    def append(batch):
        batches.append([event.event_id for event in batch])
        begun.set()
        assert go.wait(10)
        if len(batches) == 2:
            raise EngineError("no space", remedy="free some")
        return store(batch)

    monkeypatch.setattr(log, "append", append)
    writer = EventWriter(log)
    writer.offer(events("first"))
    assert begun.wait(10)
    writer.offer(events("offered"))
    waiting = writer.store(events("stored"))
    go.set()
    with pytest.raises(EngineError, match="no space"):
        waiting.result(10)
    assert writer.flush(10)
    assert batches == [["first"], ["offered", "stored"], ["offered"]]
    assert writer.close() == 0


def test_closing_tells_who_still_waits(log):
    writer = EventWriter(log)
    writer.offer(events("a"))
    assert log.reached.wait(10)
    waiting = writer.store(events("b"))
    assert writer.close(timeout_s=0.01) == 2
    with pytest.raises(EngineError):
        waiting.result(0)
    log.gate.set()
    with pytest.raises(Overloaded):
        writer.store(events("c"))

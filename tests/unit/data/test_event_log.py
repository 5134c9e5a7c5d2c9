"""What every event log must do; a new implementation joins `open_log`'s parameters."""

import threading
from datetime import UTC, datetime

import pytest

from closedloop.core.errors import InputError
from closedloop.data.event import Event, Kind, new_event_id
from closedloop.data.event_log import open_event_log


def event(text="x"):
    now = datetime.now(UTC)
    return Event(event_id=new_event_id(), ts=now, tenant="a", kind=Kind.TURN, text=text)


@pytest.fixture(params=["sqlite"])
def open_log(request, tmp_path):
    opened = []

    def reopen():
        opened.append(open_event_log(f"{request.param}:///{tmp_path / 'events.db'}"))
        return opened[-1]

    yield reopen
    for log in opened:
        log.close()


def test_events_come_back_in_order_from_any_offset(open_log):
    log = open_log()
    events = [event(str(i)) for i in range(10)]
    log.append(events)
    everything = log.read(0, limit=100)
    assert [logged.event for logged in everything] == events
    middle = everything[4].offset
    assert [e.event.text for e in log.read(middle, limit=3)] == ["4", "5", "6"]


def test_an_event_is_stored_once(open_log):
    log, one = open_log(), event()
    assert log.append([one]).new == 1
    again = log.append([one, event()])
    assert (again.new, again.duplicates) == (1, 1)
    assert len(log.read(0, limit=10)) == 2


def test_what_was_acknowledged_survives_reopening(open_log):
    open_log().append([event("kept")])
    assert [e.event.text for e in open_log().read(0, limit=10)] == ["kept"]


def test_consumers_go_on_where_they_committed(open_log):
    log = open_log()
    assert log.committed("lake") == 0
    log.commit("lake", 7)
    log.commit("clusterer", 3)
    assert (open_log().committed("lake"), open_log().committed("clusterer")) == (7, 3)


def test_the_end_lies_behind_every_event(open_log):
    log = open_log()
    before = log.end()
    log.append([event()])
    [logged] = log.read(before, limit=10)
    assert logged.offset < log.end()


def test_writers_do_not_lose_each_others_events(open_log):
    logs = [open_log() for _ in range(4)]

    def write(log):
        for _ in range(25):
            log.append([event(), event()])

    threads = [threading.Thread(target=write, args=(log,)) for log in logs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(logs[0].read(0, limit=1_000)) == 200


def test_an_unknown_kind_of_log_is_refused():
    with pytest.raises(InputError, match="not supported"):
        open_event_log("carrier-pigeon:///coop")

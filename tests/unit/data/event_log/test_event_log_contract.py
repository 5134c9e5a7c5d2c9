"""What every event log must do; `open_log` opens one of each kind (see conftest)."""

import threading
from datetime import UTC, datetime

import pytest

from closedloop.core.errors import InputError
from closedloop.data.event import Event, Kind, new_event_id
from closedloop.data.event_log.opening import open_event_log
from closedloop.data.event_log.protocol import START


def event(text="x", dialogue_id="d", **more):
    now = datetime.now(UTC)
    return Event(
        event_id=new_event_id(),
        ts=now,
        tenant="a",
        kind=Kind.TURN,
        text=text,
        dialogue_id=dialogue_id,
        **more,
    )


def read_all(log, position=START, page=1_000):
    found = []
    while got := log.read(position, limit=page):
        found += got.events
        position = got.next
    return found


def test_events_of_a_dialogue_come_back_in_order_as_they_were(open_log):
    log = open_log()
    events = [event(str(i), text_id) for i in range(40) for text_id in ("d1", "d2", "d3")]
    log.append(events[:50])
    log.append(events[50:])
    found = [logged.event for logged in read_all(log, page=7)]
    for dialogue in ("d1", "d2", "d3"):
        assert [e for e in found if e.dialogue_id == dialogue] == [
            e for e in events if e.dialogue_id == dialogue
        ]


def test_every_field_survives(open_log):
    log = open_log()
    whole = event(
        "退款 🙂",
        channel="app",
        turn=2,
        user_id="p",
        image_phash="ff",
        model="a.intent.m",
        model_version=3,
        prediction="refund",
        confidence=0.1 + 0.2,
        rule_id="r",
        feedback="up",
        refers_to="e",
        latency_ms=1.5,
        attributes={"é": '"\n'},
    )
    log.append([whole])
    assert [logged.event for logged in read_all(log)] == [whole]


def test_an_append_tells_where_its_events_are(open_log):
    log = open_log()
    events = [event(str(i), f"d{i}") for i in range(20)]
    appended = log.append(events)
    assert appended.new == 20
    where = {(e.partition, e.offset): e.event for e in read_all(log)}
    assert [where[place] for place in appended.places] == events


def test_reading_goes_on_from_any_place(open_log):
    log = open_log()
    log.append([event(str(i)) for i in range(10)])
    everything = read_all(log)
    middle = everything[4]
    rest = log.read({middle.partition: middle.offset}, limit=3)
    assert [e.event.text for e in rest.events] == ["4", "5", "6"]
    assert [e.event.text for e in log.read(rest.next, limit=100).events] == ["7", "8", "9"]
    assert [e.event.text for e in log.read({middle.partition: middle.offset}, limit=1).events] == [
        "4"
    ]


def test_a_page_never_exceeds_its_limit_and_is_empty_at_the_end(open_log):
    log = open_log()
    assert not log.read(START, limit=5)
    log.append([event(str(i), f"d{i}") for i in range(12)])
    page = log.read(START, limit=5)
    assert len(page.events) == 5
    assert not log.read(log.end(), limit=5)


def test_a_retried_batch_adds_nothing(open_log):
    log, one = open_log(), event("one")
    assert log.append([one, one]).duplicates == 1
    again = log.append([one, event("two")])
    assert (again.new, again.duplicates, again.places[0]) == (1, 1, None)
    assert [e.event.text for e in read_all(log)] == ["one", "two"]
    assert log.append([]).places == ()


def test_what_was_acknowledged_is_there_for_another_client(open_log):
    one = event("kept")
    open_log().append([one])
    other = open_log()
    assert [e.event for e in read_all(other)] == [one]
    assert other.get(one.event_id) == one
    assert other.get(new_event_id()) is None


def test_an_event_is_found_by_its_id_also_when_another_client_appends_later(open_log):
    ours, theirs = open_log(), open_log()
    assert ours.get(new_event_id()) is None
    late = event("late")
    theirs.append([event(str(i), f"d{i}") for i in range(30)] + [late])
    assert ours.get(late.event_id) == late


def test_consumers_go_on_where_they_committed(open_log):
    log = open_log()
    assert dict(log.committed("lake")) == {}
    log.append([event(str(i)) for i in range(6)])
    first = log.read(START, limit=2)
    log.commit("lake", first.next)
    log.commit("clusterer", log.end())
    assert [e.event.text for e in read_all(open_log(), open_log().committed("lake"))] == list(
        "2345"
    )
    assert read_all(open_log(), open_log().committed("clusterer")) == []


def test_the_end_lies_behind_every_event(open_log):
    log = open_log()
    before = log.end()
    log.append([event("a")])
    assert [e.event.text for e in read_all(log, before)] == ["a"]
    assert read_all(log, log.end()) == []
    assert log.size() == 1


def test_writers_do_not_lose_each_others_events(open_log):
    logs = [open_log() for _ in range(3)]

    def write(log):
        for _ in range(10):
            log.append([event(), event()])

    threads = [threading.Thread(target=write, args=(log,)) for log in logs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({e.event.event_id for e in read_all(logs[0])}) == 60


def test_two_logs_have_two_identities(new_log_url):
    for kind in ("sqlite", "kafka"):
        one, other = (open_event_log(new_log_url(kind)) for _ in range(2))
        assert one.identity != other.identity
        one.close()
        other.close()


@pytest.mark.parametrize("url", ["carrier-pigeon:///coop", "sqlite:///", ""])
def test_an_unknown_kind_of_log_is_refused(url):
    with pytest.raises(InputError, match="not supported"):
        open_event_log(url)

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from closedloop.data.event import (
    SCHEMA,
    Event,
    Kind,
    derived_event_id,
    from_micros,
    new_event_id,
    to_micros,
    to_table,
)

NOW = datetime(2026, 3, 4, 5, 6, 7, 890123, tzinfo=UTC)


def test_the_dataclass_and_the_arrow_schema_have_the_same_fields():
    event = Event(event_id="e", ts=NOW, tenant="a", kind=Kind.TURN)
    assert set(SCHEMA.names) == set(Event.__dataclass_fields__)
    assert to_table([event]).schema == SCHEMA


def test_a_record_comes_back_as_it_was():
    event = Event(
        event_id=new_event_id(),
        ts=NOW,
        tenant="a",
        kind=Kind.PREDICTION,
        text="你好",
        confidence=0.5,
        attributes={"b": "1"},
    )
    assert Event.from_record(event.to_record()) == event


def test_ids_are_uuid7_and_ordered_by_time():
    early, late = new_event_id(at=NOW), new_event_id(at=NOW + timedelta(milliseconds=1))
    assert UUID(early).version == 7
    assert early < late


def test_derived_ids_depend_on_content_alone():
    assert derived_event_id(NOW, "a", "b") == derived_event_id(NOW, "a", "b")
    assert derived_event_id(NOW, "a", "b") != derived_event_id(NOW, "ab", "")


@given(st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2200, 1, 1)))
def test_microseconds_are_exact(moment):
    aware = moment.replace(tzinfo=timezone(timedelta(hours=8)))
    assert from_micros(to_micros(aware)) == aware

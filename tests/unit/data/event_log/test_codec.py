import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from closedloop.data.event import Event, Kind
from closedloop.data.event_log.codec import decode, encode

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
EVENTS = st.builds(
    Event,
    event_id=TEXTS,
    ts=st.datetimes(timezones=st.just(UTC), min_value=datetime(1970, 1, 1)),
    tenant=TEXTS,
    kind=st.sampled_from(Kind),
    channel=st.none() | TEXTS,
    turn=st.none() | st.integers(),
    text=st.none() | TEXTS,
    model_version=st.none() | st.integers(),
    confidence=st.none() | st.floats(allow_nan=False),
    latency_ms=st.none() | st.floats(allow_nan=False),
    attributes=st.dictionaries(TEXTS, TEXTS, max_size=3),
)


@given(event=EVENTS)
def test_an_event_is_one_line_of_json_and_comes_back(event):
    line = encode(event)
    assert "\n" not in line
    assert json.loads(line) == event.to_record()
    assert decode(line) == event
    assert decode(line.encode()) == event


@pytest.mark.parametrize("line", ["", "7", "[]", "{}", '{"ts": 1}', "torn", "[" * 100_000])
def test_what_is_no_event_is_told(line):
    with pytest.raises(ValueError, match="no event"):
        decode(line)


def test_values_of_other_types_are_written_all_the_same():
    """The drain tells them apart, and keeps them as dead letters."""
    odd = Event(event_id=7, ts=datetime(2026, 1, 1, tzinfo=UTC), tenant="a", kind=Kind.TURN)
    assert json.loads(encode(odd))["event_id"] == 7

import pickle
import time
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from closedloop.core.errors import InputError
from closedloop.data.event import Event, Kind, new_event_id
from closedloop.serve.client_calls import new_id
from closedloop.serve.stamp import (
    MAX_SKEW_S,
    NEW,
    SPAN_S,
    IdempotencyMismatch,
    key_in,
    may_wait_in_a_buffer,
    stamp_of,
)

NOW_S = 1_800_000_123.0


def seconds_of(event_id):
    return (UUID(event_id).int >> 80) / 1000


def test_without_a_key_ids_are_new_and_nothing_is_looked_up():
    assert NEW.event_id(0) != NEW.event_id(0)
    assert list(NEW.as_logged()) == []
    assert NEW.identity == {}


def test_attempts_of_a_call_have_the_same_ids_and_other_calls_others():
    key = str(uuid4())
    first, again = (stamp_of("1", key, b"d", now_s=NOW_S + late) for late in (0, 1))
    assert [first.event_id(i) for i in range(3)] == [again.event_id(i) for i in range(3)]
    assert first.request_id() == again.request_id()
    ids = {stamp_of("1", key, b"d", now_s=NOW_S).event_id(i) for i in range(3)}
    ids |= {stamp_of("2", key, b"d", now_s=NOW_S).event_id(0), first.request_id()}
    ids |= {stamp_of("1", str(uuid4()), b"d", now_s=NOW_S).event_id(0)}
    ids |= {first.part("m", lambda _: {}).event_id(0)}
    assert len(ids) == 7
    assert all(UUID(each).version == 7 for each in ids)


def test_ids_bear_the_time_of_a_key_that_is_a_uuid7():
    key = new_event_id(at=datetime.fromtimestamp(NOW_S - 60, UTC))
    stamp = stamp_of("1", key, b"d", now_s=NOW_S)
    assert seconds_of(stamp.event_id(0)) == pytest.approx(NOW_S - 60, abs=0.002)
    assert len(list(stamp.as_logged())) == 1


@pytest.mark.parametrize("late_s", [1, SPAN_S - 1, SPAN_S])
def test_an_attempt_in_the_next_span_finds_the_ids_of_the_one_before(late_s):
    begins_s = NOW_S // SPAN_S * SPAN_S
    first = stamp_of("1", "a-key", b"d", now_s=begins_s)
    again = stamp_of("1", "a-key", b"d", now_s=begins_s + late_s)
    assert first.event_id(0) in [stamp.event_id(0) for stamp in again.as_logged()]
    assert 0 <= begins_s - seconds_of(first.event_id(0)) < SPAN_S


@pytest.mark.parametrize("off_s", [-MAX_SKEW_S - 1, MAX_SKEW_S + 1])
def test_a_key_of_another_time_does_not_date_the_ids(off_s):
    key = new_event_id(at=datetime.fromtimestamp(NOW_S + off_s, UTC))
    assert 0 <= NOW_S - seconds_of(stamp_of("1", key, b"d", now_s=NOW_S).event_id(0)) < SPAN_S


def test_a_key_made_this_moment_is_not_looked_up():
    assert list(stamp_of("1", new_id(), b"d").as_logged()) == []
    ahead = new_event_id(at=datetime.fromtimestamp(time.time() + 60, UTC))
    assert len(list(stamp_of("1", ahead, b"d").as_logged())) == 1  # another clock tells no age


@given(st.from_regex(r"[!-~]{1,255}", fullmatch=True))
def test_any_visible_text_is_a_key(text):
    assert key_in(text)
    assert UUID(stamp_of("1", text, b"d").event_id(0)).version == 7


@pytest.mark.parametrize("told", ["", " ", "a key", "x" * 256, "schlüssel", '"a b"', "tab\t"])
def test_what_is_no_key_is_refused(told):
    with pytest.raises(InputError, match="visible ASCII"):
        key_in(told)


def test_an_event_of_another_call_is_told_apart():
    stamp = stamp_of("1", "a-key", b"one", now_s=NOW_S)
    event = Event(
        event_id="e",
        ts=datetime.now(UTC),
        tenant="shop",
        kind=Kind.PREDICTION,
        attributes=stamp.identity,
    )
    stamp.check(event)
    with pytest.raises(IdempotencyMismatch):
        stamp_of("1", "a-key", b"other", now_s=NOW_S).check(event)


def test_the_digest_of_a_request_tells_nothing_without_the_key():
    digests = {stamp_of("1", str(uuid4()), b"13800138000").digest for _ in range(3)}
    assert len(digests) == 3


def test_a_mismatch_survives_pickling():
    error = pickle.loads(pickle.dumps(IdempotencyMismatch()))
    assert (type(error), error.http_status) == (IdempotencyMismatch, 422)


def test_only_what_is_young_may_wait_in_a_buffer():
    def may(seconds):
        made = datetime.fromtimestamp(time.time() + seconds, UTC)
        return may_wait_in_a_buffer(new_event_id(at=made), settle_s=2.0)

    assert may(0)
    assert not may(-10_000.001)
    assert not may(2 * MAX_SKEW_S)
    derived = stamp_of("1", "a-key", b"d")
    assert may_wait_in_a_buffer(derived.event_id(0), settle_s=2.0)

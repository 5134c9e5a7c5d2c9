from dataclasses import replace
from datetime import UTC, datetime

from closedloop.data.event import Event, Kind
from closedloop.defence.stream_texts import ToldTexts, carries_text

AT = datetime(2026, 1, 1, tzinfo=UTC)


def said(event_id, kind=Kind.PREDICTION, text="where is it", **more):
    return Event(event_id=event_id, ts=AT, tenant="shop", kind=kind, text=text, **more)


def test_turns_and_predictions_with_a_text_of_the_user_count():
    assert carries_text(said("a"))
    assert carries_text(said("a", Kind.TURN, attributes={"role": "user"}))
    assert not carries_text(said("a", Kind.TURN, attributes={"role": "assistant"}))
    assert not carries_text(said("a", Kind.FEEDBACK))
    assert not carries_text(said("a", text=None))
    assert not carries_text(said("a", text=""))


def test_a_turn_that_several_models_answered_counts_once():
    told = ToldTexts()
    assert told.is_new(said("a", model="m1"))
    assert not told.is_new(said("b", model="m2", attributes={"turn_first": "a"}))
    assert told.is_new(said("c", model="m1"))  # the same words, said again


def test_a_turn_of_a_dialogue_counts_once_whatever_tells_of_it():
    told = ToldTexts()
    turn = {"dialogue_id": "d", "turn": 3}
    assert told.is_new(said("a", Kind.TURN, **turn))
    assert not told.is_new(said("b", **turn))
    assert told.is_new(said("c", text="another text of the batch", **turn))
    assert told.is_new(said("d", dialogue_id="d", turn=4))
    assert told.is_new(said("e", dialogue_id="d"))
    assert told.is_new(said("f", dialogue_id="d"))


def test_a_call_that_several_models_answered_counts_once():
    told = ToldTexts()
    assert told.is_new(said("a", attributes={"call_digest": "1"}))
    assert not told.is_new(said("b", attributes={"call_digest": "1"}))
    assert told.is_new(said("c", attributes={"call_digest": "2"}))


def test_an_event_that_comes_twice_counts_once():
    told = ToldTexts()
    assert told.is_new(said("a"))
    assert not told.is_new(said("a"))


def test_a_thumb_about_any_event_of_a_turn_is_about_the_one_that_counted():
    told = ToldTexts()
    told.is_new(said("a", Kind.TURN, dialogue_id="d", turn=1))
    told.is_new(said("b", dialogue_id="d", turn=1))
    told.is_new(said("c"))
    told.is_new(said("d", attributes={"turn_first": "c"}))
    thumb = said("x", Kind.FEEDBACK, feedback="down", refers_to="b")
    assert told.counted_as(thumb) == "a"
    assert told.counted_as(replace(thumb, refers_to="d")) == "c"
    assert told.counted_as(replace(thumb, refers_to="c")) == "c"
    assert told.counted_as(replace(thumb, refers_to="of another day")) == "of another day"
    assert told.counted_as(replace(thumb, refers_to=None)) is None


def test_what_is_remembered_is_bounded_and_goes_on_elsewhere():
    told = ToldTexts()
    for number in range(5_000):
        told.is_new(said(str(number)))
    assert len(told.items()) == 2_048
    again = ToldTexts(told.items())
    assert not again.is_new(said("4999"))
    assert again.is_new(said("0"))

from datetime import UTC, datetime

import pytest

from closedloop.data.event import Event, Kind, new_event_id, to_table
from closedloop.data.lake import Lake
from closedloop.defence.rules.retirement_evidence import labels, rule_answers
from closedloop.defence.rules.rule import Act, Rule

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()
DAY = 86_400
RULE = Rule(
    id="r1",
    revision=1,
    created_at=NOW - 30 * DAY,
    changed_at=NOW - 30 * DAY,
    tenant="shop",
    name="night",
    condition="coupon",
    act=Act.INTENT,
    value="outage",
)


@pytest.fixture
def lake(tmp_path):
    return Lake(str(tmp_path / "lake"))


@pytest.fixture
def write(lake):
    """Returns a function that writes an event of the rule and returns what is read of all."""

    def writing(*, ago_s=0.0, rules=(RULE,), **fields):
        usual = {"text": "coupon", "rule_id": "r1", "tenant": "shop", "kind": Kind.PREDICTION}
        ts = datetime.fromtimestamp(NOW - ago_s, UTC)
        event = Event(event_id=new_event_id(), ts=ts, **{**usual, **fields})
        lake.append("predictions", to_table([event]))
        found = rule_answers(lake, rules, now=NOW, days=14)
        return sorted(found.select("model", "version", "answer", "confidence", "times").rows())

    return writing


MODEL = {"model": "shop.m", "model_version": 3, "prediction": "outage", "confidence": 1.0}


def test_the_models_own_answer_is_read_beside_the_rules(write):
    asked = {"model_prediction": "refund", "model_confidence": "0.7"}
    assert write(**MODEL, attributes=asked) == [("shop.m", 3, "refund", 0.7, 1)]


def test_where_the_rule_gave_no_intent_the_answer_is_the_models(write):
    assert write(**MODEL | {"confidence": 0.8}) == [("shop.m", 3, "outage", 0.8, 1)]


def test_both_versions_of_a_trial_are_read(write):
    attributes = {
        "trial_stage": "shadow",
        "champion_version": "3",
        "trial_version": "4",
        "champion_prediction": "refund",
        "champion_confidence": "0.6",
        "trial_prediction": "outage",
        "trial_confidence": "0.9",
        "model_prediction": "refund",
    }
    assert write(**MODEL, attributes=attributes) == [
        ("shop.m", 3, "refund", 0.6, 1),
        ("shop.m", 4, "outage", 0.9, 1),
    ]


def test_what_a_model_would_have_said_to_a_turn_is_read(write):
    shadow = {"shadow_model": "shop.m", "shadow_version": "3", "shadow_prediction": "outage"}
    turn = {"prediction": "outage", "confidence": 1.0}
    assert write(**turn, attributes=shadow | {"shadow_confidence": "0.9"}) == [
        ("shop.m", 3, "outage", 0.9, 1)
    ]
    # A turn that no model was asked about tells nothing.
    assert len(write(**turn, attributes={"shadow_problem": "busy"})) == 1


def test_equal_texts_of_one_version_are_one_row(write):
    write(**MODEL | {"confidence": 0.8})
    assert write(**MODEL | {"confidence": 0.75}) == [("shop.m", 3, "outage", 0.75, 2)]
    assert len(write(**MODEL, text="another")) == 2
    assert len(write(**MODEL | {"model_version": 4})) == 3


def test_what_came_before_the_rule_was_changed_is_another_rules(write):
    from dataclasses import replace

    assert write(**MODEL, ago_s=15 * DAY) == []
    assert write(**MODEL, ago_s=2 * DAY) != []
    assert write(**MODEL, ago_s=DAY, rules=[replace(RULE, changed_at=NOW - 3_600)]) == []


def test_other_traffic_is_left_out(write):
    assert write(**MODEL, rule_id=None) == []
    assert write(**MODEL, rule_id="r2") == []
    assert write(**MODEL, text=None) == []


def test_a_lake_without_predictions_tells_nothing(lake):
    assert rule_answers(lake, [RULE], now=NOW, days=14).height == 0
    assert rule_answers(lake, [], now=NOW, days=14).height == 0
    assert labels(lake).columns == ["model", "text", "label"]

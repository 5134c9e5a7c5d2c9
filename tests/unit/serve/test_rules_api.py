"""Keyword rules in answers, turns, streams and events."""

import json
from dataclasses import replace

import pytest

from closedloop.core.store import Store
from closedloop.defence.rules.rule import Act, RuleDraft
from closedloop.defence.rules.rule_book import RuleBook
from closedloop.models.model_version import Champion
from closedloop.models.reference import ModelRef
from closedloop.models.trial import Stage, Trial
from closedloop.serve.catalog import Catalog
from closedloop.serve.rule_follower import RuleFollower

DESK = "shop.intent.desk"
PREDICT = f"/v1/models/{DESK}:predict"
RULE = RuleDraft(
    tenant="shop", name="夜 coupon", condition="refund AND please", act=Act.INTENT, value="coupon"
)
SAID = {"act": Act.ANSWER, "value": "We are at it."}


@pytest.fixture
def book(tmp_path):
    store = Store.open(f"sqlite:///{tmp_path / 'store.db'}")
    yield RuleBook(store)
    store.close()


@pytest.fixture
def rule(desk, book):
    """Returns a function that adds a rule, which the API obeys then."""
    desk.service.rules = RuleFollower(book.since)

    def add(**changes):
        added = book.add(replace(RULE, **changes))
        desk.service.rules.look()
        return added

    return add


def told_of(rule):
    return {"id": rule.id, "name": rule.name, "act": rule.act.value, "value": rule.value}


def test_an_intent_of_a_rule_takes_the_place_of_the_models(desk, rule):
    kept = rule()
    texts = ["Refund, please", "hello"]
    ruled, plain = desk.post(PREDICT, {"texts": texts}).json()["predictions"]
    assert (ruled["label"], ruled["confidence"]) == ("coupon", 1.0)
    assert ruled["top"] == [{"label": "coupon", "confidence": 1.0}]
    assert ruled["rule"] == told_of(kept)
    assert (plain["label"], plain["rule"]) == ("greeting", None)
    first, second = desk.events()
    assert (first.rule_id, first.prediction, first.confidence) == (kept.id, "coupon", 1.0)
    assert first.attributes["model_prediction"] == "refund"
    assert 0 < float(first.attributes["model_confidence"]) < 1
    assert (second.rule_id, second.prediction) == (None, "greeting")


def test_what_a_rule_says_stands_beside_the_models_answer(desk, rule):
    kept = rule(**SAID)
    [told] = desk.post(PREDICT, {"text": "refund please"}).json()["predictions"]
    assert (told["label"], told["rule"]) == ("refund", told_of(kept))
    [event] = desk.events()
    assert (event.rule_id, event.prediction) == (kept.id, "refund")


def test_a_dry_run_is_in_the_event_and_not_in_the_answer(desk, rule):
    kept = rule(dry_run=True)
    [told] = desk.post(PREDICT, {"text": "refund please"}).json()["predictions"]
    assert (told["label"], told["rule"]) == ("refund", None)
    [event] = desk.events()
    assert (event.rule_id, event.attributes["dry_run_rules"]) == (None, kept.id)


def test_rules_stay_with_their_tenant_and_channel(desk, rule):
    rule(tenant="bank")
    rule(channels=("app",))
    for channel, label in (("web", "refund"), ("app", "coupon"), (None, "refund")):
        body = {"text": "refund please", "channel": channel}
        assert desk.post(PREDICT, body).json()["predictions"][0]["label"] == label


def test_rules_see_the_masked_text(desk, rule):
    rule(condition='"13800138000"')
    told = desk.post(PREDICT, {"text": "refund 13800138000"}).json()["predictions"][0]
    assert told["rule"] is None


def test_a_turn_is_decided_by_a_rule_before_a_model_is_asked(desk, rule):
    kept = rule(**SAID)
    body = {"text": "refund please", "dialogue_id": "d-1", "turn": 2, "user_id": "ann"}
    told = desk.post("/v1/turn", body).json()
    assert (told["decided_by"], told["rule_id"], told["rule"]) == ("rule", kept.id, told_of(kept))
    assert (told["fallback"], told["label"], told["candidates"]) == (False, None, [])
    assert [each["step"] for each in told["steps"]] == ["route", "rule"]
    [event] = desk.events()
    assert (event.event_id, event.rule_id) == (told["prediction_id"], kept.id)
    assert (event.model, event.dialogue_id, event.turn) == (None, "d-1", 2)
    assert event.user_id == "p-shop"
    feedback = {"prediction_id": event.event_id, "feedback": "down"}
    assert desk.post("/v1/feedback", feedback).status_code == 201

    told = desk.post("/v1/turn", {"text": "hello", "min_confidence": 0}).json()
    assert (told["decided_by"], told["rule"]) == ("model", None)
    assert [each["step"] for each in told["steps"]] == ["route", "rule", "model"]


def test_a_turn_of_an_intent_rule_has_its_label(desk, rule):
    rule()
    told = desk.post("/v1/turn", {"text": "refund please"}).json()
    assert (told["decided_by"], told["label"], told["confidence"]) == ("rule", "coupon", 1.0)


def test_a_stream_tells_the_rule_line_by_line(desk, rule):
    kept = rule()
    body = "\n".join(json.dumps({"text": text}) for text in ("hello", "refund please")) + "\n"
    answered = desk.call("POST", f"{PREDICT}_stream", content=body.encode()).text.splitlines()
    plain, ruled = map(json.loads, answered)
    assert (plain["rule"], ruled["rule"], ruled["label"]) == (None, told_of(kept), "coupon")


def test_a_repeated_call_tells_the_rule_that_decided_then(desk, rule, book):
    kept = rule()
    headers = {"idempotency-key": "8e03978e-40d5-43e8-bc93-6894a57f9324"}
    first = desk.post(PREDICT, {"text": "refund please"}, headers=headers)
    assert desk.writer.flush(10)
    book.retire(kept.id, "done")
    desk.service.rules.look()
    desk.app.middleware_stack = None  # another replica: it remembers nothing
    again = desk.post(PREDICT, {"text": "refund please"}, headers=headers)
    assert again.json() == first.json()
    assert len(desk.events()) == 1


def test_rules_go_before_both_versions_of_a_trial(desk, rule):
    kept = rule()
    champion = Champion(ref=ModelRef.parse(DESK), version=3, path="/m", sha256="")
    trial = Trial(candidate=replace(champion, version=4), stage=Stage.CANARY, percent=100)
    desk.host.apply(Catalog.of([champion], [trial])).result(10)
    told = desk.post(PREDICT, {"text": "refund please", "user_id": "ann"}).json()
    assert told["predictions"][0]["rule"] == told_of(kept)
    [event] = desk.events()
    assert (event.rule_id, event.prediction) == (kept.id, "coupon")
    assert event.attributes["trial_prediction"] == "refund"


def test_health_tells_that_rules_are_not_read(desk, rule):
    desk.service.rules.problem = "The store is away."
    assert any("rules" in each for each in desk.call("GET", "/healthz").json()["problems"])


def test_the_client_knows_the_rule(desk, rule):
    from closedloop.serve import client_calls

    kept = rule(**SAID)
    call = client_calls.turn("refund please", {})
    answered = desk.post("/v1/turn", {"text": "refund please"})
    turn = call.read(answered.text)
    assert (turn.decided_by, turn.rule.id, turn.rule.value) == ("rule", kept.id, "We are at it.")
    call = client_calls.predict(DESK, ["refund please"], {})
    answers = call.read(desk.post(PREDICT, {"texts": ["refund please"]}).text)
    assert answers.predictions[0].rule == turn.rule

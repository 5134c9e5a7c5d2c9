"""Dialogue turns: which models are asked, which answer is given, what is logged."""

import threading
from dataclasses import dataclass

import pytest

from closedloop.core.api_key import Action, ApiKey
from closedloop.data.event import Kind
from closedloop.defence.stream_texts import ToldTexts
from closedloop.serve.admission.breaker import BreakerLimits

TURN = "/v1/turn"
SURE = {"first": 0.4, "second": 0.9, "third": 0.6}


@dataclass(frozen=True)
class Answer:
    label: str
    confidence: float
    top: tuple[tuple[str, float], ...]


class Model:
    """Answers its own name, as sure as `SURE` says; a broken one raises."""

    size_bytes = 1
    go = threading.Event()

    def __init__(self, champion):
        self.name = champion.ref.name
        if self.name == "damaged":
            raise OSError("unreadable")

    def predict_many(self, texts):
        if self.name == "broken" and "warm up" not in texts[0]:
            raise ZeroDivisionError("a secret of the model")
        if self.name == "hanging" and "warm up" not in texts[0]:
            assert self.go.wait(30)
        share = SURE.get(self.name, 0.0)
        return [Answer(self.name, share, ((self.name, share),)) for _ in texts]


@pytest.fixture
def turns(serve_models):
    def make(*names):
        return serve_models(*names, load=Model)

    return make


@pytest.fixture
def three(turns):
    return turns("shop.intent.first", "shop.intent.second", "shop.intent.third", "bank.intent.x")


def steps(response):
    return [(each["step"], each["model"]) for each in response.json()["steps"]]


def test_the_first_model_that_is_sure_enough_answers(three):
    body = {"text": "refund for 13800138000", "dialogue_id": "d-1", "turn": 3, "channel": "app"}
    response = three.post(TURN, body)
    told = response.json()
    assert (response.status_code, told["decided_by"], told["fallback"]) == (200, "model", False)
    assert (told["label"], told["model"], told["version"]) == ("second", "shop.intent.second", 3)
    assert told["confidence"] == 0.9
    assert [each["label"] for each in told["candidates"]] == ["second", "first"]
    assert steps(response) == [
        ("route", None),
        ("model", "shop.intent.first"),
        ("model", "shop.intent.second"),
    ]
    logged = three.events()
    assert {e.event_id for e in logged} == {e["prediction_id"] for e in told["candidates"]}
    assert {(e.kind, e.dialogue_id, e.turn, e.channel, e.text) for e in logged} == {
        (Kind.PREDICTION, "d-1", 3, "app", "refund for <PHONE>")
    }
    assert [e.attributes["turn_answer"] for e in logged] == ["passed over", "given"]
    assert logged[1].event_id == told["prediction_id"]


def test_where_none_is_sure_enough_the_fallback_tells_the_best(three):
    response = three.post(TURN, {"text": "x", "min_confidence": 0.95})
    told = response.json()
    assert (told["decided_by"], told["fallback"], told["label"]) == ("fallback", True, None)
    assert told["model"] is told["version"] is told["prediction_id"] is None
    assert [each["label"] for each in told["candidates"]] == ["second", "third", "first"]
    assert steps(response)[-1] == ("fallback", None)
    logged = three.events()
    told_texts = ToldTexts()
    assert [told_texts.is_new(event) for event in logged] == [True, False, False]


def test_named_models_are_asked_in_their_order(three):
    models = ["shop.intent.third", "shop.intent.second", "shop.intent.third"]
    response = three.post(TURN, {"text": "x", "models": models, "min_confidence": 0.8})
    assert response.json()["label"] == "second"
    assert steps(response)[1:] == [("model", models[0]), ("model", models[1])]


def test_a_turn_is_one_request_of_the_quota(serve_models):
    names = ("shop.intent.first", "shop.intent.second")
    api = serve_models(*names, load=Model, burst_per_key=2, rate_per_key_s=0.001)
    statuses = [api.post(TURN, {"text": "x"}).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]


@pytest.mark.parametrize("wrong", ["damaged", "broken"])
def test_a_model_that_fails_is_passed_over(turns, wrong):
    api = turns(f"shop.intent.{wrong}", "shop.intent.second")
    response = api.post(TURN, {"text": "x"})
    assert response.json()["label"] == "second"
    assert "secret" not in response.text
    assert len(api.events()) == 1


def test_a_model_that_hangs_is_passed_over(serve_models):
    names = ("shop.intent.hanging", "shop.intent.second")
    api = serve_models(*names, load=Model, breaker=BreakerLimits(hang_s=0.2))
    try:
        response = api.post(TURN, {"text": "x"})
    finally:
        Model.go.set()
    assert response.json()["label"] == "second"
    assert [each["outcome"] for each in response.json()["steps"][1:]] == [
        "did not answer",
        "answered",
    ]


@pytest.mark.parametrize(
    ("wrong", "status", "code"), [("damaged", 503, "unavailable"), ("broken", 500, "internal")]
)
def test_where_no_model_answers_that_is_told(turns, wrong, status, code):
    api = turns(f"shop.intent.{wrong}")
    api.assert_error(api.post(TURN, {"text": "x"}), status, code)


def test_a_key_of_all_tenants_must_name_one(three):
    three.assert_error(three.post(TURN, {"text": "x"}, key="cl_all"), 422, "invalid_request")
    body = {"text": "x", "tenant": "shop"}
    assert three.post(TURN, body, key="cl_all").json()["label"] == "second"


def test_other_tenants_and_routes_look_like_none(three):
    for body in (
        {"text": "x", "tenant": "bank"},
        {"text": "x", "tenant": "nobody"},
        {"text": "x", "route": "faq"},
        {"text": "x", "models": ["shop.intent.second", "bank.intent.x"]},
        {"text": "x", "models": ["shop.intent.none"]},
    ):
        three.assert_error(three.post(TURN, body), 404, "not_found")
    assert three.events() == []


def test_a_route_asks_only_the_models_of_the_key(three):
    of_key = {"client": "narrow", "tenant": "shop", "created_at": 0.0}
    three.keys["cl_narrow"] = ApiKey(id="8", models=("shop.intent.third",), **of_key)
    three.keys["cl_none"] = ApiKey(id="9", models=("shop.faq.*",), **of_key)
    three.keys["cl_reads"] = ApiKey(id="10", actions=frozenset({Action.READ}), **of_key)
    assert three.post(TURN, {"text": "x"}, key="cl_narrow").json()["label"] == "third"
    for key, body in (
        ("cl_none", {"text": "x"}),
        ("cl_narrow", {"text": "x", "models": ["shop.intent.first"]}),
        ("cl_reads", {"text": "x"}),
    ):
        three.assert_error(three.post(TURN, body, key=key), 403, "not_allowed")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"text": " "},
        {"text": "x", "models": []},
        {"text": "x", "models": ["m"] * 17},
        {"text": "x", "models": ["shop.intent.first"], "route": "intent"},
        {"text": "x", "min_confidence": 1.1},
        {"text": "x", "turns": 1},
    ],
)
def test_a_wrong_turn_is_refused(three, body):
    three.assert_error(three.post(TURN, body), 422, "invalid_request")

"""Turns that a rule decided show what the models would have said, at no cost of the client's."""

import asyncio
from dataclasses import dataclass

import pytest

from closedloop.core.store import Store
from closedloop.data.event import Event, Kind, from_micros, new_event_id
from closedloop.defence.rules.rule import Act, RuleDraft
from closedloop.defence.rules.rule_book import RuleBook
from closedloop.models.prediction import Prediction
from closedloop.serve.admission.access import RateLimit
from closedloop.serve.rule_follower import RuleFollower
from closedloop.serve.rule_shadow import RuleShadow

from .conftest import DESK, SLOW

TURN = {"text": "refund please", "min_confidence": 0.3}


@pytest.fixture
def ruled(tmp_path):
    """Returns a function that lets an API's turns about refunds be decided by a rule."""
    store = Store.open(f"sqlite:///{tmp_path / 'store.db'}")
    book = RuleBook(store)
    for tenant in ("shop", "retail"):
        draft = RuleDraft(
            tenant=tenant,
            name="night",
            condition="refund* OR poison OR slow",
            act=Act.ANSWER,
            value="At it.",
        )
        book.add(draft)

    def obeying(api):
        api.service.rules = RuleFollower(book.since)
        api.service.rules.look()
        return api

    yield obeying
    store.close()


def shadow_of(event):
    return {
        name.removeprefix("shadow_"): value
        for name, value in event.attributes.items()
        if name.startswith("shadow_")
    }


def test_the_models_answer_stands_in_the_rules_event_and_nowhere_else(desk, ruled):
    ruled(desk)
    told = desk.post("/v1/turn", TURN).json()
    assert (told["decided_by"], told["label"], told["candidates"]) == ("rule", None, [])
    [event] = desk.events()
    assert (event.event_id, event.model) == (told["prediction_id"], None)
    shadow = shadow_of(event)
    assert 0.3 < float(shadow.pop("confidence")) < 1
    assert shadow == {"model": DESK, "version": "3", "prediction": "refund"}


def test_a_model_that_fails_costs_only_the_evidence(make_api, ruled):
    api = ruled(make_api())
    told = api.post("/v1/turn", {"text": "poison"}).json()
    assert told["decided_by"] == "rule"
    [event] = api.events()
    assert shadow_of(event) == {"problem": "failed: ZeroDivisionError"}


def test_a_model_that_cannot_be_loaded_is_passed_over(make_api, ruled):
    api = ruled(make_api())
    for models, found in (
        (["retail.intent.damaged", "retail.intent.desk"], {"prediction": "refund"}),
        (["retail.intent.damaged"], {"problem": "not asked: a model was not in memory"}),
    ):
        body = {"text": "refund", "models": models}
        assert api.post("/v1/turn", body).json()["decided_by"] == "rule"
        assert found.items() <= shadow_of(api.events()[-1]).items()


def test_a_repeated_turn_leaves_one_event(desk, ruled):
    ruled(desk)
    headers = {"idempotency-key": "8e03978e-40d5-43e8-bc93-6894a57f9324"}
    first = desk.post("/v1/turn", TURN, headers=headers).json()
    desk.app.middleware_stack = None  # another replica: it remembers nothing
    assert desk.post("/v1/turn", TURN, headers=headers).json() == first
    assert len(desk.events()) == 1


# Without HTTP: what bounds it.


def an_event(text="refund"):
    event = {"ts": from_micros(0), "tenant": "shop", "kind": Kind.PREDICTION, "text": text}
    return Event(event_id=new_event_id(), **event)


class Desk:
    """A shadow over an API's host and log."""

    def __init__(self, api, **more):
        self.api = api
        self.problem = None
        self.shadow = RuleShadow(
            host=api.host, writer=api.writer, problem=lambda _: self.problem, **more
        )
        api.service.rule_shadow = self.shadow

    def write(self, *texts, models, least=0.5):
        async def run():
            for text in texts:
                self.shadow.write(an_event(text), models, least=least)
            assert await asyncio.to_thread(self.shadow.flush, 10)

        asyncio.run(run())
        return [shadow_of(event) for event in self.api.events()]


def test_only_so_many_are_asked(desk):
    limited = Desk(desk, limit=RateLimit(rate_per_s=1, burst=1, clock=lambda: 0.0))
    found = limited.write("refund", "refund please", models=[DESK])
    assert {"problem": "not asked: enough others were"} in found
    assert [each.get("prediction") for each in found].count("refund") == 1


def test_a_model_that_is_not_in_memory_is_not_loaded_for_it(desk):
    assert Desk(desk).write("refund", models=[DESK, "shop.intent.other"]) == [
        {"problem": "not asked: a model was not in memory"}
    ]


def test_a_model_that_is_slow_or_fails_is_left_alone(desk):
    guarded = Desk(desk)
    guarded.problem = "slow"
    assert guarded.write("refund", models=[DESK]) == [
        {"problem": "not asked: a model is slow or fails"}
    ]


def test_a_model_that_hangs_is_given_up_and_its_event_written(make_api):
    api = make_api()
    name = "retail.intent.desk"
    hanging = Desk(api, answer_s=0.05)
    try:
        assert hanging.write(SLOW.strip(), models=[name]) == [
            {"problem": "no answer within 0.05 s"}
        ]
    finally:
        api.host.get(name).model.gate.set()


def test_what_waits_at_the_end_is_written_without_an_answer(make_api):
    api = make_api()
    name = "retail.intent.desk"
    hanging = Desk(api)

    async def run():
        hanging.shadow.write(an_event(SLOW.strip()), [name], least=0.5)

    asyncio.run(run())
    model = api.host.get(name).model
    assert model.reached.acquire(timeout=10)
    hanging.shadow.close()
    assert [shadow_of(event) for event in api.events()] == [
        {"problem": "not asked: the replica ended"}
    ]
    model.gate.set()


@dataclass
class Sure:
    """A model that answers with its own name, as sure as its name says."""

    champion: object
    size_bytes = 1

    def predict_many(self, texts):
        name = self.champion.ref.name
        share = int(name[1:]) / 10
        return [Prediction(label=name, confidence=share, top=()) for _ in texts]


@pytest.mark.parametrize(
    ("least", "decides"), [(0.3, "m4"), (0.5, "m6"), (0.7, "m8"), (0.95, "m8")]
)
def test_the_first_that_is_sure_enough_would_have_decided(serve_models, least, decides):
    names = ["shop.intent.m4", "shop.intent.m6", "shop.intent.m2", "shop.intent.m8"]
    api = serve_models(*names, load=Sure)
    [found] = Desk(api).write("hello", models=names, least=least)
    assert (found["prediction"], found["model"]) == (decides, f"shop.intent.{decides}")

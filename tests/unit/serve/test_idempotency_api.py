"""Calls that are sent again, to the replica that answered them and to another one."""

import asyncio

import httpx
import pytest

from closedloop.core.errors import EngineError
from closedloop.data.event import Kind
from closedloop.models.model_version import Champion
from closedloop.models.reference import ModelRef
from closedloop.models.trial import Stage, Trial
from closedloop.serve.catalog import Catalog
from closedloop.serve.client import AsyncClient
from closedloop.serve.client_attempts import ApiInputError

DESK = "shop.intent.desk"
PREDICT = f"/v1/models/{DESK}:predict"
BODY = {"texts": ["refund please", "包裹在哪里"], "dialogue_id": "d-1", "user_id": "ann"}
KEY = "8e03978e-40d5-43e8-bc93-6894a57f9324"  # no UUIDv7: an earlier attempt is always looked for


@pytest.fixture
def replicas(serve_models):
    """Two replicas that share the event log."""
    return serve_models(), serve_models()


def send(api, path, body, key=KEY, *, of="cl_shop"):
    return api.post(path, body, headers={"idempotency-key": key}, key=of)


def release(api, version):
    champion = Champion(ref=ModelRef.parse(DESK), version=version, path="/m", sha256="")
    api.host.apply(Catalog.of([champion])).result(10)


def test_a_repeated_call_gets_the_same_answer_and_leaves_no_second_event(desk):
    first = send(desk, PREDICT, BODY)
    release(desk, 4)
    again = send(desk, PREDICT, BODY)
    assert (again.status_code, again.content) == (200, first.content)
    assert again.headers == first.headers
    assert [e.event_id for e in desk.events()] == [
        each["prediction_id"] for each in first.json()["predictions"]
    ]


def test_a_header_in_quotes_is_the_same_key(desk):
    assert send(desk, PREDICT, BODY).content == send(desk, PREDICT, BODY, f'"{KEY}"').content


def test_another_replica_gives_the_logged_answer_though_the_champion_moved(replicas):
    one, other = replicas
    first = send(one, PREDICT, BODY)
    assert len(one.events()) == 2
    release(other, 4)
    again = send(other, PREDICT, BODY)
    assert again.content == first.content
    assert again.json()["version"] == 3
    assert len(other.events()) == 2


def test_two_replicas_that_answer_at_once_leave_each_event_once(replicas):
    one, other = replicas

    async def run():
        async with one.client() as a, other.client() as b:
            headers = {"idempotency-key": KEY}
            return await asyncio.gather(
                *(each.post(PREDICT, json=BODY, headers=headers) for each in (a, b))
            )

    first, second = asyncio.run(run())
    assert first.content == second.content
    one.events()
    assert len(other.events()) == 2


@pytest.mark.parametrize("elsewhere", [False, True])
def test_the_same_key_with_another_request_is_refused(replicas, elsewhere):
    one, other = replicas
    send(one, PREDICT, BODY)
    one.events()
    api = other if elsewhere else one
    prediction_id = one.post(PREDICT, BODY).json()["predictions"][0]["prediction_id"]
    for path, body in (
        (PREDICT, BODY | {"dialogue_id": "d-2"}),
        ("/v1/feedback", {"prediction_id": prediction_id, "feedback": "up"}),
    ):
        error = api.assert_error(send(api, path, body), 422, "idempotency_mismatch")
        assert "parcel" not in str(error)


def test_keys_of_other_clients_do_not_meet(desk):
    first = send(desk, PREDICT, BODY)
    theirs = send(desk, PREDICT, {"text": "hello"}, of="cl_all")
    assert theirs.status_code == 200
    assert theirs.json()["request_id"] != first.json()["request_id"]


def test_what_was_refused_may_be_tried_again(serve_models):
    api = serve_models(buffer_events=1)
    api.assert_error(send(api, PREDICT, BODY), 429, "overloaded")
    assert send(api, PREDICT, {"text": "hello"}).status_code == 200


@pytest.mark.parametrize("stage", list(Stage))
def test_a_version_on_trial_answers_once_too(replicas, stage):
    def version(number):
        return Champion(ref=ModelRef.parse(DESK), version=number, path="/m", sha256="")

    trial = Trial(candidate=version(5), stage=stage, percent=100.0)
    one, other = replicas
    for api in replicas:
        api.host.apply(Catalog.of([version(3)], [trial])).result(10)
    first = send(one, PREDICT, BODY)
    assert first.json()["version"] == (5 if stage is Stage.CANARY else 3)
    one.service.trials.close()  # writes what waits for the other version
    logged = one.events()
    assert [event.attributes["trial_version"] for event in logged] == ["5", "5"]
    other.host.apply(Catalog.of([version(6)])).result(10)
    assert send(other, PREDICT, BODY).content == first.content
    assert len(other.events()) == 2


def test_feedback_is_stored_once(replicas):
    one, other = replicas
    prediction_id = one.post(PREDICT, BODY).json()["predictions"][0]["prediction_id"]
    body = {"prediction_id": prediction_id, "feedback": "down", "comment": "call 13800138000"}
    first = send(one, "/v1/feedback", body)
    assert first.status_code == 201
    for api in (one, other):
        again = send(api, "/v1/feedback", body)
        assert (again.status_code, again.content) == (201, first.content)
    stored = [event for event in other.events() if event.kind is Kind.FEEDBACK]
    assert [event.event_id for event in stored] == [first.json()["feedback_id"]]


def test_feedback_finds_a_prediction_whose_id_was_derived(desk):
    prediction = send(desk, PREDICT, BODY).json()["predictions"][0]
    body = {"prediction_id": prediction["prediction_id"], "feedback": "up"}
    assert desk.post("/v1/feedback", body).status_code == 201


def test_a_turn_is_answered_once(replicas):
    one, other = replicas
    body = {"text": "refund please", "dialogue_id": "d-1", "min_confidence": 0.99}
    first = send(one, "/v1/turn", body)
    assert first.status_code == 200
    one.events()
    release(other, 4)
    for api in (one, other):
        assert send(api, "/v1/turn", body).content == first.content
    assert len(other.events()) == 1


@pytest.mark.parametrize("key", ["", "two words", "x" * 256])
def test_a_header_that_is_no_key_is_refused(desk, key):
    desk.assert_error(send(desk, PREDICT, BODY, key), 422, "invalid_request")
    assert desk.events() == []


def test_a_log_that_is_away_costs_no_answer(desk, monkeypatch):
    def away(_):
        raise EngineError("The log is away.", remedy="Wait.")

    monkeypatch.setattr(desk.service.predictor, "_logged", away)
    assert send(desk, PREDICT, BODY).status_code == 200


def test_the_client_sends_keys_that_serving_takes(desk):
    async def run():
        transport = httpx.ASGITransport(desk.app)
        async with AsyncClient("http://api", "cl_shop", transport=transport) as client:
            answers = await client.predict(DESK, ["refund please"])
            turn = await client.turn("refund please", dialogue_id="d-1")
            unsure = await client.turn("refund please", min_confidence=1.0)
            why = await client.explain(DESK, "refund please", most=3)
            with pytest.raises(ApiInputError):
                await client.explain(DESK, "refund please", label="none")
            told = await client.feedback(answers.predictions[0].prediction_id, "up")
            return answers, turn, unsure, why, told

    answers, turn, unsure, why, told = asyncio.run(run())
    assert answers.predictions[0].label == turn.label == why.label == "refund"
    assert (turn.decided_by, turn.fallback, turn.model, turn.version) == ("model", False, DESK, 3)
    assert (unsure.decided_by, unsure.label) == ("fallback", None)
    assert unsure.candidates[0].label == "refund"
    assert len(why.supporting) == 3
    assert told in [event.event_id for event in desk.events()]

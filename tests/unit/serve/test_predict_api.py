"""Predictions as a client asks for them, over ASGI, with a real event log and a stub model."""

import pytest

from closedloop.data.event import Kind

MODEL = "retail.intent.desk"
PREDICT = f"/v1/models/{MODEL}:predict"


def test_one_text_is_answered_and_logged_masked(api):
    response = api.post(
        PREDICT,
        {
            "text": " refund for 13800138000 ",
            "dialogue_id": "d1",
            "user_id": "ann@shop",
            "channel": "app",
            "turn": 2,
        },
    )
    assert response.status_code == 200
    body = response.json()
    assert (body["model"], body["version"]) == (MODEL, 3)
    (answer,) = body["predictions"]
    assert answer["top"] == [
        {"label": "refund", "confidence": 0.75},
        {"label": "greeting", "confidence": 0.25},
    ]
    (event,) = api.events()
    assert event.event_id == answer["prediction_id"]
    assert (event.kind, event.tenant, event.model) == (Kind.PREDICTION, "retail", MODEL)
    assert (event.model_version, event.prediction, event.confidence) == (3, "refund", 0.75)
    assert event.text == "refund for <PHONE>"
    assert (event.dialogue_id, event.turn, event.channel) == ("d1", 2, "app")
    assert event.user_id == "p-retail"
    assert event.latency_ms > 0


def test_a_dialogue_that_bears_a_phone_number_is_stored_under_a_pseudonym(api):
    for dialogue_id in ("wa_8613812345678", "d-1"):
        body = {"text": "hi", "dialogue_id": dialogue_id}
        assert api.post(PREDICT, body).status_code == 200
    assert [event.dialogue_id for event in api.events()] == ["p-retail", "d-1"]


def test_several_texts_are_answered_in_order(api):
    body = api.post(PREDICT, {"texts": ["one", "二"]}).json()
    assert [event.text for event in api.events()] == ["one", "二"]
    assert [p["prediction_id"] for p in body["predictions"]] == [e.event_id for e in api.events()]


def test_a_chinese_tenant_is_reached_by_its_url(api):
    assert api.post(
        "/v1/models/零售.intent.desk:predict", {"text": "退款"}, key="cl_all"
    ).is_success


def test_a_model_of_another_tenant_looks_like_none(api):
    others = api.assert_error(
        api.post("/v1/models/bank.intent.desk:predict", {"text": "x"}), 404, "not_found"
    )
    none = api.assert_error(
        api.post("/v1/models/bank.intent.none:predict", {"text": "x"}), 404, "not_found"
    )
    assert others["message"].replace("desk", "none") == none["message"]
    damaged = api.post("/v1/models/retail.intent.damaged:predict", {"text": "x"}, key="cl_bank")
    api.assert_error(damaged, 404, "not_found")


def test_a_champion_that_could_not_be_loaded_is_unavailable(api):
    response = api.post("/v1/models/retail.intent.damaged:predict", {"text": "x"})
    api.assert_error(response, 503, "unavailable")
    assert response.headers["retry-after"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body"),
        ({"text": "a", "texts": ["b"]}, "body"),
        ({"text": ""}, "text"),
        ({"text": " \n "}, "text"),
        ({"text": "x" * 8_001}, "text"),
        ({"text": 7}, "text"),
        ({"text": None, "texts": []}, "texts"),
        ({"texts": ["fine", " "]}, "texts.1"),
        ({"texts": ["x"] * 257}, "texts"),
        ({"text": "x", "turn": -1}, "turn"),
        ({"text": "x", "turn": 2**70}, "turn"),
        ({"text": "x", "user_id": ""}, "user_id"),
        ({"text": "x", "txet": "typo"}, "txet"),
        (["text"], "body"),
    ],
)
def test_a_wrong_body_is_told_by_field(api, body, field):
    error = api.assert_error(api.post(PREDICT, body), 422, "invalid_request")
    assert field in [told["field"] for told in error["fields"]]
    assert api.events() == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 10_000,
        b'{"text": "\\ud800"}',
        b'{"text": "x", "dialogue_id": "\\udfff"}',
        b'{"\\ud800": 1}',
        b'{"text": "x", "turn": NaN}',
    ],
)
def test_a_body_that_is_no_unicode_json_is_refused(api, content):
    response = api.call("POST", PREDICT, content=content)
    api.assert_error(response, 422, "invalid_request")


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_over_the_limit_gets_413(api, declared):
    content = b'{"text": "' + b"x" * 30_000 + b'"}'

    async def chunks():
        for start in range(0, len(content), 5_000):
            yield content[start : start + 5_000]

    response = api.call("POST", PREDICT, content=content if declared else chunks())
    api.assert_error(response, 413, "too_large")


def test_an_error_of_the_model_tells_no_secret(api):
    error = api.assert_error(api.post(PREDICT, {"text": "poison"}), 500, "internal")
    assert "secret" not in str(error)
    assert api.post(PREDICT, {"text": "fine"}).is_success


def test_a_full_event_buffer_refuses_instead_of_answering_unlogged(make_api):
    api = make_api(buffer_events=1)
    api.assert_error(api.post(PREDICT, {"texts": ["a", "b"]}), 429, "overloaded")
    assert api.events() == []

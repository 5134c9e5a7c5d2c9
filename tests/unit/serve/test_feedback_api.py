"""Feedback as a client sends it."""

import pytest

from closedloop.data.event import Kind, new_event_id
from closedloop.data.event_log.sqlite import SqliteEventLog

MODEL = "retail.intent.desk"
PREDICT = f"/v1/models/{MODEL}:predict"


def predicted(api, **more):
    body = api.post(PREDICT, {"text": "a text", "dialogue_id": "d1"}, **more).json()
    return body["predictions"][0]["prediction_id"]


def test_feedback_is_on_disk_and_says_what_it_is_about(api, tmp_path):
    prediction_id = predicted(api)
    response = api.post(
        "/v1/feedback",
        {"prediction_id": prediction_id, "feedback": "down", "comment": "call 13800138000"},
    )
    assert response.status_code == 201
    assert response.json()["version"] == 3
    # Another connection sees it already: it was committed before the answer.
    event = SqliteEventLog(tmp_path / "events.db").get(response.json()["feedback_id"])
    assert (event.kind, event.feedback, event.refers_to) == (Kind.FEEDBACK, "down", prediction_id)
    assert (event.text, event.model, event.model_version) == ("a text", MODEL, 3)
    assert (event.prediction, event.dialogue_id) == ("refund", "d1")
    assert event.attributes == {"comment": "call <PHONE>"}


def test_feedback_to_what_was_never_predicted_is_not_found(api):
    from datetime import UTC, datetime

    old = new_event_id(at=datetime(2020, 1, 1, tzinfo=UTC))
    future = "ffffffff-ffff-7fff-8fff-ffffffffffff"
    feedback_id = api.post(
        "/v1/feedback", {"prediction_id": predicted(api), "feedback": "up"}
    ).json()["feedback_id"]
    for unknown in (old, future, "0" * 8 + "-0000-0000-0000-" + "0" * 12, feedback_id):
        response = api.post("/v1/feedback", {"prediction_id": unknown, "feedback": "up"})
        api.assert_error(response, 404, "not_found")


def test_feedback_reaches_no_other_tenants_prediction(api):
    body = {"prediction_id": predicted(api), "feedback": "up"}
    api.assert_error(api.post("/v1/feedback", body, key="cl_bank"), 404, "not_found")


@pytest.mark.parametrize(
    "body",
    [
        {"prediction_id": "x", "feedback": "up"},
        {"prediction_id": new_event_id(), "feedback": "sideways"},
        {"prediction_id": new_event_id()},
        {"prediction_id": new_event_id(), "feedback": "up", "comment": "x" * 2_001},
    ],
)
def test_wrong_feedback_is_refused(api, body):
    api.assert_error(api.post("/v1/feedback", body), 422, "invalid_request")

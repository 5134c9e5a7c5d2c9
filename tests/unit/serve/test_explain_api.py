"""Explanations as a client asks for them."""

import pytest

from closedloop.core.api_key import Action, ApiKey

EXPLAIN = "/v1/models/shop.intent.desk:explain"


def test_terms_speak_for_the_predicted_label_and_add_up_to_its_score(desk, lean_model):
    told = desk.post(EXPLAIN, {"text": "refund please", "most": 100}).json()
    assert (told["model"], told["version"], told["label"]) == ("shop.intent.desk", 3, "refund")
    (answer,) = lean_model.predict_many(["refund please"])
    assert told["confidence"] == pytest.approx(answer.confidence)
    assert told["complete"]
    for list_, sign in (("supporting", 1), ("opposing", -1)):
        strengths = [each["score"] * sign for each in told[list_]]
        assert strengths == sorted(strengths, reverse=True)
        assert all(strength > 0 for strength in strengths)
    column = lean_model.classes.index("refund")
    added = sum(each["score"] for each in told["supporting"] + told["opposing"])
    score = lean_model.scores(["refund please"])[0][column] - lean_model.bias[column]
    assert added == pytest.approx(score)
    assert desk.events() == []


def test_another_label_and_fewer_terms(desk):
    told = desk.post(EXPLAIN, {"text": "refund please", "label": "greeting", "most": 2}).json()
    assert told["label"] == "greeting"
    assert told["confidence"] < 0.5
    assert len(told["supporting"]) <= 2
    assert len(told["opposing"]) == 2


def test_terms_are_of_the_masked_text(desk):
    told = desk.post(EXPLAIN, {"text": "13800138000", "most": 100})
    assert told.status_code == 200
    assert "138" not in str(told.json()["supporting"] + told.json()["opposing"])


def test_a_label_that_is_none_is_told_with_those_there_are(desk):
    response = desk.post(EXPLAIN, {"text": "x", "label": "none"})
    assert "delivery" in desk.assert_error(response, 422, "invalid_request")["remedy"]


def test_a_model_without_terms_says_so(api):
    response = api.post("/v1/models/retail.intent.desk:explain", {"text": "x"})
    api.assert_error(response, 409, "conflict")


def test_explaining_needs_what_predicting_needs(desk):
    of_key = {"client": "narrow", "tenant": "shop", "created_at": 0.0}
    desk.keys["cl_faq"] = ApiKey(id="8", models=("shop.faq.*",), **of_key)
    desk.keys["cl_reads"] = ApiKey(id="9", actions=frozenset({Action.READ}), **of_key)
    for key in ("cl_faq", "cl_reads"):
        desk.assert_error(desk.post(EXPLAIN, {"text": "x"}, key=key), 403, "not_allowed")
    desk.assert_error(desk.post(EXPLAIN, {"text": "x"}, key="cl_bank"), 404, "not_found")
    desk.assert_error(desk.post(EXPLAIN, {"text": "x"}, key=None), 401, "not_allowed")

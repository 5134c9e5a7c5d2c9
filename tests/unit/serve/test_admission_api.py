"""Whose request goes on, and how many do."""

import asyncio

import pytest

from closedloop.core.api_key import Action, ApiKey
from closedloop.data.event import new_event_id

MODEL = "retail.intent.desk"
PREDICT = f"/v1/models/{MODEL}:predict"
SLOW = "slow " * 1_000  # long enough to be answered in a thread


@pytest.mark.parametrize("key", [None, "cl_wrong", "nonsense"])
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", PREDICT), ("POST", "/v1/feedback"), ("GET", "/v1/models"), ("GET", "/v1/none")],
)
def test_no_guarded_route_answers_without_a_key(api, method, path, key):
    response = api.call(method, path, key=key, content=b"{not json")
    api.assert_error(response, 401, "not_allowed")
    assert response.headers["www-authenticate"] == "Bearer"


def test_a_call_takes_no_password_of_a_browser(api):
    response = api.post(PREDICT, {"text": "x"}, key=None, auth=("anybody", "cl_retail"))
    api.assert_error(response, 401, "not_allowed")
    assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/", "/nope", "/docs/", "/healthz/", "/metrics"])
def test_what_is_no_route_asks_for_a_key_too(api, path):
    api.assert_error(api.call("GET", path, key=None), 401, "not_allowed")


def test_what_a_key_lacks_is_named_and_other_tenants_stay_unseen(api, monkeypatch):
    narrow = ApiKey(
        id="4",
        client="narrow",
        tenant="retail",
        created_at=0.0,
        actions=frozenset({Action.PREDICT}),
        models=("retail.faq.*",),
    )
    monkeypatch.setitem(api.keys, "cl_narrow", narrow)
    refused = api.assert_error(
        api.post(PREDICT, {"text": "x"}, key="cl_narrow"), 403, "not_allowed"
    )
    assert MODEL in refused["remedy"]
    other = api.post("/v1/models/bank.intent.desk:predict", {"text": "x"}, key="cl_narrow")
    api.assert_error(other, 404, "not_found")
    body = {"prediction_id": new_event_id(), "feedback": "up"}
    for action, answer in (
        ("feedback", api.post("/v1/feedback", body, key="cl_narrow")),
        ("events", api.post("/v1/events", {"events": [{"text": "x"}]}, key="cl_narrow")),
        ("read", api.call("GET", "/v1/models", key="cl_narrow")),
        ("read", api.call("GET", "/docs", key="cl_narrow")),
    ):
        assert f"'{action}'" in api.assert_error(answer, 403, "not_allowed")["remedy"]


def test_the_keys_of_a_tenant_share_a_quota_and_are_told_when_to_come_back(make_api, monkeypatch):
    api = make_api(burst_per_tenant=2, rate_per_tenant_s=0.1)
    second = ApiKey(id="5", client="second", tenant="retail", created_at=0.0)
    monkeypatch.setitem(api.keys, "cl_second", second)
    keys = ("cl_retail", "cl_second", "cl_retail")
    *passed, refused = [api.post(PREDICT, {"text": "x"}, key=key) for key in keys]
    assert [each.status_code for each in passed] == [200, 200]
    assert "'retail'" in api.assert_error(refused, 429, "overloaded")["message"]
    assert 8 <= int(refused.headers["retry-after"]) <= 10
    assert api.post(PREDICT, {"text": "x"}, key="cl_all").is_success


def test_a_store_that_is_away_is_unavailable(api):
    api.assert_error(api.post(PREDICT, {"text": "x"}, key="cl_store_is_away"), 503, "unavailable")


def test_requests_over_the_limit_are_told_to_come_back(api):
    model = api.host.get(MODEL).model

    async def run():
        async with api.client() as client:
            slow = [asyncio.create_task(client.post(PREDICT, json={"text": SLOW}))] * 1
            slow.append(asyncio.create_task(client.post(PREDICT, json={"text": SLOW})))
            for _ in slow:
                await asyncio.to_thread(model.reached.acquire)
            refused = await client.post(PREDICT, json={"text": "x"})
            health = await client.get("/healthz")
            figures = await client.get("/metrics", headers={"authorization": "Bearer cl_figures"})
            assert figures.status_code == 200  # scrapes have places of their own
            model.gate.set()
            return refused, health, await asyncio.gather(*slow)

    refused, health, answered = asyncio.run(run())
    api.assert_error(refused, 429, "overloaded")
    assert int(refused.headers["retry-after"]) >= 1
    assert health.json()["in_flight"] == 2
    assert [response.status_code for response in answered] == [200, 200]
    assert api.service.health().in_flight == 0


def test_a_key_over_its_rate_is_refused_and_others_are_not(make_api):
    api = make_api(burst_per_key=2)
    statuses = [api.post(PREDICT, {"text": "x"}).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    assert api.post(PREDICT, {"text": "x"}, key="cl_all").is_success

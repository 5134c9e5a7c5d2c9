"""Routes that tell of the service: models, health, the description."""

import pytest

from closedloop.serve.catalog import Catalog
from closedloop.serve.model_host import ModelHost

MODEL = "retail.intent.desk"
PREDICT = f"/v1/models/{MODEL}:predict"


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_open_routes_name_no_model(api, path):
    response = api.call("GET", path, key=None)
    assert response.status_code == 200
    assert "bank.intent" not in response.text


def test_models_lists_those_of_the_tenant(api):
    models = api.call("GET", "/v1/models").json()["models"]
    assert models == [
        {
            "model": "retail.intent.damaged",
            "champion": 3,
            "serving": None,
            "problem": "OSError: unreadable",
        },
        {"model": MODEL, "champion": 3, "serving": 3, "problem": None},
    ]
    assert len(api.call("GET", "/v1/models", key="cl_all").json()["models"]) == 4


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [("GET", "/nope", 404, "not_found"), ("GET", PREDICT, 405, "wrong_method")],
)
def test_unknown_routes_and_methods_have_the_same_words(api, method, path, status, code):
    api.assert_error(api.call(method, path), status, code)


def test_health_tells_what_is_wrong(api):
    health = api.call("GET", "/healthz", key=None).json()
    assert (health["status"], health["models_serving"], health["models_failed"]) == (
        "degraded",
        3,
        1,
    )
    api.host.apply(Catalog.of([api.host.get(MODEL).champion]))
    assert api.call("GET", "/healthz").json()["status"] == "ok"
    api.service.watcher_answers = False
    assert "watcher" in api.call("GET", "/healthz").json()["problems"][0]


def test_readiness_waits_for_the_first_catalog(api):
    api.service.host = ModelHost(api.load)
    assert api.call("GET", "/readyz", key=None).status_code == 503
    api.service.host.apply(api.catalog)
    assert api.call("GET", "/readyz", key=None).status_code == 200


@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
def test_the_description_asks_a_browser_for_the_key(api, path):
    refused = api.call("GET", path, key=None)
    api.assert_error(refused, 401, "not_allowed")
    assert refused.headers["www-authenticate"].startswith("Basic realm=")
    assert api.call("GET", path).is_success
    assert api.call("GET", path, key=None, auth=("anybody", "cl_retail")).is_success
    wrong = api.call("GET", path, key=None, headers={"authorization": "Basic !"})
    api.assert_error(wrong, 401, "not_allowed")


def test_the_documentation_page_needs_no_internet(api):
    response = api.call("GET", "/docs")
    assert response.headers["content-type"].startswith("text/html")
    assert "http://" not in response.text
    assert "https://" not in response.text


def test_openapi_shows_keys_errors_and_examples(api):
    spec = api.call("GET", "/openapi.json").json()
    predict = spec["paths"]["/v1/models/{model}:predict"]["post"]
    assert predict["security"]
    assert {"200", "401", "404", "413", "422", "429", "503"} <= set(predict["responses"])
    wrong = predict["responses"]["422"]["content"]["application/json"]["schema"]["$ref"]
    assert wrong.endswith("/ErrorResponse")
    assert spec["components"]["schemas"]["PredictRequest"]["examples"]

"""The API as a client sees it, over ASGI, with a real event log and a model that knows little."""

import asyncio
import threading
from dataclasses import dataclass

import httpx
import pytest

from closedloop.core.api_key import Action, ApiKey
from closedloop.core.errors import EngineError, NotAllowed
from closedloop.data.event import Kind, new_event_id
from closedloop.data.event_log.protocol import START
from closedloop.data.event_log.sqlite import SqliteEventLog
from closedloop.models.reference import ModelRef
from closedloop.models.registry import Champion
from closedloop.serve.access import KeyRing
from closedloop.serve.api import build_app
from closedloop.serve.catalog import Catalog
from closedloop.serve.event_writer import EventWriter
from closedloop.serve.model_host import ModelHost
from closedloop.serve.options import ServingOptions
from closedloop.serve.service import Service

MODEL = "retail.intent.desk"
PREDICT = f"/v1/models/{MODEL}:predict"
OPTIONS = ServingOptions(max_body_bytes=20_000, max_in_flight=2, rate_per_key_s=0.1)
KEYS = {
    "cl_retail": ApiKey(id="1", client="shop", tenant="retail", created_at=0.0),
    "cl_all": ApiKey(id="2", client="operations", tenant="*", created_at=0.0),
    "cl_bank": ApiKey(id="3", client="bank", tenant="bank", created_at=0.0),
}


@dataclass(frozen=True)
class Answer:
    label: str
    confidence: float
    top: tuple[tuple[str, float], ...]


SLOW = "slow " * 1_000  # long enough to be answered in a thread


class Model:
    """Answers 'refund'; raises on 'poison'; waits at the gate on `SLOW`."""

    size_bytes = 1

    def __init__(self, champion):
        self.gate = threading.Event()
        self.reached = threading.Semaphore(0)
        if champion.ref.name == "damaged":
            raise OSError("unreadable")

    def predict_many(self, texts):
        if "poison" in texts:
            raise ZeroDivisionError("a secret of the model")
        if SLOW.strip() in texts:
            self.reached.release()
            assert self.gate.wait(10)
        return [Answer("refund", 0.75, (("refund", 0.75), ("greeting", 0.25))) for _ in texts]


def check(presented):
    if presented == "cl_store_is_away":
        raise EngineError("The store is away.", remedy="Wait.")
    if presented not in KEYS:
        raise NotAllowed("The API key is missing or not valid.", remedy="Get one.")
    return KEYS[presented]


class Api:
    """The application, its parts, and calls to it."""

    def __init__(self, folder, options):
        self.log = SqliteEventLog(folder / "events.db")
        self.writer = EventWriter(self.log, capacity_events=options.buffer_events)
        self.host = ModelHost(Model)
        self.service = Service(
            host=self.host,
            keys=KeyRing(check),
            log=self.log,
            writer=self.writer,
            mask=lambda text: text.replace("13800138000", "<PHONE>"),
            pseudonym=lambda user_id, tenant: f"p-{tenant}",
            options=options,
        )
        self.service.watcher_answers = True
        self.app = build_app(self.service, max_body_bytes=options.max_body_bytes)
        names = (MODEL, "bank.intent.desk", "retail.intent.damaged", "零售.intent.desk")
        self.catalog = Catalog.of(
            Champion(ref=ModelRef.parse(name), version=3, path="/m", sha256="") for name in names
        )
        self.host.apply(self.catalog).result(10)

    def client(self, key="cl_retail"):
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app),
            base_url="http://api",
            headers={"authorization": f"Bearer {key}"} if key else {},
        )

    def call(self, method, path, *, key="cl_retail", **more):
        async def run():
            async with self.client(key) as client:
                return await client.request(method, path, **more)

        return asyncio.run(run())

    def post(self, path, body, **more):
        return self.call("POST", path, json=body, **more)

    def events(self):
        assert self.writer.flush(10)
        return [logged.event for logged in self.log.read(START, limit=1000).events]


@pytest.fixture
def make_api(tmp_path):
    made = []

    def make(**more):
        made.append(Api(tmp_path, ServingOptions(**{**_defaults(), **more})))
        return made[-1]

    yield make
    for api in made:
        api.service.close()


def _defaults():
    return {name: getattr(OPTIONS, name) for name in ServingOptions.__dataclass_fields__}


@pytest.fixture
def api(make_api):
    return make_api()


def assert_error(response, status, code):
    """Every refusal has the same shape and says what to do."""
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error["code"] == code
    assert error["message"]
    assert error["remedy"]
    assert "Traceback" not in response.text
    return error


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


@pytest.mark.parametrize("key", [None, "cl_wrong", "nonsense"])
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", PREDICT), ("POST", "/v1/feedback"), ("GET", "/v1/models"), ("GET", "/v1/none")],
)
def test_no_guarded_route_answers_without_a_key(api, method, path, key):
    response = api.call(method, path, key=key, content=b"{not json")
    assert_error(response, 401, "not_allowed")
    assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_open_routes_name_no_model(api, path):
    response = api.call("GET", path, key=None)
    assert response.status_code == 200
    assert "bank.intent" not in response.text


@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
def test_the_description_asks_a_browser_for_the_key(api, path):
    refused = api.call("GET", path, key=None)
    assert_error(refused, 401, "not_allowed")
    assert refused.headers["www-authenticate"].startswith("Basic realm=")
    assert api.call("GET", path).is_success
    assert api.call("GET", path, key=None, auth=("anybody", "cl_retail")).is_success
    wrong = api.call("GET", path, key=None, headers={"authorization": "Basic !"})
    assert_error(wrong, 401, "not_allowed")


def test_a_call_takes_no_password_of_a_browser(api):
    response = api.post(PREDICT, {"text": "x"}, key=None, auth=("anybody", "cl_retail"))
    assert_error(response, 401, "not_allowed")
    assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/", "/nope", "/docs/", "/healthz/", "/metrics"])
def test_what_is_no_route_asks_for_a_key_too(api, path):
    assert_error(api.call("GET", path, key=None), 401, "not_allowed")


def test_what_a_key_lacks_is_named_and_other_tenants_stay_unseen(api, monkeypatch):
    narrow = ApiKey(
        id="4",
        client="narrow",
        tenant="retail",
        created_at=0.0,
        actions=frozenset({Action.PREDICT}),
        models=("retail.faq.*",),
    )
    monkeypatch.setitem(KEYS, "cl_narrow", narrow)
    refused = assert_error(api.post(PREDICT, {"text": "x"}, key="cl_narrow"), 403, "not_allowed")
    assert MODEL in refused["remedy"]
    other = api.post("/v1/models/bank.intent.desk:predict", {"text": "x"}, key="cl_narrow")
    assert_error(other, 404, "not_found")
    body = {"prediction_id": new_event_id(), "feedback": "up"}
    for action, answer in (
        ("feedback", api.post("/v1/feedback", body, key="cl_narrow")),
        ("events", api.post("/v1/events", {"events": [{"text": "x"}]}, key="cl_narrow")),
        ("read", api.call("GET", "/v1/models", key="cl_narrow")),
        ("read", api.call("GET", "/docs", key="cl_narrow")),
    ):
        assert f"'{action}'" in assert_error(answer, 403, "not_allowed")["remedy"]


def test_the_keys_of_a_tenant_share_a_quota_and_are_told_when_to_come_back(make_api, monkeypatch):
    api = make_api(burst_per_tenant=2, rate_per_tenant_s=0.1)
    second = ApiKey(id="5", client="second", tenant="retail", created_at=0.0)
    monkeypatch.setitem(KEYS, "cl_second", second)
    keys = ("cl_retail", "cl_second", "cl_retail")
    *passed, refused = [api.post(PREDICT, {"text": "x"}, key=key) for key in keys]
    assert [each.status_code for each in passed] == [200, 200]
    assert "'retail'" in assert_error(refused, 429, "overloaded")["message"]
    assert 8 <= int(refused.headers["retry-after"]) <= 10
    assert api.post(PREDICT, {"text": "x"}, key="cl_all").is_success


def test_a_model_of_another_tenant_looks_like_none(api):
    others = assert_error(
        api.post("/v1/models/bank.intent.desk:predict", {"text": "x"}), 404, "not_found"
    )
    none = assert_error(
        api.post("/v1/models/bank.intent.none:predict", {"text": "x"}), 404, "not_found"
    )
    assert others["message"].replace("desk", "none") == none["message"]
    damaged = api.post("/v1/models/retail.intent.damaged:predict", {"text": "x"}, key="cl_bank")
    assert_error(damaged, 404, "not_found")


def test_a_champion_that_could_not_be_loaded_is_unavailable(api):
    response = api.post("/v1/models/retail.intent.damaged:predict", {"text": "x"})
    assert_error(response, 503, "unavailable")
    assert response.headers["retry-after"]


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
    error = assert_error(api.post(PREDICT, body), 422, "invalid_request")
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
    assert_error(response, 422, "invalid_request")


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_over_the_limit_gets_413(api, declared):
    content = b'{"text": "' + b"x" * 30_000 + b'"}'

    async def chunks():
        for start in range(0, len(content), 5_000):
            yield content[start : start + 5_000]

    response = api.call("POST", PREDICT, content=content if declared else chunks())
    assert_error(response, 413, "too_large")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [("GET", "/nope", 404, "not_found"), ("GET", PREDICT, 405, "wrong_method")],
)
def test_unknown_routes_and_methods_have_the_same_words(api, method, path, status, code):
    assert_error(api.call(method, path), status, code)


def test_an_error_of_the_model_tells_no_secret(api):
    error = assert_error(api.post(PREDICT, {"text": "poison"}), 500, "internal")
    assert "secret" not in str(error)
    assert api.post(PREDICT, {"text": "fine"}).is_success


def test_a_store_that_is_away_is_unavailable(api):
    assert_error(api.post(PREDICT, {"text": "x"}, key="cl_store_is_away"), 503, "unavailable")


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
            model.gate.set()
            return refused, health, await asyncio.gather(*slow)

    refused, health, answered = asyncio.run(run())
    assert_error(refused, 429, "overloaded")
    assert int(refused.headers["retry-after"]) >= 1
    assert health.json()["in_flight"] == 2
    assert [response.status_code for response in answered] == [200, 200]
    assert api.service.health().in_flight == 0


def test_a_key_over_its_rate_is_refused_and_others_are_not(make_api):
    api = make_api(burst_per_key=2)
    statuses = [api.post(PREDICT, {"text": "x"}).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    assert api.post(PREDICT, {"text": "x"}, key="cl_all").is_success


def test_a_full_event_buffer_refuses_instead_of_answering_unlogged(make_api):
    api = make_api(buffer_events=1)
    assert_error(api.post(PREDICT, {"texts": ["a", "b"]}), 429, "overloaded")
    assert api.events() == []


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
        assert_error(response, 404, "not_found")


def test_feedback_reaches_no_other_tenants_prediction(api):
    body = {"prediction_id": predicted(api), "feedback": "up"}
    assert_error(api.post("/v1/feedback", body, key="cl_bank"), 404, "not_found")


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
    assert_error(api.post("/v1/feedback", body), 422, "invalid_request")


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
    api.service.host = ModelHost(Model)
    assert api.call("GET", "/readyz", key=None).status_code == 503
    api.service.host.apply(api.catalog)
    assert api.call("GET", "/readyz", key=None).status_code == 200


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

"""An API for the tests of its routes: behind it small but real models, or stubs that obey."""

import asyncio
import threading
from dataclasses import dataclass

import httpx
import pytest

from closedloop.core.api_key import Action, ApiKey
from closedloop.core.errors import EngineError, NotAllowed
from closedloop.data.event_log.protocol import START
from closedloop.data.event_log.sqlite import SqliteEventLog
from closedloop.models.model_version import Champion
from closedloop.models.reference import ModelRef
from closedloop.serve.admission.access import KeyRing
from closedloop.serve.catalog import Catalog
from closedloop.serve.event_writer import EventWriter
from closedloop.serve.http.api import build_app
from closedloop.serve.model_host import ModelHost
from closedloop.serve.options import ServingOptions
from closedloop.serve.service import Service

DESK = "shop.intent.desk"
LABELLED = {
    "where is my parcel": "delivery",
    "when does my parcel come": "delivery",
    "包裹在哪里": "delivery",
    "i want my money back": "refund",
    "refund please": "refund",
    "我要退款": "refund",
    "hello": "greeting",
    "good morning": "greeting",
    "你好": "greeting",
}
KEYS = {
    "cl_shop": ApiKey(id="1", client="app", tenant="shop", created_at=0.0),
    "cl_all": ApiKey(id="2", client="operations", tenant="*", created_at=0.0),
    "cl_bank": ApiKey(id="3", client="bank", tenant="bank", created_at=0.0),
    "cl_retail": ApiKey(id="4", client="shop", tenant="retail", created_at=0.0),
    "cl_every": ApiKey(
        id="6", client="everything", tenant="shop", created_at=0.0, actions=frozenset(Action)
    ),
    "cl_figures": ApiKey(
        id="5", client="prometheus", tenant="*", created_at=0.0, actions=frozenset({Action.METRICS})
    ),
}
SLOW = "slow " * 1_000  # long enough to be answered in a thread


@dataclass(frozen=True)
class Answer:
    label: str
    confidence: float
    top: tuple[tuple[str, float], ...]


class Stub:
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


OWN = object()


class ServedApi:
    """The application, its parts, and calls to it."""

    def __init__(self, folder, load, names, *, key="cl_shop", **options):
        self.load = load
        self.keys = dict(KEYS)
        self._key = key
        options = ServingOptions(**{"rate_per_key_s": 1e6, "burst_per_key": 10**6} | options)
        self.log = SqliteEventLog(folder / "events.db")
        self.writer = EventWriter(self.log, capacity_events=options.buffer_events)
        self.host = ModelHost(load)
        self.service = Service(
            host=self.host,
            keys=KeyRing(self._check),
            log=self.log,
            writer=self.writer,
            mask=lambda text: text.replace("13800138000", "<PHONE>"),
            pseudonym=lambda user_id, tenant: f"p-{tenant}",
            options=options,
        )
        self.service.watcher_answers = True
        self.app = build_app(self.service, max_body_bytes=options.max_body_bytes)
        champions = [
            Champion(ref=ModelRef.parse(name), version=3, path="/m", sha256="") for name in names
        ]
        self.catalog = Catalog.of(champions)
        self.host.apply(self.catalog).result(10)

    def _check(self, presented):
        if presented == "cl_store_is_away":
            raise EngineError("The store is away.", remedy="Wait.")
        if presented not in self.keys:
            raise NotAllowed("The API key is missing or not valid.", remedy="Get one.")
        return self.keys[presented]

    def client(self, key=OWN):
        key = self._key if key is OWN else key
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app),
            base_url="http://api",
            headers={"authorization": f"Bearer {key}"} if key else {},
        )

    def call(self, method, path, *, key=OWN, **more):
        async def run():
            async with self.client(key) as client:
                return await client.request(method, path, **more)

        return asyncio.run(run())

    def post(self, path, body, **more):
        return self.call("POST", path, json=body, **more)

    def events(self):
        assert self.service.rule_shadow.flush(10)
        assert self.writer.flush(10)
        return [logged.event for logged in self.log.read(START, limit=5_000).events]

    @staticmethod
    def assert_error(response, status, code):
        """Every refusal has the same shape and says what to do."""
        assert response.status_code == status, response.text
        error = response.json()["error"]
        assert error["code"] == code
        assert error["message"]
        assert error["remedy"]
        assert "Traceback" not in response.text
        return error


@pytest.fixture(scope="session")
def lean_model():
    """A lean model of a pipeline that knows deliveries, refunds and greetings."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline

    from closedloop.models.lean.compiling import lean_of_pipeline

    vectoriser = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 3))
    pipeline = Pipeline([("terms", vectoriser), ("classifier", LogisticRegression(C=30))])
    return lean_of_pipeline(pipeline.fit(list(LABELLED), list(LABELLED.values())))


@pytest.fixture
def serve_models(tmp_path, lean_model):
    """Return a function that serves models by name, each the lean one unless told otherwise."""
    made = []

    def make(*names, load=lambda champion: lean_model, **options):
        made.append(ServedApi(tmp_path, load, names or (DESK,), **options))
        return made[-1]

    yield make
    for api in made:
        api.service.close()


@pytest.fixture
def desk(serve_models):
    """The API with one real model, `DESK`."""
    return serve_models()


@pytest.fixture
def make_api(tmp_path):
    """Return a function that serves stubs for several tenants, with limits of its own."""
    made = []
    names = ("retail.intent.desk", "bank.intent.desk", "retail.intent.damaged", "零售.intent.desk")
    few = {
        "max_body_bytes": 20_000,
        "max_in_flight": 2,
        "rate_per_key_s": 0.1,
        "burst_per_key": 1_000,
    }

    def make(**options):
        made.append(ServedApi(tmp_path, Stub, names, key="cl_retail", **few | options))
        return made[-1]

    yield make
    for api in made:
        api.service.close()


@pytest.fixture
def api(make_api):
    """The API with stubs; the usual key is of the tenant retail."""
    return make_api()

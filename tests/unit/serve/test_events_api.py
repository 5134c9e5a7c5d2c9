"""POST /v1/events as a client sees it, over ASGI, with a real log and a real lake."""

import asyncio
import json
import threading
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import httpx
import pytest

from closedloop.core.errors import EngineError, NotAllowed
from closedloop.core.identity import ApiKey
from closedloop.core.privacy import mask
from closedloop.core.pseudonyms import KeyChain, Pseudonyms
from closedloop.data.dead_letters import bury, dead_letters
from closedloop.data.drain import drain_to_lake
from closedloop.data.event import SCHEMA, Event, Kind, new_event_id
from closedloop.data.event_log.opening import open_event_log
from closedloop.data.event_log.protocol import START, Retention
from closedloop.data.event_log.sqlite import SqliteEventLog
from closedloop.data.event_lookup import find_event
from closedloop.data.lake import Lake
from closedloop.models.model_version import Champion
from closedloop.models.reference import ModelRef
from closedloop.serve.admission.access import KeyRing
from closedloop.serve.catalog import Catalog
from closedloop.serve.client import Client
from closedloop.serve.event_writer import EventWriter
from closedloop.serve.http.api import build_app
from closedloop.serve.model_host import ModelHost
from closedloop.serve.options import ServingOptions
from closedloop.serve.service import Service

KEYS = {
    "cl_shop": ApiKey(id="1", client="app", tenant="shop", created_at=0.0),
    "cl_all": ApiKey(id="2", client="operations", tenant="*", created_at=0.0),
}
NAMES = Pseudonyms(KeyChain(first=bytes(32)))


class Model:
    """Answers 'refund'."""

    size_bytes = 1

    def __init__(self, champion):
        pass

    def predict_many(self, texts):
        return [SimpleNamespace(label="refund", confidence=0.75, top=()) for _ in texts]


class GatedLog(SqliteEventLog):
    """Appends only while the gate is open, and can be told to fail."""

    def __init__(self, path):
        super().__init__(path)
        self.gate = threading.Event()
        self.gate.set()
        self.reached = threading.Event()
        self.fails = False

    def append(self, events):
        self.reached.set()
        assert self.gate.wait(10)
        if self.fails:
            raise EngineError("No space left.", remedy="Free some.")
        return super().append(events)


def check(presented):
    if presented not in KEYS:
        raise NotAllowed("The API key is missing or not valid.", remedy="Get one.")
    return KEYS[presented]


class Api:
    """The application, its parts, and calls to it."""

    def __init__(self, folder, log=None, **options):
        self.log = log or GatedLog(folder / "events.db")
        self.lake = Lake(str(folder / "lake"))
        options = ServingOptions(**options)
        self.writer = EventWriter(self.log, capacity_events=options.buffer_events)
        self.service = Service(
            host=ModelHost(Model),
            keys=KeyRing(check),
            log=self.log,
            writer=self.writer,
            mask=mask,
            pseudonym=lambda user_id, tenant: NAMES.of(user_id, tenant=tenant),
            options=options,
            archive=lambda event_id: find_event(self.lake, "predictions", event_id),
            bury=lambda refused, source, tenant: bury(
                self.lake,
                refused,
                source=source,
                tenant=tenant,
                pseudonyms=NAMES,
                at=datetime.now(UTC),
            ),
        )
        self.app = build_app(self.service, max_body_bytes=options.max_body_bytes)

    def client(self, key="cl_shop"):
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app),
            base_url="http://api",
            headers={"authorization": f"Bearer {key}", "content-type": "application/json"},
        )

    def post(self, body, *, key="cl_shop", path="/v1/events"):
        async def run():
            async with self.client(key) as client:
                # ASCII JSON, so that it can hold what is no Unicode.
                return await client.post(path, content=json.dumps(body))

        return asyncio.run(run())

    def send(self, *events, **more):
        response = self.post({"events": list(events)}, **more)
        assert response.status_code == 200, response.text
        return response.json()

    def events(self):
        return [logged.event for logged in self.log.read(START, limit=5_000).events]


@pytest.fixture
def make_api(tmp_path):
    made = []

    def make(**options):
        made.append(Api(tmp_path, **options))
        return made[-1]

    yield make
    for api in made:
        getattr(api.log, "gate", threading.Event()).set()
        api.service.close()


@pytest.fixture
def api(make_api):
    return make_api()


def test_what_is_accepted_is_on_disk_masked_and_under_a_pseudonym(api, tmp_path):
    told = api.send(
        {
            "ts": "2026-01-02T03:04:05+08:00",
            "text": "call me on 13812345678",
            "user_id": "ann",
            "dialogue_id": "wa_8613812345678",
            "turn": 1,
            "channel": "app",
            "attributes": {"merchant": "m-1", "note": "ann@example.org"},
        }
    )
    assert (told["accepted"], told["duplicates"], told["refused"]) == (1, 0, 0)
    (event,) = api.events()
    assert told["events"] == [
        {
            "index": 0,
            "status": "accepted",
            "event_id": event.event_id,
            "reason": None,
            "remedy": None,
        }
    ]
    assert event.ts == datetime(2026, 1, 1, 19, 4, 5, tzinfo=UTC)
    assert (event.tenant, event.kind, event.text) == ("shop", Kind.TURN, "call me on <PHONE>")
    assert event.user_id == NAMES.of("ann", tenant="shop")
    assert event.attributes == {"merchant": "m-1", "note": "<EMAIL>"}
    stored = b"".join(file.read_bytes() for file in tmp_path.glob("events.db*"))
    assert b"13812345678" not in stored
    assert b"example.org" not in stored


def test_events_sent_twice_have_their_effect_once(api):
    one, other = ({"event_id": new_event_id(), "text": text} for text in ("a", "b"))
    api.send(one)
    told = api.send(one, other, other)
    assert [each["status"] for each in told["events"]] == ["duplicate", "accepted", "duplicate"]
    assert [event.text for event in api.events()] == ["a", "b"]


FUTURE = (datetime.now(UTC) + timedelta(days=30)).isoformat()
REFUSED = {
    "not an object": "text",
    "empty": {},
    "blank": {"text": "  "},
    "oversized": {"text": "x" * 8_001},
    "future-dated": {"text": "x", "ts": FUTURE},
    "before all time": {"text": "x", "ts": "0001-01-01T00:00:00"},
    "no time": {"text": "x", "ts": "yesterday"},
    "misspelt": {"text": "x", "chanel": "app"},
    "of another tenant": {"text": "x", "tenant": "bank"},
    "a surrogate": {"text": "\ud800"},
    "a surrogate inside": {"text": "x", "attributes": {"\ud800": "y"}},
    "an unknown kind": {"text": "x", "kind": "rumour"},
    "no number": {"text": "x", "turn": "third"},
    "half a prediction": {"text": "x", "kind": "prediction", "model": "shop.intent.m"},
    "feedback to nothing": {"kind": "feedback", "feedback": "up"},
    "no id": {"text": "x", "event_id": "1"},
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_event_costs_only_itself_and_is_kept(api, case):
    told = api.send({"text": "before"}, REFUSED[case], {"text": "after"})
    assert (told["accepted"], told["refused"]) == (2, 1)
    refused = told["events"][1]
    assert (refused["index"], refused["status"], refused["event_id"]) == (1, "refused", None)
    assert refused["reason"]
    assert refused["remedy"]
    assert [event.text for event in api.events()] == ["before", "after"]
    (letter,) = dead_letters(api.lake)
    assert (letter.source, letter.line, letter.tenant) == ("api app", 2, "shop")


def test_a_dead_letter_holds_no_personal_data(api):
    api.send({"text": "call 13812345678", "user_id": "ann@shop", "turn": -1})
    (letter,) = dead_letters(api.lake)
    assert letter.fields()["text"] == "call <PHONE>"
    assert "ann@shop" not in str(letter)


def test_a_key_of_all_tenants_must_say_whose_events_these_are(api):
    told = api.send({"text": "a", "tenant": "bank"}, {"text": "b"}, key="cl_all")
    assert [each["status"] for each in told["events"]] == ["accepted", "refused"]
    assert api.events()[0].tenant == "bank"


@pytest.mark.parametrize(
    "body", [{}, {"events": []}, {"events": {}}, {"events": [{"text": "x"}] * 1_001}, []]
)
def test_a_batch_that_is_none_is_refused_as_a_whole(api, body):
    response = api.post(body)
    assert response.status_code == 422
    assert response.json()["error"]["remedy"]
    assert api.events() == []


def test_a_thousand_events_go_in_one_batch_in_order(api):
    told = api.send(*({"text": f"text {i}", "dialogue_id": "d"} for i in range(1_000)))
    assert told["accepted"] == 1_000
    assert [event.text for event in api.events()] == [f"text {i}" for i in range(1_000)]


def test_an_answer_waits_for_the_disk_and_a_full_queue_sends_away(make_api):
    api = make_api(buffer_events=3)
    api.log.gate.clear()

    async def run():
        async with api.client() as client:
            waiting = asyncio.create_task(
                client.post("/v1/events", json={"events": [{"text": "a"}, {"text": "b"}]})
            )
            await asyncio.to_thread(api.log.reached.wait, 10)
            refused = await client.post(
                "/v1/events", json={"events": [{"text": "c"}, {"text": "d"}]}
            )
            answered_early = waiting.done()
            api.log.gate.set()
            return refused, answered_early, await waiting

    refused, answered_early, stored = asyncio.run(run())
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json()["error"]["remedy"]
    assert not answered_early
    assert stored.json()["accepted"] == 2
    assert [event.text for event in api.events()] == ["a", "b"]


def test_a_log_that_fails_is_told_and_the_same_batch_can_be_sent_again(api):
    event = {"event_id": new_event_id(), "text": "x"}
    api.log.fails = True
    response = api.post({"events": [event]})
    assert response.status_code == 503
    assert response.headers["retry-after"]
    assert api.writer.waiting == 0
    api.log.fails = False
    assert api.send(event)["accepted"] == 1


def test_feedback_finds_a_prediction_that_only_the_lake_has(api):
    prediction = Event(
        event_id=new_event_id(at=datetime.now(UTC) - timedelta(hours=1)),
        ts=datetime.now(UTC),
        tenant="shop",
        kind=Kind.PREDICTION,
        text="a text",
        model="shop.intent.m",
        model_version=2,
        prediction="refund",
        attributes={"merchant": "m"},
    )
    api.log.append([prediction])
    drain_to_lake(api.log, api.lake)
    api.log.retain(Retention(max_bytes=1))
    assert api.log.get(prediction.event_id) is None
    assert find_event(api.lake, "predictions", prediction.event_id) == prediction
    body = {"prediction_id": prediction.event_id, "feedback": "down"}
    response = api.post(body, path="/v1/feedback")
    assert response.status_code == 201, response.text
    assert api.events()[-1].prediction == "refund"


def test_two_replicas_on_kafka_share_events_predictions_and_feedback(make_api, new_log_url):
    url = new_log_url("kafka")
    one, other = (make_api(log=open_event_log(url)) for _ in range(2))
    ref = ModelRef.parse("shop.intent.m")
    one.service.host.apply(Catalog.of([Champion(ref=ref, version=3, path="/m", sha256="")]))
    answered = one.post({"text": "hi", "dialogue_id": "d"}, path=f"/v1/models/{ref}:predict")
    prediction_id = answered.json()["predictions"][0]["prediction_id"]
    feedback = {"prediction_id": prediction_id, "feedback": "down"}
    assert other.post(feedback, path="/v1/feedback").status_code == 201
    event = {"event_id": new_event_id(), "text": "call 13812345678", "dialogue_id": "d"}
    assert other.send(event, event)["duplicates"] == 1
    # Another replica cannot know it is there; the drain does.
    assert one.send(event)["accepted"] == 1
    assert one.writer.flush(10)
    drain_to_lake(one.log, one.lake)
    assert [one.lake.count(t) for t in ("turns", "predictions", "feedback")] == [1, 1, 1]
    assert one.lake.read("turns")["text"].to_pylist() == ["call <PHONE>"]


def test_the_client_sends_events_and_its_retries_store_them_once(api):
    """The first answer is lost on its way; the second attempt finds the events there."""
    calls = []

    def answer(request):
        response = api.post(json.loads(request.content))
        calls.append(response.json())
        if len(calls) == 1:
            raise httpx.ReadError("connection lost")
        return httpx.Response(response.status_code, json=response.json())

    with Client(
        "http://api", "cl_shop", transport=httpx.MockTransport(answer), sleep=lambda _: None
    ) as client:
        told = client.events([{"text": "hi"}, {"text": ""}])
    assert [each.status for each in told] == ["duplicate", "refused"]
    assert told[0].event_id == api.events()[0].event_id
    assert told[1].reason
    assert len(api.events()) == 1


def test_openapi_describes_an_event_with_an_example(api):
    async def run():
        async with api.client() as client:
            return (await client.get("/openapi.json")).json()

    spec = asyncio.run(run())
    batch = spec["components"]["schemas"]["EventsRequest"]
    assert batch["examples"]
    event = batch["properties"]["events"]["items"]
    assert list(event["properties"]) == SCHEMA.names
    assert event["examples"]
    assert {"200", "401", "413", "422", "429", "503"} <= set(
        spec["paths"]["/v1/events"]["post"]["responses"]
    )

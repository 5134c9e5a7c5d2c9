"""Serving on a real Ray Serve: HTTP in, events out, champions that move while traffic runs."""

import socket
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import httpx
import pytest

from closedloop.core.api_key import Action
from closedloop.core.errors import ClosedLoopError, Conflict, NotAllowed, NotFound
from closedloop.core.identity import Identities
from closedloop.core.ports import free_port
from closedloop.core.settings import Settings
from closedloop.core.store import Store
from closedloop.data.event import Kind
from closedloop.data.event_log.opening import open_event_log
from closedloop.data.lake import Lake
from closedloop.defence.rules.rule import Act, RuleDraft
from closedloop.defence.rules.rule_book import RuleBook
from closedloop.models.model_file import save
from closedloop.models.reference import ModelRef
from closedloop.models.registry import Registry
from closedloop.models.text_classifier import TextClassifier
from closedloop.serve import deployment
from closedloop.serve.client import Client
from closedloop.serve.options import ServingOptions

pytestmark = pytest.mark.ray

REF = ModelRef(tenant="retail", algorithm="intent", name="desk")
MODEL = str(REF)
MAX_IN_FLIGHT = 8
FOLLOW_S = 30  # ample for a busy machine; the watcher polls twice a second
TRAINING = {
    "refund": ["i want my money back", "refund please", "我要退款", "how do i get a refund"],
    "delivery": ["where is my parcel", "parcel is late", "包裹在哪里", "when does it arrive"],
}


def test_a_taken_port_is_a_conflict_that_names_the_variable(ray_cluster, tmp_path):
    deployment.stop()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(Conflict, match="CLOSEDLOOP_API_PORT") as caught:
            deployment.start(Settings(home=tmp_path, api_port=port))
    assert str(port) in caught.value.message


@pytest.fixture(scope="module")
def serving(ray_cluster, tmp_path_factory):
    """Two versions of a model, the first of them champion, served on a free port."""
    home = tmp_path_factory.mktemp("serving")
    settings = Settings(home=home, api_port=free_port())
    registry = Registry(settings.registry_url, settings.artifacts_url)

    def register(seed):
        texts = [text for texts in TRAINING.values() for text in texts]
        labels = [label for label, texts in TRAINING.items() for _ in texts]
        file = home / "trained.skops"
        digest = save(TextClassifier(seed=seed).fit(texts, labels), file)
        return registry.register(REF, file, digest, {"accuracy": 1.0}, labels=tuple(TRAINING))

    for seed in (1, 2):
        register(seed)
    registry.promote(REF, 1)
    identities = Identities(Store.open(settings.store_url))
    keys = {tenant: identities.add_key("test", tenant=tenant)[1] for tenant in ("retail", "bank")}
    url = deployment.start(
        settings, ServingOptions(max_in_flight=MAX_IN_FLIGHT, rate_per_key_s=100_000)
    )
    yield SimpleNamespace(
        settings=settings, registry=registry, register=register, keys=keys, url=url
    )
    deployment.stop()


@pytest.fixture
def client(serving):
    with Client(serving.url, serving.keys["retail"]) as client:
        yield client


def until(client, condition):
    """Wait for the served state that a moved alias leads to."""
    pause = threading.Event()
    for _ in range(FOLLOW_S * 20):
        (model,) = client.models()
        if condition(model):
            return model
        pause.wait(0.05)
    raise AssertionError(f"still {model}")


def wait_for(condition):
    """Wait for what another process takes over."""
    pause = threading.Event()
    for _ in range(FOLLOW_S * 20):
        if condition():
            return
        pause.wait(0.05)
    raise AssertionError("it has not come")


def test_the_champion_answers_in_both_languages(client):
    answers = client.predict(MODEL, ["refund please", "包裹在哪里"])
    assert [answer.label for answer in answers.predictions] == ["refund", "delivery"]
    assert answers.version == 1
    assert client.health().status == "ok"


def test_what_is_refused_is_refused_in_words(serving, client):
    predict = f"{serving.url}/v1/models/{MODEL}:predict"
    headers = {"authorization": f"Bearer {serving.keys['retail']}"}
    with httpx.Client(trust_env=False) as http:
        answers = [
            http.post(predict, json={"text": "x"}),
            http.post(predict, json={"text": ""}, headers=headers),
            http.post(predict, content=b"x" * 1_100_000, headers=headers),
            http.get(f"{serving.url}/none"),
            http.get(f"{serving.url}/none", headers=headers),
        ]
    assert [answer.status_code for answer in answers] == [401, 422, 413, 401, 404]
    assert all(answer.json()["error"]["remedy"] for answer in answers)
    with pytest.raises(NotFound), Client(serving.url, serving.keys["bank"]) as other:
        other.predict(MODEL, ["x"])
    with pytest.raises(NotAllowed), Client(serving.url, "cl_no_key") as other:
        other.models()


def test_more_requests_than_places_are_told_to_come_back(serving):
    predict = f"{serving.url}/v1/models/{MODEL}:predict"
    headers = {"authorization": f"Bearer {serving.keys['retail']}"}
    texts = ["where is my parcel, it is late again"] * 256

    with (
        httpx.Client(trust_env=False, timeout=120, headers=headers) as http,
        ThreadPoolExecutor(MAX_IN_FLIGHT * 4) as pool,
    ):
        posts = [
            pool.submit(http.post, predict, json={"texts": texts}) for _ in range(MAX_IN_FLIGHT * 8)
        ]
        answers = [post.result() for post in posts]
    statuses = Counter(answer.status_code for answer in answers)
    assert set(statuses) == {200, 429}
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json()["error"]["code"] == "overloaded"
    assert refused.headers["retry-after"]


def test_feedback_is_durable_and_names_the_version(serving, client):
    (answer,) = client.predict(MODEL, ["my number is 13800138000"], user_id="ann").predictions
    feedback_id = client.feedback(answer.prediction_id, "down")
    log = open_event_log(serving.settings.event_log_url)
    prediction, feedback = log.get(answer.prediction_id), log.get(feedback_id)
    log.close()
    assert (feedback.kind, feedback.feedback) == (Kind.FEEDBACK, "down")
    assert (feedback.refers_to, feedback.model_version) == (answer.prediction_id, 1)
    assert "13800138000" not in prediction.text
    assert prediction.user_id not in (None, "ann")


def test_a_keyword_rule_is_obeyed_until_it_is_retired(serving, client):
    store = Store(serving.settings.store_url)
    book = RuleBook(store)
    text = "an urgent 优惠券 of the night"
    rule = book.add(
        RuleDraft(
            tenant="retail", name="夜", condition="优惠券 urgent", act=Act.INTENT, value="coupon"
        )
    )

    def decided_by():
        [answer] = client.predict(MODEL, [text]).predictions
        return answer.rule.id if answer.rule else None

    wait_for(lambda: decided_by() == rule.id)
    assert client.turn(text).rule.value == "coupon"
    book.retire(rule.id, "done")
    wait_for(lambda: decided_by() is None)
    store.close()


def test_turns_explanations_and_metrics_come_through_the_ingress(serving, client):
    turn = client.turn("refund please", min_confidence=0.0)
    assert (turn.decided_by, turn.model, turn.label) == ("model", MODEL, "refund")
    why = client.explain(MODEL, "refund please")
    assert why.label == "refund"
    assert why.supporting
    store = Store(serving.settings.store_url)
    _, key = Identities(store).add_key("prometheus", actions=frozenset({Action.METRICS}))
    store.close()
    with httpx.Client(trust_env=False) as http:
        told = http.get(f"{serving.url}/metrics", headers={"authorization": f"Bearer {key}"})
        repeated = [
            http.post(
                f"{serving.url}/v1/models/{MODEL}:predict",
                json={"text": "refund please"},
                headers={
                    "authorization": f"Bearer {serving.keys['retail']}",
                    "idempotency-key": "the-same",
                },
            )
            for _ in range(2)
        ]
    assert 'route="turn",status="200"}' in told.text
    assert repeated[0].status_code == 200
    assert repeated[0].content == repeated[1].content


def test_events_are_durable_masked_and_refused_one_by_one(serving, client):
    sent = [{"text": "call 13812345678", "dialogue_id": "d", "user_id": "ann"}, {"text": " "}]
    told = client.events(sent)
    assert [each.status for each in told] == ["accepted", "refused"]
    log = open_event_log(serving.settings.event_log_url)
    event = log.get(told[0].event_id)
    log.close()
    assert event.text == "call <PHONE>"
    assert event.user_id != "ann"
    letters = Lake(serving.settings.lake_url).read("dead_letters").to_pylist()
    assert any(letter["reason"] and letter["line"] == 2 for letter in letters)


def test_champions_move_under_load_without_a_failed_request(serving, client):
    seen, failed, over = Counter(), [], threading.Event()

    def ask():
        with Client(serving.url, serving.keys["retail"], attempts=1) as asking:
            while not over.is_set():
                try:
                    seen[asking.predict(MODEL, ["refund please"]).version] += 1
                except ClosedLoopError as error:
                    failed.append(str(error))

    with ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            pool.submit(ask)
        try:
            for version in (2, 1, 2, 1, 2):
                serving.registry.promote(REF, version)
                until(client, lambda model, version=version: model.serving == version)
        finally:
            over.set()
    assert failed == []
    assert set(seen) == {1, 2}


def test_an_alias_moved_by_mlflow_itself_is_followed(serving, client):
    from mlflow import MlflowClient

    url = serving.settings.registry_url
    other = MlflowClient(tracking_uri=url, registry_uri=url)
    other.set_registered_model_alias(MODEL, "champion", "1")
    until(client, lambda model: model.serving == 1)


def test_a_tampered_file_leaves_the_old_champion_serving(serving, client):
    before = client.predict(MODEL, ["x"]).version
    version = serving.register(3)
    with open(serving.registry.get(REF, version).path, "r+b") as file:
        file.seek(40)
        file.write(b"tampered")
    serving.registry.promote(REF, version)
    model = until(client, lambda model: model.problem is not None)
    assert (model.champion, model.serving) == (version, before)
    assert client.predict(MODEL, ["x"]).version == before
    assert client.health().status == "degraded"
    serving.registry.restore_champion(REF)
    until(client, lambda model: model.problem is None)
    assert client.health().status == "ok"


def test_a_killed_watcher_comes_back_and_is_followed(serving, client):
    import ray

    from closedloop.serve.catalog_watcher import ACTOR_NAME, NAMESPACE

    before = client.predict(MODEL, ["x"]).version
    ray.kill(ray.get_actor(ACTOR_NAME, namespace=NAMESPACE), no_restart=False)
    serving.registry.promote(REF, 3 - before)
    until(client, lambda model: model.serving == 3 - before)


def test_stopping_writes_every_answer(serving, client):
    with ThreadPoolExecutor(4) as pool:
        answered = list(pool.map(lambda _: client.predict(MODEL, ["x"] * 50), range(8)))
    ids = [answer.prediction_id for answers in answered for answer in answers.predictions]
    deployment.stop()
    log = open_event_log(serving.settings.event_log_url)
    assert [event_id for event_id in ids if log.get(event_id) is None] == []
    log.close()

"""Several replicas of a real Ray Serve: they come with the load, and share what was asked."""

import json
import os
import re
import threading
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from closedloop.core.api_key import Action
from closedloop.core.identity import Identities
from closedloop.core.ports import free_port
from closedloop.core.settings import Settings
from closedloop.core.store import Store
from closedloop.data.event_log.opening import open_event_log
from closedloop.models.model_file import save
from closedloop.models.reference import ModelRef
from closedloop.models.registry import Registry
from closedloop.models.text_classifier import TextClassifier
from closedloop.serve import deployment
from closedloop.serve.client import Client
from closedloop.serve.options import ServingOptions

pytestmark = pytest.mark.ray

REF = ModelRef(tenant="retail", algorithm="intent", name="desk")
CLIENTS = 8
PATIENCE_S = 240  # ample: a replica takes many seconds to start on a busy machine
AT_ONCE = 6  # requests of one idempotency key
KEYS = 30
UNBOUNDED = {
    "rate_per_key_s": 1e6,
    "burst_per_key": 10**6,
    "rate_per_tenant_s": 1e6,
    "burst_per_tenant": 10**6,
}
SCALING = ServingOptions(
    min_replicas=1,
    max_replicas=2,
    target_requests_per_replica=2,
    upscale_delay_s=1,
    downscale_delay_s=3,
    **UNBOUNDED,
)
TWO = ServingOptions(min_replicas=2, max_replicas=2, **UNBOUNDED)


@contextmanager
def served(settings, options):
    """Serve one model; gives the address and a key."""
    registry = Registry(settings.registry_url, settings.artifacts_url)
    file = settings.root / "trained.skops"
    texts, labels = (
        ["refund please", "money back", "my parcel", "late parcel"],
        ["r", "r", "p", "p"],
    )
    digest = save(TextClassifier().fit(texts, labels), file)
    registry.promote(REF, registry.register(REF, file, digest, {}, labels=("p", "r")))
    identities = Identities(Store.open(settings.store_url))
    _, key = identities.add_key(
        "test", tenant=REF.tenant, actions=(Action.PREDICT, Action.READ, Action.METRICS)
    )
    deployment.stop()
    try:
        yield deployment.start(settings, options), key
    finally:
        deployment.stop()


@pytest.fixture
def settings(ray_cluster, tmp_path):
    return Settings(home=tmp_path, api_port=free_port())


def until_replicas(wanted):
    from ray import serve

    pause = threading.Event()
    for _ in range(PATIENCE_S * 4):
        states = serve.status().applications[deployment.APP_NAME].deployments["api"].replica_states
        if states == {"RUNNING": wanted}:
            return
        pause.wait(0.25)
    raise AssertionError(f"not {wanted} replicas, but {states}")


def test_replicas_come_with_the_load_and_go_with_it(settings):
    with served(settings, SCALING) as (url, key), Client(url, key) as client:
        _come_and_go(client)


def _come_and_go(client):
    asked, over = Counter(), threading.Event()

    def ask():
        while not over.is_set():
            answers = client.predict(str(REF), ["where is my parcel"] * 40)
            asked[answers.version] += 1

    until_replicas(1)
    with ThreadPoolExecutor(CLIENTS) as pool:
        asking = [pool.submit(ask) for _ in range(CLIENTS)]
        try:
            until_replicas(2)
        finally:
            over.set()
        for each in asking:
            each.result()  # raises what a client met
    until_replicas(1)
    assert set(asked) == {1}
    health = client.health()
    assert health.status == "ok", health.problems


def replica_urls():
    """Return the address of each replica, as HAProxy has it; Serve gives them ports from 30000."""
    place = Path(os.environ["RAY_SERVE_HAPROXY_CONFIG_FILE_LOC"])
    pause = threading.Event()
    for _ in range(PATIENCE_S * 4):
        # Clusters that were here before have left theirs.
        newest = max(place.parent.rglob(place.name), key=lambda config: config.stat().st_mtime_ns)
        found = set(re.findall(r"^\s*server \S+ (\S+:30\d{3}) ", newest.read_text(), re.M))
        if len(found) == 2:
            return [f"http://{address}" for address in sorted(found)]
        pause.wait(0.25)
    raise AssertionError(f"not two replicas, but {found}")


def answered(url, key):
    """Return how many predict requests a replica has answered, by its own figures."""
    said = httpx.get(f"{url}/metrics", headers={"authorization": f"Bearer {key}"}, trust_env=False)
    told = re.findall(r'^closedloop_requests_total{(.*route="predict".*)} (\S+)', said.text, re.M)
    return {label: float(count) for label, count in told}


def test_a_key_that_both_replicas_get_at_once_has_its_effect_once(settings):
    body = {"texts": ["my parcel is late", "我要退款 13800138000"], "dialogue_id": "d-1"}
    path = f"/v1/models/{REF}:predict"
    with served(settings, TWO) as (url, key), httpx.Client(trust_env=False, timeout=60) as http:
        until_replicas(2)
        replicas = replica_urls()

        def send(place, idempotency_key, wanted):
            headers = {"authorization": f"Bearer {key}", "idempotency-key": idempotency_key}
            return http.post(place + path, json=wanted, headers=headers)

        keys = [str(uuid.UUID(int=number, version=4)) for number in range(KEYS)]
        places = [*replicas, url] * (AT_ONCE // 3)
        ids = set()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for each in keys:
                sent = [pool.submit(send, place, each, body) for place in places]
                got = [one.result() for one in sent]
                assert {answer.status_code for answer in got} == {200}
                (said,) = {answer.content for answer in got}  # all alike, ids included
                ids |= {one["prediction_id"] for one in json.loads(said)["predictions"]}
        assert len(ids) == 2 * KEYS
        for replica in replicas:
            assert sum(answered(replica, key).values()) >= KEYS * AT_ONCE // 3

        log = open_event_log(settings.event_log_url)
        pause = threading.Event()
        while any(log.get(each) is None for each in ids):  # bounded by the test's own timeout
            pause.wait(0.1)
        for place in (*replicas, url):
            for each in keys[:3]:
                refused = send(place, each, body | {"dialogue_id": "d-2"})
                assert refused.status_code == 422
                assert refused.json()["error"]["code"] == "idempotency_mismatch"
    # Serving has ended, so that whatever waited is written.
    assert log.size() == 2 * KEYS
    log.close()

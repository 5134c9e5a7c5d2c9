"""Replicas that come with the load and go with it, on a real Ray Serve."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from closedloop.core.identity import Identities
from closedloop.core.ports import free_port
from closedloop.core.settings import Settings
from closedloop.core.store import Store
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
OPTIONS = ServingOptions(
    min_replicas=1,
    max_replicas=2,
    target_requests_per_replica=2,
    upscale_delay_s=1,
    downscale_delay_s=3,
    rate_per_key_s=1e6,
    burst_per_key=10**6,
    rate_per_tenant_s=1e6,
    burst_per_tenant=10**6,
)


@pytest.fixture
def client(ray_cluster, tmp_path):
    """One model behind one replica, which may become two."""
    settings = Settings(home=tmp_path, api_port=free_port())
    registry = Registry(settings.registry_url, settings.artifacts_url)
    file = tmp_path / "trained.skops"
    texts, labels = (
        ["refund please", "money back", "my parcel", "late parcel"],
        ["r", "r", "p", "p"],
    )
    digest = save(TextClassifier().fit(texts, labels), file)
    registry.promote(REF, registry.register(REF, file, digest, {}, labels=("p", "r")))
    _, key = Identities(Store.open(settings.store_url)).add_key("test", tenant=REF.tenant)
    deployment.stop()
    with Client(deployment.start(settings, OPTIONS), key) as client:
        yield client
    deployment.stop()


def until_replicas(wanted):
    from ray import serve

    pause = threading.Event()
    for _ in range(PATIENCE_S * 4):
        states = serve.status().applications[deployment.APP_NAME].deployments["api"].replica_states
        if states == {"RUNNING": wanted}:
            return
        pause.wait(0.25)
    raise AssertionError(f"not {wanted} replicas, but {states}")


def test_replicas_come_with_the_load_and_go_with_it(client):
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
    assert client.health().status == "ok"

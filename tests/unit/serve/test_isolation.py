"""One tenant's storm or poisonous model does not slow the others."""

import asyncio
import threading
from collections import Counter
from dataclasses import replace

import pytest

from closedloop.models.trial import Stage, Trial
from closedloop.serve.admission.breaker import BreakerLimits
from closedloop.serve.model_host import OnTrial

WAIT_S = 30
DESK, BANK = "shop.intent.desk", "bank.intent.desk"


def predict(model):
    return f"/v1/models/{model}:predict"


class Poisonous:
    """A real model until a text says what to do: hang, raise, or take its time."""

    def __init__(self, model, *, linear_time=False):
        self.size_bytes = model.size_bytes
        self.linear_time = linear_time
        self.go = threading.Event()
        self.begun = threading.Semaphore(0)
        self.threads = []
        self._model = model

    def predict_many(self, texts):
        self.threads.append(threading.current_thread())
        if "hang" in texts:
            self.begun.release()
            assert self.go.wait(WAIT_S)
        if "raise" in texts:
            raise ZeroDivisionError("a secret of the model")
        if "slow" in texts:
            threading.Event().wait(0.03)
        return self._model.predict_many(texts)


@pytest.fixture
def poison(lean_model):
    model = Poisonous(lean_model)
    yield model
    model.go.set()


@pytest.fixture
def serve(serve_models, lean_model, poison):
    """Serve the shop's poisonous model and the bank's good one."""

    def make(**options):
        def load(champion):
            return poison if champion.ref.tenant == "shop" else lean_model

        return serve_models(DESK, BANK, load=load, **options)

    return make


def test_a_model_that_hangs_is_named_and_asked_no_more_until_it_comes_back(serve, poison):
    api = serve(breaker=BreakerLimits(hang_s=0.2, pause_s=0.0))
    hung = api.post(predict(DESK), {"text": "hang"})
    assert (hung.status_code, hung.json()["error"]["code"]) == (504, "timeout")
    assert DESK in hung.json()["error"]["message"]

    refused = api.post(predict(DESK), {"text": "hello"})
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert DESK in refused.json()["error"]["message"]
    assert api.post(predict(BANK), {"text": "hello"}, key="cl_bank").status_code == 200
    assert api.call("GET", "/healthz").json()["status"] == "degraded"
    (state,) = api.call("GET", "/v1/models").json()["models"]
    assert "hangs" in state["problem"]

    poison.go.set()
    statuses = Counter()
    while not statuses[200]:
        statuses[api.post(predict(DESK), {"text": "hello"}).status_code] += 1
    assert set(statuses) <= {200, 503}


def test_models_that_hang_leave_threads_to_the_others(serve, poison):
    """Long texts are answered in threads; the shop hangs in all it can get."""
    api = serve(breaker=BreakerLimits(hang_s=60))
    long = ["where is my parcel " * 200]

    async def run():
        async with api.client() as shop, api.client("cl_bank") as bank:
            hanging = [
                asyncio.create_task(shop.post(predict(DESK), json={"text": "hang"}))
                for _ in range(6)
            ]
            await asyncio.to_thread(poison.begun.acquire, timeout=WAIT_S)
            answers = [await bank.post(predict(BANK), json={"texts": long}) for _ in range(3)]
            still = sum(not task.done() for task in hanging)
            poison.go.set()
            return answers, still, await asyncio.gather(*hanging)

    answers, still, hung = asyncio.run(run())
    assert [answer.status_code for answer in answers] == [200] * 3
    assert still == 6
    assert [answer.status_code for answer in hung] == [200] * 6


def test_a_request_ends_at_its_time_limit(serve, poison):
    api = serve(request_timeout_s=0.2, breaker=BreakerLimits(hang_s=60))
    late = api.post(predict(DESK), {"text": "hang"})
    assert (late.status_code, late.json()["error"]["code"]) == (504, "timeout")
    assert late.json()["error"]["remedy"]
    assert api.service.health().in_flight == 0


def test_a_model_that_raises_again_and_again_is_refused_by_name(serve):
    api = serve(breaker=BreakerLimits(failed_in_row=3))
    statuses = [api.post(predict(DESK), {"text": "raise"}).status_code for _ in range(4)]
    assert statuses == [500, 500, 500, 503]
    assert api.post(predict(BANK), {"text": "hello"}, key="cl_bank").status_code == 200


def test_a_slow_model_leaves_the_event_loop_and_returns_when_it_is_quick(serve_models, lean_model):
    slow = Poisonous(lean_model, linear_time=True)
    limits = BreakerLimits(slow_s=0.02, slow_in_row=2, quick_in_row=2, hang_s=60)
    api = serve_models(DESK, load=lambda _: slow, breaker=limits)
    slow.threads.clear()
    for text in ("slow", "slow", "slow"):
        assert api.post(predict(DESK), {"text": text}).status_code == 200
    loop = threading.current_thread()
    assert [thread is loop for thread in slow.threads] == [True, True, False]
    for _ in range(200):
        slow.threads.clear()
        api.post(predict(DESK), {"text": "hello"})
        if slow.threads == [loop]:
            return
    raise AssertionError("it never came back")


def test_a_storm_of_one_tenant_leaves_places_to_the_others(serve, poison):
    api = serve(max_in_flight=20, breaker=BreakerLimits(hang_s=60))

    async def run():
        async with api.client() as shop, api.client("cl_bank") as bank:
            storm = [
                asyncio.create_task(shop.post(predict(DESK), json={"text": "hang"}))
                for _ in range(40)
            ]
            await asyncio.to_thread(poison.begun.acquire, timeout=WAIT_S)
            calm = await bank.post(predict(BANK), json={"text": "hello"})
            poison.go.set()
            return calm, await asyncio.gather(*storm)

    calm, storm = asyncio.run(run())
    assert calm.status_code == 200
    assert Counter(answer.status_code for answer in storm) == {200: 18, 429: 22}
    refused = next(answer for answer in storm if answer.status_code == 429)
    assert refused.headers["retry-after"]
    assert "'shop'" in refused.json()["error"]["message"]


def test_more_than_a_turn_can_answer_is_refused_and_no_place_is_lost(serve_models, lean_model):
    slow = Poisonous(lean_model, linear_time=True)
    limits = BreakerLimits(slow_s=60, hang_s=60)
    api = serve_models(DESK, load=lambda _: slow, breaker=limits, turn_budget_s=0.05)
    statuses = Counter()

    async def run():
        async with api.client() as shop:

            async def ask():
                for _ in range(5):
                    answer = await shop.post(predict(DESK), json={"text": "slow"})
                    statuses[answer.status_code] += 1
                    await asyncio.sleep(0)  # as a socket would

            await asyncio.gather(*(ask() for _ in range(20)))

    asyncio.run(run())
    assert set(statuses) == {200, 429}
    assert api.service.health().in_flight == 0
    assert api.post(predict(DESK), {"text": "hello"}).status_code == 200


def test_every_route_tells_of_its_time_limit(desk):
    paths = desk.app.openapi()["paths"]
    guarded = [
        call for path, calls in paths.items() if path.startswith("/v1/") for call in calls.values()
    ]
    assert guarded
    assert all("504" in call["responses"] for call in guarded)


def test_a_champion_beside_a_version_on_trial_is_judged_as_any_other(serve, lean_model):
    api = serve(breaker=BreakerLimits(failed_in_row=2))
    (champion,) = [c for c in api.host.states() if c.champion.ref.tenant == "shop"]
    candidate = replace(champion.champion, version=9)
    trial = Trial(candidate=candidate, stage=Stage.SHADOW, percent=0.0)
    api.host.get(DESK).trial = OnTrial(trial=trial, model=lean_model)
    statuses = [api.post(predict(DESK), {"text": "raise"}).status_code for _ in range(3)]
    assert statuses == [500, 500, 503]

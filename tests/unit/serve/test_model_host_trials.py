"""What is on trial beside a champion in memory, and requests that it changes under."""

import asyncio
import threading

import pytest

from closedloop.core.errors import EngineError
from closedloop.core.identity import ApiKey
from closedloop.data.event_log.protocol import START
from closedloop.data.event_log.sqlite import SqliteEventLog
from closedloop.models.model_version import Champion
from closedloop.models.prediction import Prediction
from closedloop.models.reference import ModelRef
from closedloop.models.trial import Stage, Trial
from closedloop.serve.catalog import Catalog
from closedloop.serve.event_writer import EventWriter
from closedloop.serve.http.messages import PredictRequest
from closedloop.serve.model_host import ModelHost
from closedloop.serve.predictor import Predictor
from closedloop.serve.trials.desk import TrialDesk

NAME = "retail.intent.desk"
KEY = ApiKey(id="1", client="app", tenant="retail", created_at=0.0)
PATIENCE_S = 20


def version(number, name=NAME):
    return Champion(ref=ModelRef.parse(name), version=number, path=f"/srv/{number}", sha256="")


def catalog(champion, trial=None, *, stage=Stage.CANARY, percent=100.0):
    trials = [Trial(candidate=version(trial), stage=stage, percent=percent)] if trial else []
    return Catalog.of([version(champion)], trials)


class Model:
    """Answers with its version; one that waits does so at every call but the warm-up."""

    size_bytes = 100

    def __init__(self, champion, gate=None):
        self.label, self.gate, self.entered = f"v{champion.version}", gate, threading.Event()

    def predict_many(self, texts):
        if self.gate is not None and "预热" not in texts[0]:
            self.entered.set()
            assert self.gate.wait(PATIENCE_S)
        return [Prediction(label=self.label, confidence=0.5, top=())] * len(texts)


class Loads:
    """Loads models and remembers which; a version with a gate is waited for in its calls."""

    def __init__(self, **gates):
        self.loaded, self.gates, self.models = [], gates, {}

    def __call__(self, champion):
        self.loaded.append(champion.version)
        model = Model(champion, self.gates.get(f"v{champion.version}"))
        self.models[champion.version] = model
        return model


def held(host):
    """Return (champion, version on trial, whether it is loaded)."""
    served = host.get(NAME)
    tried = served.trial
    return served.champion.version, tried and tried.trial.version, bool(tried and tried.model)


def test_a_trial_is_loaded_beside_its_champion_and_goes_with_the_alias():
    loads = Loads()
    host = ModelHost(loads)
    for wanted, expected in [
        (catalog(1, 2, stage=Stage.SHADOW, percent=0.0), (1, 2, True)),
        (catalog(1, 2, percent=10.0), (1, 2, True)),
        (catalog(1, 2, percent=50.0), (1, 2, True)),
        (catalog(1, 3), (1, 3, True)),
        (catalog(1), (1, None, False)),
    ]:
        host.apply(wanted).result(PATIENCE_S)
        assert held(host) == expected
    assert loads.loaded == [1, 2, 3]  # a stage or a share loads nothing again
    assert host.held_bytes == 100


def test_a_promoted_version_is_not_loaded_again():
    loads = Loads()
    host = ModelHost(loads)
    host.apply(catalog(1, 2)).result(PATIENCE_S)
    assert host.held_bytes == 200
    tried = host.get(NAME).trial.model
    host.apply(catalog(2)).result(PATIENCE_S)
    assert host.get(NAME).model is tried
    assert held(host) == (2, None, False)
    assert loads.loaded == [1, 2]
    assert host.held_bytes == 100


def test_a_trial_stays_in_memory_when_the_champion_beside_it_moves():
    loads = Loads()
    host = ModelHost(loads)
    host.apply(catalog(1, 3)).result(PATIENCE_S)
    host.apply(catalog(2, 3)).result(PATIENCE_S)
    assert held(host) == (2, 3, True)
    assert loads.loaded == [1, 3, 2]


def test_a_trial_that_cannot_be_loaded_leaves_the_champion_and_its_reason():
    def load(champion):
        if champion.version == 2:
            raise OSError(f"{champion.path} is damaged")
        return Model(champion)

    host = ModelHost(load)
    host.apply(catalog(1, 2)).result(PATIENCE_S)
    served = host.get(NAME)
    assert (served.champion.version, served.trial.model) == (1, None)
    assert served.trial.problem == "OSError: model.skops is damaged"
    assert [state.problem for state in host.states()] == [None]


def test_a_trial_that_takes_for_ever_to_load_holds_up_no_champion():
    may_load = threading.Event()

    def load(champion):
        if champion.version == 2:
            assert may_load.wait(PATIENCE_S)
        return Model(champion)

    host = ModelHost(load)
    host.apply(catalog(1, 2))
    served = asyncio.run(host.fetch(NAME))
    assert (served.champion.version, served.trial.model) == (1, None)
    loading = host.apply(catalog(5, 2))
    assert host.get(NAME).champion.version == 5
    may_load.set()
    loading.result(PATIENCE_S)
    assert held(host) == (5, 2, True)


@pytest.fixture
def answering(tmp_path):
    """Return a function that makes (host, predictor, events) of a loader."""
    opened = []

    def make(load):
        log = SqliteEventLog(tmp_path / "events.db")
        writer = EventWriter(log)
        parts = {"writer": writer, "mask": str, "pseudonym": lambda user, tenant: f"p-{user}"}
        host = ModelHost(load)
        predictor = Predictor(host=host, **parts, trials=TrialDesk(**parts, answer_s=PATIENCE_S))

        def events():
            assert writer.flush(PATIENCE_S)
            return [logged.event for logged in log.read(START, limit=5_000).events]

        opened.append((predictor, writer, log))
        return host, predictor, events

    yield make
    for predictor, writer, log in opened:
        predictor.close()
        writer.close()
        log.close()


@pytest.mark.parametrize(
    ("then", "answers"),
    [
        (catalog(2), "v2"),  # promoted
        (catalog(1), "v1"),  # ended
        (catalog(1, 3), "v3"),  # replaced
        (catalog(4, 3), "v3"),  # and the champion, too
    ],
    ids=["promoted", "ended", "replaced", "champion moved"],
)
def test_requests_in_flight_end_with_what_they_began_with(answering, then, answers):
    gate = threading.Event()
    loads = Loads(v2=gate)
    host, predictor, events = answering(loads)

    async def ask():
        request = PredictRequest(text="where is my parcel", user_id="ann")
        response = await predictor.predict(KEY, NAME, request)
        return response["predictions"][0]["label"]

    async def run():
        await asyncio.to_thread(host.apply(catalog(1, 2)).result, PATIENCE_S)
        in_flight = asyncio.create_task(ask())
        assert await asyncio.to_thread(loads.models[2].entered.wait, PATIENCE_S)
        await asyncio.to_thread(host.apply(then).result, PATIENCE_S)
        gate.set()
        return await in_flight, await ask()

    assert asyncio.run(run()) == ("v2", answers)
    predictor.close()
    first, second = sorted(events(), key=lambda event: event.ts)
    assert first.model_version == 2
    assert first.attributes["champion_version"] == "1"
    assert second.prediction == answers


def test_a_champion_that_fails_is_held_apart_also_while_a_version_is_on_trial(answering):
    def fails(texts):
        if "预热" not in texts[0]:
            raise ZeroDivisionError("poisonous")
        return [Prediction(label="v1", confidence=0.5, top=())] * len(texts)

    loads = Loads()
    host, predictor, _ = answering(loads)
    host.apply(catalog(1, 2, stage=Stage.SHADOW, percent=0.0)).result(PATIENCE_S)
    loads.models[1].predict_many = fails

    async def ask():
        request = PredictRequest(text="where is my parcel")
        kinds = []
        for _ in range(200):
            try:
                await predictor.predict(KEY, NAME, request)
            except Exception as error:
                kinds.append(type(error))
        return kinds

    kinds = asyncio.run(ask())
    assert kinds[0] is ZeroDivisionError
    assert kinds[-1] is EngineError  # refused without being asked

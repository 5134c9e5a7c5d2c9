"""Versions on trial on a real Ray Serve and a real registry, while requests run."""

import json
import os
import re
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from closedloop.core.audit import Audit
from closedloop.core.errors import ClosedLoopError
from closedloop.core.identity import Identities
from closedloop.core.ports import free_port
from closedloop.core.settings import Settings
from closedloop.core.store import Store
from closedloop.data.event_log.opening import open_event_log
from closedloop.models.lean.compiling import lean_of_pipeline
from closedloop.models.lean.file import save_lean
from closedloop.models.lean.model import LeanModel
from closedloop.models.model_file import sha256_of
from closedloop.models.model_version import LeanFile
from closedloop.models.reference import ModelRef
from closedloop.models.registry import Registry
from closedloop.models.trial import place
from closedloop.serve import deployment
from closedloop.serve.client import Client
from closedloop.serve.options import ServingOptions
from closedloop.serve.trials.reports import trial_totals
from closedloop.serve.trials.verdict import TrialLimits

pytestmark = pytest.mark.ray

REF = ModelRef(tenant="retail", algorithm="intent", name="desk")
MODEL = str(REF)
PERCENT = 25
USERS = [f"user-{i}" for i in range(400)]
PATIENCE_S = 120  # ample for a busy machine
SURFACES = 2_000  # of the slow model; each costs some forty microseconds
TRAINING = {
    "refund please": "refund",
    "i want a refund": "refund",
    "where is my parcel": "delivery",
    "my parcel is late": "delivery",
}


def fitted(labels):
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline

    steps = [("terms", TfidfVectorizer()), ("classifier", LogisticRegression(C=30))]
    return lean_of_pipeline(Pipeline(steps).fit(list(TRAINING), labels))


def raises_on_known_terms():
    """A model that loads, answers the warm-up, and fails in requests: its arrays are too short."""
    lean = fitted(list(TRAINING.values()))
    (surface,) = lean.surfaces
    return LeanModel(
        classes=lean.classes,
        bias=lean.bias,
        surfaces=(replace(surface, directions=np.zeros((1, 2), dtype=np.float32)),),
        latent=np.zeros((2, len(lean.classes))),
    )


def takes_long():
    """A model that answers as the usual one, and takes a hundred milliseconds for it."""
    lean = fitted(list(TRAINING.values()))
    (surface,) = lean.surfaces
    part = replace(surface, planes=surface.planes / SURFACES)
    return LeanModel(
        classes=lean.classes, bias=lean.bias, surfaces=(part,) * SURFACES, link=lean.link
    )


@pytest.fixture(scope="module")
def serving(ray_cluster, tmp_path_factory):
    """A champion and versions that answer otherwise, fail, and are slow, on a free port."""
    home = tmp_path_factory.mktemp("trials")
    settings = Settings(home=home, api_port=free_port())
    registry = Registry(settings.registry_url, settings.artifacts_url)
    usual = list(TRAINING.values())
    otherwise = fitted([f"{label}s" for label in usual])
    models = [fitted(usual), otherwise, raises_on_known_terms(), takes_long()]
    for number, lean in enumerate(models):
        file, lean_file = home / "model.skops", home / "lean"
        file.write_text(f"trained elsewhere {number}")
        registry.register(
            REF,
            file,
            sha256_of(file),
            {},
            lean=LeanFile(lean_file, save_lean(lean, lean_file)),
            labels=lean.classes,
        )
    registry.promote(REF, 1)
    _, key = Identities(Store.open(settings.store_url)).add_key("test", tenant="retail")
    options = ServingOptions(
        rate_per_key_s=100_000,
        trial_limits=TrialLimits(min_requests=30),
        trial_answer_s=30,  # ample: on a busy machine a slow version must not count as hanging
    )
    url = deployment.start(settings, options)
    yield SimpleNamespace(
        settings=settings, registry=registry, key=key, url=url, ray_address=ray_cluster
    )
    deployment.stop()


class Traffic:
    """Four clients that ask without a retry, each answer kept with its user."""

    def __init__(self, serving):
        self._serving = serving
        self._over = threading.Event()
        self.answers = []  # (user, version, label, prediction id)
        self.failed = []

    def ask(self, seed):
        texts = list(TRAINING)
        with Client(self._serving.url, self._serving.key, attempts=1) as client:
            asked = seed
            while not self._over.is_set():
                asked += 7
                user = USERS[asked % len(USERS)]
                try:
                    got = client.predict(MODEL, [texts[asked % len(texts)]], user_id=user)
                except ClosedLoopError as error:
                    self.failed.append(str(error))
                    continue
                (prediction,) = got.predictions
                self.answers.append((user, got.version, prediction.label, prediction.prediction_id))
                self._over.wait(0.01)

    def end(self):
        self._over.set()


@contextmanager
def traffic(serving):
    running = Traffic(serving)
    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(running.ask, seed) for seed in range(4)]
        try:
            yield running
        finally:
            running.end()
    for each in asking:
        each.result()


def until(condition):
    pause = threading.Event()
    for _ in range(PATIENCE_S * 10):
        found = condition()
        if found:
            return found
        pause.wait(0.1)
    raise AssertionError("what was waited for did not come")


def counted():
    """Return what the watcher counted of the one trial, None before the first report."""
    return next(iter(trial_totals().values()), None)


def logged(serving, answers):
    log = open_event_log(serving.settings.event_log_url)
    try:
        events = {
            prediction_id: until(lambda found=prediction_id: log.get(found))
            for _, _, _, prediction_id in answers
        }
    finally:
        log.close()
    return events


def test_a_version_goes_from_shadow_over_canary_to_champion_without_a_failed_request(
    serving, tmp_path
):
    registry = serving.registry
    with traffic(serving) as running:
        until(lambda: running.answers)
        registry.start_shadow(REF, 2)
        until(lambda: (tally := counted()) and tally.compared >= 50)
        assert {version for _, version, _, _ in running.answers} == {1}
        registry.start_canary(REF, 2, PERCENT)
        until(lambda: sum(version == 2 for _, version, _, _ in running.answers) >= 50)
        told = trials_command(serving, tmp_path / "trials.json")
        canary = list(running.answers)
        registry.promote(REF, 2)
        until(lambda: _all_by(running.answers[-20:], 2))

    assert running.failed == []
    assert_command_told(told)
    # A canary's user is answered by it alone, from the moment that the replica knows of it.
    chosen = {user for user in USERS if place(MODEL, 2, f"user {user}") < PERCENT}
    assert {user for user, version, _, _ in canary if version == 2} <= chosen
    labels = Counter((version, label.endswith("s")) for _, version, label, _ in running.answers)
    assert set(labels) == {(1, False), (2, True)}

    events = logged(serving, running.answers)
    stages = Counter()
    for user, version, label, prediction_id in running.answers:
        event = events[prediction_id]
        assert (event.model_version, event.prediction) == (version, label)
        about = event.attributes
        if "trial_stage" not in about:
            continue
        both = "champion_prediction" in about and "trial_prediction" in about
        stages[about["trial_stage"], about["answered_by"], both] += 1
        assert about["answered_by"] == {1: "champion", 2: "trial"}[version]
        assert about[f"{about['answered_by']}_prediction"] == label
        if both:
            assert about["trial_prediction"] == about["champion_prediction"] + "s"
        else:
            assert about.get("trial_problem") or about.get("champion_problem")
        if about["trial_stage"] == "canary" and both:
            assert (about["answered_by"] == "trial") is (user in chosen)
    assert min(stages["shadow", "champion", True], stages["canary", "champion", True]) > 20
    assert stages["canary", "trial", True] > 20
    assert ("shadow", "trial", True) not in stages
    assert registry.get(REF, 2).tags["closedloop.trial_ended"] == "became champion"


def test_a_candidate_that_fails_is_rolled_back_by_itself_and_costs_no_request(serving):
    registry = serving.registry
    champion = registry.champions()[0].version
    with traffic(serving) as running:
        until(lambda: running.answers)
        registry.start_canary(REF, 3, 50)
        (ended,) = until(lambda: _ended(registry, 3))
        seen = len(running.answers)
        until(lambda: len(running.answers) > seen + 20)

    assert running.failed == []
    assert {version for _, version, _, _ in running.answers} == {champion}
    assert ended.reason.startswith("rolled back: ")
    assert "requests failed" in ended.reason
    assert ended.reason.endswith("the last error: failed: IndexError")
    assert registry.stages().trials == ()
    problems = Counter(
        event.attributes.get("trial_problem") for event in logged(serving, running.answers).values()
    )
    assert problems["failed: IndexError"] >= 30
    assert trial_totals() == {}
    (entry,) = until(lambda: _by_the_watcher(serving))
    assert entry.action == "models.end-trial"
    assert entry.details == {"version": 3, "reason": ended.reason}


def test_a_candidate_that_is_slow_is_rolled_back_by_itself_and_costs_no_request(serving):
    registry = serving.registry
    champion = registry.champions()[0].version
    with traffic(serving) as running:
        until(lambda: running.answers)
        registry.start_canary(REF, 4, 50)
        (ended,) = until(lambda: _ended(registry, 4))
        until(lambda: _all_by(running.answers[-20:], champion))

    assert running.failed == []
    assert 4 in {version for _, version, _, _ in running.answers}  # some users had to wait for it
    assert re.fullmatch(
        r"rolled back: 95 % of its answers take up to \S+ ms, the champion's \S+ ms", ended.reason
    )
    assert registry.stages().trials == ()


def _by_the_watcher(serving):
    entries = Audit(Store(serving.settings.store_url)).entries()
    return [entry for entry in entries if entry.who == "catalog-watcher"]


def _ended(registry, version):
    return [ended for ended in registry.ended_trials() if ended.version == version]


def _all_by(answers, version):
    return len(answers) == 20 and all(by == version for _, by, _, _ in answers)


def trials_command(serving, file):
    """Run ``closedloop models trials`` beside the platform and return what it wrote."""
    environment = os.environ | {
        "CLOSEDLOOP_HOME": str(serving.settings.root),
        "CLOSEDLOOP_RAY_ADDRESS": serving.ray_address,
        "COLUMNS": "200",
    }
    command = [sys.executable, "-m", "closedloop.ui.cli.main", "models", "trials", "--json", file]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(file.read_text()), done.stderr


def assert_command_told(told):
    figures, shown = told
    (trial,) = figures["trials"]
    assert (trial["stage"], trial["percent"]) == ("canary", PERCENT)
    for side, version in (("champion", 1), ("trial", 2)):
        assert trial[side]["version"] == version
        assert trial[side]["requests"] >= 50
        assert trial[side]["p95_ms"] > 0
    assert trial["agreement"] == 0
    assert MODEL in shown
    assert "25 %" in shown

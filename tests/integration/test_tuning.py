"""A real search: Ray Tune with Optuna and ASHA, tracked in a real MLflow store."""

import pytest

from closedloop.core.errors import InputError
from closedloop.models.mlflow_client import open_mlflow
from closedloop.models.training_set import LabelledText, make_training_set
from closedloop.models.trial_recorder import Tracking
from closedloop.models.tuning import FOLDS, search_space, tune
from closedloop.samples.vectorise import TextVectoriser

VERBS = {"track": "where is", "cancel": "please cancel", "pay": "i want to pay", "退款": "我要退款"}
THINGS = ["my order", "the parcel", "this phone", "two shirts", "a lamp", "衣服", "手机", "鞋子"]


@pytest.fixture(scope="module")
def training_set():
    pairs = [(f"{verb} {thing}", label) for label, verb in VERBS.items() for thing in THINGS]
    rows = [LabelledText(row_id=str(i), text=t, label=lab) for i, (t, lab) in enumerate(pairs)]
    return make_training_set(rows)


@pytest.mark.ray
def test_search_runs_trials_and_tracks_each_one(ray_cluster, training_set, tmp_path):
    client = open_mlflow(f"sqlite:///{tmp_path}/mlflow.db", str(tmp_path / "artifacts"))
    progress = []
    result = tune(
        training_set,
        vectoriser=TextVectoriser().fit(training_set.texts),
        trials=3,
        max_concurrent=2,
        cpus_per_trial=0.5,
        storage_path=str(tmp_path / "tune"),
        tracking=Tracking(client=client, experiment="tuning", tags={"run": "r1"}),
        on_trial=lambda done, total, best: progress.append((done, total, best)),
    )
    assert [trial.number for trial in result.trials] == [0, 1, 2]
    assert [(done, total) for done, total, _ in progress] == [(1, 3), (2, 3), (3, 3)]
    assert result.accuracy == max(t.accuracy for t in result.trials if t.folds == FOLDS)
    assert result.accuracy > 0.5

    experiment = client.get_experiment_by_name("tuning")
    runs = client.search_runs([experiment.experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert {run.data.tags["run"] for run in runs} == {"r1"}
    assert all(set(run.data.params) == set(search_space()) for run in runs)
    tried = sorted(trial.folds for trial in result.trials)
    rungs = [len(client.get_metric_history(run.info.run_id, "accuracy")) for run in runs]
    assert sorted(rungs) == tried


def test_no_trial_is_refused_before_any_engine_starts(training_set):
    with pytest.raises(InputError, match="0 trials"):
        tune(training_set, vectoriser=TextVectoriser(), trials=0, storage_path="unused")

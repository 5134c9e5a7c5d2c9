"""Hyperparameter search: Ray Tune runs trials in parallel, Optuna proposes, ASHA stops.

A trial cross-validates one setting fold by fold and reports the mean accuracy so far after each
fold; ASHA ends it early when it trails. The views of the texts are made once and put in Ray's
object store, so that a trial only fits linear models. Each trial is an MLflow run, written from
the driver: SQLite has one writer.

The caller has initialised Ray. Gold rows are not here: they never tune.

References
----------
Akiba, T. et al. (2019). Optuna: a next-generation hyperparameter optimization framework. KDD.
Li, L. et al. (2020). A system for massively parallel hyperparameter tuning. MLSys (ASHA).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from closedloop.core.errors import EngineError, InputError
from closedloop.models.folds import stratified_folds
from closedloop.models.text_classifier import ClassifierParameters, TextClassifier
from closedloop.models.training_set import TrainingSet
from closedloop.models.trial_recorder import OnTrial, Tracking, make_recorder
from closedloop.samples.vectorise import TextVectoriser, TextViews

FOLDS = 4
METRIC = "accuracy"
MAX_TUNING_ROWS = 4_000  # a uniform part of a larger set ranks settings just as well


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One setting that was tried."""

    number: int
    parameters: ClassifierParameters
    accuracy: float  # mean over the folds that ran
    folds: int  # fewer than all: stopped early
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class TuningResult:
    """What the search found."""

    best: ClassifierParameters
    accuracy: float  # cross-validated, of ``best``
    trials: tuple[Trial, ...]  # in order of their numbers


def search_space() -> dict[str, tuple[float, float]]:
    """Range of each parameter, all searched on a logarithmic scale."""
    return {
        "c": (0.1, 10.0),
        "words_weight": (0.3, 2.0),
        "characters_weight": (0.3, 2.0),
        "latent_weight": (0.3, 3.0),
        "semantic_weight": (0.5, 4.0),
    }


def tune(
    training_set: TrainingSet,
    *,
    vectoriser: TextVectoriser,
    trials: int = 8,
    max_concurrent: int = 2,
    cpus_per_trial: float = 1.0,
    seed: int = 0,
    storage_path: str,
    tracking: Tracking | None = None,
    on_trial: OnTrial | None = None,
) -> TuningResult:
    """Search the settings of the text classifier.

    Parameters
    ----------
    training_set : TrainingSet
        Its training rows are cross-validated.
    vectoriser : TextVectoriser
        Fitted on the log.
    trials : int
        How many settings; the first is the default one, so that the result is never worse.
    max_concurrent : int
        Trials at the same time.
    cpus_per_trial : float
        Ray's share for each; a fraction where replicas hold the cores.
    seed : int
        Of the proposals and the folds.
    storage_path : str
        Folder for Ray Tune's own files.
    tracking : Tracking, optional
        MLflow experiment in which each trial becomes a run.
    on_trial : callable, optional
        Called with (trials done, trials in all, best accuracy so far).

    Raises
    ------
    InputError
        When no trial is asked for.
    EngineError
        When every trial failed.
    """
    if trials < 1:
        raise InputError(f"Cannot tune with {trials} trials.", remedy="Ask for 1 or more.")
    from ray import tune as ray_tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    rows = _rows_to_tune_on(len(training_set.train), seed)
    views = vectoriser.transform([training_set.train[row].text for row in rows])
    labels = [training_set.train[row].label for row in rows]
    space = {name: ray_tune.loguniform(*bounds) for name, bounds in search_space().items()}
    default = asdict(ClassifierParameters())
    recorder = make_recorder(METRIC, trials, tracking, on_trial)
    with _quiet():
        results = ray_tune.Tuner(
            ray_tune.with_resources(
                # with_parameters puts the views in the object store once, for all trials.
                ray_tune.with_parameters(_run_trial, views=views, labels=labels, seed=seed),
                {"cpu": cpus_per_trial},
            ),
            param_space=space,
            tune_config=ray_tune.TuneConfig(
                metric=METRIC,
                mode="max",
                num_samples=trials,
                max_concurrent_trials=max_concurrent,
                reuse_actors=True,  # a worker's start costs more than a trial
                search_alg=OptunaSearch(seed=seed, points_to_evaluate=[default]),
                scheduler=ASHAScheduler(
                    time_attr="training_iteration", max_t=FOLDS, grace_period=1, reduction_factor=2
                ),
            ),
            run_config=ray_tune.RunConfig(
                storage_path=os.path.abspath(storage_path),
                callbacks=[recorder],
                verbose=0,
                log_to_file=False,
            ),
        ).fit()
    finished = [results[i] for i in range(len(results))]
    reported = [result for result in finished if METRIC in (result.metrics or {})]
    table = tuple(
        sorted((_trial(result, recorder) for result in reported), key=lambda trial: trial.number)
    )
    if not table:
        reason = str(next(iter(results.errors), "no trial reported")).strip().splitlines()[-1]
        raise EngineError(
            f"All {trials} tuning trials failed: {reason}",
            remedy="Look at the trial's log in Ray's dashboard, then run again.",
        )
    # A trial that ASHA stopped has seen fewer folds: its mean is not comparable.
    full = [trial for trial in table if trial.folds == max(t.folds for t in table)]
    best = max(full, key=lambda trial: (trial.accuracy, -trial.number))
    return TuningResult(best=best.parameters, accuracy=best.accuracy, trials=table)


def fold_accuracies(
    views: TextViews, labels: Sequence[str], parameters: ClassifierParameters, *, seed: int
) -> Iterator[float]:
    """Accuracy of a setting on each fold, as it is measured; what one trial does."""
    targets = np.unique(np.asarray(labels), return_inverse=True)[1]
    folds = stratified_folds(targets, FOLDS, seed=seed)
    for fold in range(FOLDS):
        rest, held = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        model = TextClassifier(parameters, seed=seed)
        model.fit_views(views.rows(rest), [labels[row] for row in rest], calibrate=False)
        best = model.scores(views.rows(held)).argmax(axis=1)
        right = sum(model.classes[i] == labels[row] for i, row in zip(best, held, strict=True))
        yield right / max(len(held), 1)


def _run_trial(
    config: dict[str, float], *, views: TextViews, labels: Sequence[str], seed: int
) -> None:
    from ray import tune as ray_tune

    # One trial, one core: numerical libraries would start a thread a core each.
    from threadpoolctl import threadpool_limits

    parameters = ClassifierParameters(**config)
    total = 0.0
    with threadpool_limits(1):
        for done, accuracy in enumerate(
            fold_accuracies(views, labels, parameters, seed=seed), start=1
        ):
            total += accuracy
            ray_tune.report({METRIC: total / done, "fold_accuracy": accuracy, "folds": done})


def _rows_to_tune_on(rows: int, seed: int) -> list[int]:
    if rows <= MAX_TUNING_ROWS:
        return list(range(rows))
    chosen = np.random.default_rng(seed).choice(rows, MAX_TUNING_ROWS, replace=False)
    return sorted(int(row) for row in chosen)


def _trial(result: Any, recorder: Any) -> Trial:
    metrics = result.metrics
    return Trial(
        number=recorder.numbers[metrics["trial_id"]],
        parameters=ClassifierParameters(**result.config),
        accuracy=float(metrics[METRIC]),
        folds=int(metrics["folds"]),
        seconds=float(metrics["time_total_s"]),
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Ray Tune's tables and Optuna's lines off the terminal; progress has its callback."""
    import optuna

    before = {name: logging.getLogger(name).level for name in ("ray.tune", "ray.train")}
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # Its newer reporter prints a banner even when it is told to be silent.
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    for name in before:
        logging.getLogger(name).setLevel(logging.CRITICAL)  # a failure is raised, not printed
    try:
        yield
    finally:
        optuna.logging.set_verbosity(verbosity)
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)

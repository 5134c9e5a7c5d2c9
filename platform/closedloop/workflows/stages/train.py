"""Stage: Ray Tune searches the classifier's parameters; the best is trained on every label."""

from __future__ import annotations

import pyarrow.compute as pc

from closedloop.models.mlflow_client import open_mlflow
from closedloop.models.model_file import save
from closedloop.models.text_classifier import TextClassifier
from closedloop.models.training_set import LabelledText, TrainingSet, make_training_set
from closedloop.models.tuning import FOLDS, Tracking, tune
from closedloop.samples.vectorise import TextVectoriser
from closedloop.workflows.context import LoopContext, StageProgress
from closedloop.workflows.records import StageOutcome


def train(context: LoopContext, outcome: StageOutcome, progress: StageProgress) -> None:
    """Train a challenger on the labels of one version of the lake's table."""
    state, parameters, settings = context.state, context.parameters, context.engines.settings
    state.labels_version = context.engines.lake.version("labels")
    training_set = _training_set(context)
    state.training_set = training_set
    if state.vectoriser is None:
        # Texts without a label teach word weights and latent directions too.
        unlabelled = state.samples["text"].to_pylist() if state.samples.num_columns else []
        state.vectoriser = TextVectoriser(seed=parameters.seed).fit(
            [*training_set.texts, *unlabelled]
        )
    found = tune(
        training_set,
        vectoriser=state.vectoriser,
        trials=parameters.trials,
        max_concurrent=parameters.trials_at_once,
        seed=parameters.seed,
        storage_path=str(context.scratch / "tune"),
        tracking=Tracking(
            client=open_mlflow(settings.registry_url, settings.artifacts_url),
            experiment=str(parameters.model),
            tags={"run": context.run_id, "lake.labels": str(state.labels_version)},
        ),
        on_trial=lambda done, total, best: progress(done, total + 1),
    )
    challenger = TextClassifier(found.best, seed=parameters.seed)
    challenger.fit(training_set.texts, training_set.labels, vectoriser=state.vectoriser)
    state.challenger = challenger
    state.challenger_file = context.scratch / "model.skops"
    state.challenger_sha256 = save(challenger, state.challenger_file)
    progress(1, 1)
    outcome.rows = len(training_set.train)
    outcome.details = {
        "classes": len(training_set.classes),
        "trials": len(found.trials),
        "stopped early": sum(trial.folds < FOLDS for trial in found.trials),
        "cross-validated accuracy": round(found.accuracy, 4),
        "labels version": state.labels_version,
    }
    if training_set.warnings:
        outcome.details["warnings"] = " ".join(training_set.warnings)


def _training_set(context: LoopContext) -> TrainingSet:
    model = str(context.parameters.model)
    labels = context.engines.lake.read("labels", version=context.state.labels_version)
    rows = labels.filter(pc.equal(labels["model"], model)).to_pylist()
    return make_training_set(
        [LabelledText(row_id=r["sample_id"], text=r["text"], label=r["label"]) for r in rows],
        gold_ids=[r["sample_id"] for r in rows if r["split"] == "gold"],
    )

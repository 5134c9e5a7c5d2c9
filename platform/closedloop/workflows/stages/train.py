"""Stage: Ray Tune searches the classifier's parameters; the best is trained on every label."""

from __future__ import annotations

from closedloop.models.mlflow_client import open_mlflow
from closedloop.models.model_file import save
from closedloop.models.self_training import self_train
from closedloop.models.text_classifier import ClassifierParameters, TextClassifier
from closedloop.models.training_set import TrainingSet
from closedloop.models.training_snapshot import (
    LABELS_VERSION_TAG,
    SHA256_TAG,
    content_hash,
    training_set_at,
)
from closedloop.models.tuning import FOLDS, Tracking, tune
from closedloop.samples.normal_form import normalise
from closedloop.samples.vectorise import TextVectoriser
from closedloop.workflows.context import LoopContext, StageProgress
from closedloop.workflows.records import StageOutcome


def train(context: LoopContext, outcome: StageOutcome, progress: StageProgress) -> None:
    """Train a challenger on the labels of one version of the lake's table.

    In a repair, the traffic that the champion answered is its unlabelled text: the new model's
    sure answers to it are weak labels, but never an answer that a user disliked.
    """
    state, parameters, settings = context.state, context.parameters, context.engines.settings
    state.labels_version = context.engines.lake.version("labels")
    training_set = training_set_at(context.engines.lake, parameters.model, state.labels_version)
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
            tags={
                "run": context.run_id,
                LABELS_VERSION_TAG: str(state.labels_version),
                SHA256_TAG: content_hash(training_set),
            },
        ),
        on_trial=lambda done, total, best: progress(done, total + 1),
    )
    challenger, weak_labels = _fit(context, training_set, found.best)
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
    if weak_labels:
        outcome.details["weak labels"] = weak_labels
    if training_set.warnings:
        outcome.details["warnings"] = " ".join(training_set.warnings)


def _fit(
    context: LoopContext, training_set: TrainingSet, parameters: ClassifierParameters
) -> tuple[TextClassifier, int]:
    """Train on every label; in a repair also on what users asked and did not complain of.

    Returns the model and how many weak labels (its teacher's sure answers) it learned from.
    """
    state, seed = context.state, context.parameters.seed
    assert state.vectoriser is not None
    known = {normalise(row.text) for row in training_set.train + training_set.gold}
    asked = [text for text in state.asked if normalise(text) not in known]
    if not asked:
        model = TextClassifier(parameters, seed=seed)
        model.fit(training_set.texts, training_set.labels, vectoriser=state.vectoriser)
        return model, 0
    found = self_train(
        state.vectoriser.transform(training_set.texts),
        training_set.labels,
        unlabelled=state.vectoriser.transform(asked),
        doubted=[state.asked[text] for text in asked],
        parameters=parameters,
        seed=seed,
    )
    found.model.vectoriser = state.vectoriser
    return found.model, found.weak_labels

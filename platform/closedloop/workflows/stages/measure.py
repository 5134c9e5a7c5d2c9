"""Stages: accuracy on held-out rows, over HTTP, as clients get it."""

from __future__ import annotations

from closedloop.workflows.context import LoopContext, StageProgress
from closedloop.workflows.records import StageOutcome

_BATCH_TEXTS = 200


def measure(context: LoopContext, outcome: StageOutcome, progress: StageProgress) -> None:
    """Measure the version that serves after this run."""
    _measure(context, outcome, progress, "accuracy")


def measure_before(context: LoopContext, outcome: StageOutcome, progress: StageProgress) -> None:
    """Measure the version that serves before anything is changed."""
    _measure(context, outcome, progress, "accuracy_before")


def _measure(
    context: LoopContext, outcome: StageOutcome, progress: StageProgress, figure: str
) -> None:
    heldout, ref = context.state.heldout, context.parameters.model
    if heldout is None or not len(heldout):
        outcome.details = {"skipped": "no held-out rows were given (--heldout FILE)"}
        return
    right = 0
    for start in range(0, len(heldout), _BATCH_TEXTS):
        part = slice(start, start + _BATCH_TEXTS)
        answers = context.engines.serving.predict(ref, heldout.texts[part])
        right += sum(a == b for a, b in zip(answers, heldout.labels[part], strict=True))
        progress(min(start + _BATCH_TEXTS, len(heldout)), len(heldout))
    accuracy = right / len(heldout)
    context.state.figures[figure] = accuracy
    outcome.rows = len(heldout)
    outcome.details = {"held-out accuracy": round(accuracy, 4)}

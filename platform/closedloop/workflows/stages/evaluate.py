"""Stage: joint evaluation of challenger and champion on the same gold rows."""

from __future__ import annotations

from pathlib import Path

from closedloop.core.errors import NotFound
from closedloop.models.evaluation import evaluate as evaluate_jointly
from closedloop.models.model_file import load
from closedloop.workflows.context import LoopContext, StageProgress
from closedloop.workflows.records import StageOutcome

_SHOWN_CLASSES = 5


def evaluate(context: LoopContext, outcome: StageOutcome, progress: StageProgress) -> None:
    """Judge the challenger; the verdict is carried out by the release stage."""
    state = context.state
    assert state.training_set is not None
    assert state.challenger is not None
    gold = state.training_set.gold
    texts = [row.text for row in gold]
    load_champion(context)
    challenger = [answer.label for answer in state.challenger.predict_many(texts)]
    progress(1, 2)
    champion = (
        None if state.champion is None else [a.label for a in state.champion.predict_many(texts)]
    )
    found = evaluate_jointly(
        [row.label for row in gold], challenger, champion, seed=context.parameters.seed
    )
    state.evaluation = found
    progress(2, 2)
    score = found.challenger.accuracy
    outcome.rows = len(gold)
    outcome.details = {
        "challenger accuracy": f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]",
        "challenger macro F1": f"{found.challenger.macro_f1.value:.3f}",
        "verdict": "release" if found.verdict.release else "refuse",
        "reasons": " ".join(found.verdict.reasons),
        "weakest classes": ", ".join(
            f"{c.label} (recall {c.recall:.2f} of {c.support})"
            for c in sorted(found.classes, key=lambda c: (c.recall, -c.support))[:_SHOWN_CLASSES]
        ),
        "classes": [
            {
                "label": c.label,
                "support": c.support,
                "recall": round(c.recall, 4),
                "champion recall": None
                if c.champion_recall is None
                else round(c.champion_recall, 4),
            }
            for c in found.classes
        ],
    }
    if found.champion and found.difference:
        former, gain = found.champion.accuracy, found.difference
        outcome.details |= {
            "champion accuracy": f"{former.value:.3f} [{former.low:.3f}, {former.high:.3f}]",
            "difference": f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]",
            "fixed": found.fixed,
            "broken": found.broken,
        }


def load_champion(context: LoopContext) -> None:
    """Load the model that serves now, once a run, if there is one."""
    state = context.state
    if state.champion is not None:
        return
    try:
        version = context.engines.registry.resolve(context.parameters.model)
    except NotFound:
        return
    state.champion = load(Path(version.path), version.sha256)
    state.champion_version = version.version

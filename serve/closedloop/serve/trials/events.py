"""What the events of a prediction say of the trial that its model was on.

The attributes, whose values are text:

========================================= ===================================================
``trial_stage``                           ``shadow`` or ``canary``
``champion_version``, ``trial_version``   the two versions that are compared
``answered_by``                           ``champion`` or ``trial``: whose answer was given
``champion_prediction``, ``…_confidence`` the champion's answer
``trial_prediction``, ``…_confidence``    the answer of the version on trial
``champion_problem``, ``trial_problem``   in the place of an answer: why there is none
========================================= ===================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from closedloop.data.event import Event
from closedloop.models.trial import Stage
from closedloop.serve.trials.counts import TrialKey
from closedloop.serve.trials.outcome import Answers, Side


def note_trial(events: Iterable[Event], key: TrialKey, stage: Stage, *, by: Side) -> None:
    """Write down what was on trial and whose answer was given."""
    for event in events:
        event.attributes.update(
            trial_stage=stage.value,
            champion_version=str(key.champion),
            trial_version=str(key.trial),
            answered_by=by,
        )


def note_answers(events: Sequence[Event], side: Side, answers: Answers) -> None:
    """Write down what one version answered, an answer an event."""
    for event, answer in zip(events, answers, strict=True):
        event.attributes[f"{side}_prediction"] = answer.label
        event.attributes[f"{side}_confidence"] = f"{float(answer.confidence):.6g}"


def note_problem(events: Iterable[Event], side: Side, problem: str) -> None:
    """Write down why there is no answer of one version."""
    for event in events:
        event.attributes[f"{side}_problem"] = problem

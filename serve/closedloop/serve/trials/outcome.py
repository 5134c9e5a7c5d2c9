"""What comes of asking a version: its answers, or why there are none."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from closedloop.models.prediction import Prediction

if TYPE_CHECKING:
    from closedloop.serve.model_host import Model

Side = Literal["champion", "trial"]
Answers = Sequence[Prediction]


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """Answers, one a text, or the problem."""

    answers: Answers = ()
    latency_ms: float = 0.0  # of the model alone
    problem: str = ""
    error: bool = False  # the version's own fault


def ask(model: Model, texts: Sequence[str]) -> Outcome:
    """Return a model's answers and how long they took; raises what the model raises."""
    started = time.perf_counter()
    answers = model.predict_many(texts)
    return Outcome(answers=answers, latency_ms=(time.perf_counter() - started) * 1000)


def ask_safely(model: Model, texts: Sequence[str]) -> Outcome:
    """Return a model's answers, checked; a failure of any kind is an outcome, too."""
    try:
        outcome = ask(model, texts)
        _check(outcome.answers, texts)
    except BaseException as error:  # SystemExit, too: it is a thread's, and must not end a request
        return failure(error)
    return outcome


def failure(error: BaseException) -> Outcome:
    """Return the outcome of an error: its kind alone, as what it says may quote a user's text.

    Examples
    --------
    >>> failure(ValueError("13800138000 is no word")).problem
    'failed: ValueError'
    """
    return Outcome(problem=f"failed: {type(error).__name__}", error=True)


def _check(answers: Answers, texts: Sequence[str]) -> None:
    """Raise ValueError on what could not be sent to a client, or written to the log."""
    if len(answers) != len(texts):
        raise ValueError(f"{len(answers)} answers to {len(texts)} texts")
    for answer in answers:
        for label, share in ((answer.label, answer.confidence), *answer.top):
            if not isinstance(label, str) or not 0 <= share <= 1:  # false for NaN too
                raise ValueError("a label that is no text, or a confidence that is no share")

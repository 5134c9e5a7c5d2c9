"""Joint evaluation: champion and challenger answer the same gold rows, and a verdict follows.

Judged on the same rows, the two are a *paired* sample: what both get right or wrong says nothing
about which is better, and McNemar's exact test looks only at the rows where they differ. The
difference in accuracy has a confidence interval by bootstrap over rows. A release is refused on
a regression beyond noise, and where a class with enough rows collapses though the whole improves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from closedloop.core.errors import InputError, TooFewLabels
from closedloop.core.proportion import Interval, wilson
from closedloop.models.paired import bootstrap_interval, mcnemar_exact
from closedloop.models.verdict import (
    ReleasePolicy,
    Verdict,
    judge_against_champion,
    judge_first,
)

_RESAMPLES = 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelScore:
    """How one model did on the gold rows."""

    accuracy: Interval  # Wilson
    macro_f1: Interval  # bootstrap; mean over the classes that occur in the gold rows


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassScore:
    """How both models did on one class; the champion's figures are None at cold start."""

    label: str
    support: int  # gold rows of the class
    precision: float
    recall: float
    f1: float
    champion_precision: float | None = None
    champion_recall: float | None = None
    champion_f1: float | None = None

    @property
    def delta_recall(self) -> float | None:
        """Challenger's recall less the champion's."""
        return None if self.champion_recall is None else self.recall - self.champion_recall


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """The whole comparison, as the board and the run record show it."""

    rows: int
    challenger: ModelScore
    champion: ModelScore | None
    difference: Interval | None  # accuracy, challenger less champion; paired bootstrap
    fixed: int  # rows that only the challenger gets right
    broken: int  # rows that only the champion gets right
    p_value: float | None  # McNemar exact, two-sided
    classes: tuple[ClassScore, ...]  # largest support first
    verdict: Verdict


def evaluate(
    truth: Sequence[str],
    challenger: Sequence[str],
    champion: Sequence[str] | None = None,
    *,
    policy: ReleasePolicy | None = None,
    seed: int = 0,
) -> Evaluation:
    """Compare the answers of two models on the same gold rows.

    Parameters
    ----------
    truth : sequence of str, length n
        Labels that people gave.
    challenger, champion : sequence of str, length n
        Each model's answers; no champion at cold start, where the challenger must beat the
        answer that always names the most frequent class.
    policy : ReleasePolicy, optional
    seed : int
        Of the bootstrap.

    Raises
    ------
    TooFewLabels
        When there is no gold row.
    InputError
        When the sequences differ in length.

    Examples
    --------
    >>> truth = ["a", "b"] * 20
    >>> found = evaluate(truth, truth, ["a"] * 40)
    >>> found.verdict.release, found.fixed, found.broken
    (True, 20, 0)
    """
    policy = policy or ReleasePolicy()
    _check(truth, challenger, champion)
    labels = sorted(set(truth) | set(challenger) | set(champion or ()))
    number = {label: i for i, label in enumerate(labels)}
    true = np.asarray([number[label] for label in truth])
    new = np.asarray([number[label] for label in challenger])
    old = None if champion is None else np.asarray([number[label] for label in champion])
    draws = np.random.default_rng(seed).integers(0, len(true), size=(_RESAMPLES, len(true)))
    classes = _class_scores(labels, true, new, old)
    difference = p_value = None
    fixed = broken = 0
    if old is not None:
        new_right, old_right = new == true, old == true
        fixed, broken = int((new_right & ~old_right).sum()), int((old_right & ~new_right).sum())
        p_value = mcnemar_exact(fixed, broken)
        gain = new_right.astype(float) - old_right
        difference = bootstrap_interval(float(gain.mean()), gain[draws].mean(axis=1))
        verdict = judge_against_champion(
            policy, labels, true, new, old, difference=difference, p_value=p_value
        )
    else:
        verdict = judge_first(policy, true, new, labels)
    return Evaluation(
        rows=len(true),
        challenger=_model_score(true, new, len(labels), draws),
        champion=None if old is None else _model_score(true, old, len(labels), draws),
        difference=difference,
        fixed=fixed,
        broken=broken,
        p_value=p_value,
        classes=classes,
        verdict=verdict,
    )


def _check(truth: Sequence[str], challenger: Sequence[str], champion: Sequence[str] | None) -> None:
    if not truth:
        raise TooFewLabels(
            "There is no gold row to evaluate on.", remedy="Label the evaluation tasks first."
        )
    for name, answers in (("challenger", challenger), ("champion", champion)):
        if answers is not None and len(answers) != len(truth):
            raise InputError(
                f"The {name} answered {len(answers)} of {len(truth)} gold rows.",
                remedy="Let both models answer the same rows.",
            )


def _model_score(
    true: npt.NDArray[np.intp],
    answers: npt.NDArray[np.intp],
    classes: int,
    draws: npt.NDArray[np.intp],
) -> ModelScore:
    macro = float(_macro_f1(true[None], answers[None], classes)[0])
    resampled = _macro_f1(true[draws], answers[draws], classes)
    return ModelScore(
        accuracy=wilson(int((true == answers).sum()), len(true)),
        macro_f1=bootstrap_interval(macro, resampled),
    )


def _macro_f1(
    true: npt.NDArray[np.intp], answers: npt.NDArray[np.intp], classes: int
) -> npt.NDArray[np.float64]:
    """Macro F1 of each of ``m`` samples of n rows: arguments (m, n), result (m,)."""
    offset = np.arange(len(true))[:, None] * classes
    size = len(true) * classes
    hits = np.bincount((true + offset)[true == answers], minlength=size)
    support = np.bincount((true + offset).ravel(), minlength=size)
    answered = np.bincount((answers + offset).ravel(), minlength=size)
    f1 = 2 * hits / np.maximum(support + answered, 1)
    table, present = f1.reshape(-1, classes), (support > 0).reshape(-1, classes)
    return np.asarray((table * present).sum(axis=1) / present.sum(axis=1))


def _class_scores(
    labels: Sequence[str],
    true: npt.NDArray[np.intp],
    new: npt.NDArray[np.intp],
    old: npt.NDArray[np.intp] | None,
) -> tuple[ClassScore, ...]:
    scores = []
    for target in np.unique(true):
        precision, recall, f1 = _precision_recall_f1(true, new, target)
        before = (None, None, None) if old is None else _precision_recall_f1(true, old, target)
        scores.append(
            ClassScore(
                label=labels[target],
                support=int((true == target).sum()),
                precision=precision,
                recall=recall,
                f1=f1,
                champion_precision=before[0],
                champion_recall=before[1],
                champion_f1=before[2],
            )
        )
    return tuple(sorted(scores, key=lambda score: (-score.support, score.label)))


def _precision_recall_f1(
    true: npt.NDArray[np.intp], answers: npt.NDArray[np.intp], target: int
) -> tuple[float, float, float]:
    hits = int(((true == target) & (answers == target)).sum())
    support, answered = int((true == target).sum()), int((answers == target).sum())
    precision = hits / answered if answered else 0.0
    recall = hits / support if support else 0.0
    return precision, recall, 2 * hits / (support + answered) if support + answered else 0.0

"""Joint evaluation: champion and challenger answer the same gold rows, and a verdict follows.

Judged on the same rows, the two are a *paired* sample: what both get right or wrong says nothing
about which is better, and McNemar's exact test looks only at the rows where they differ. The
difference in accuracy has a confidence interval by bootstrap over rows. A release is refused on
a regression beyond noise, and where a class with enough rows collapses though the whole improves.

References
----------
Dietterich, T. (1998). Approximate statistical tests for comparing supervised classification
learning algorithms. Neural Computation 10(7).
McNemar, Q. (1947). Note on the sampling error of the difference between correlated proportions.
Wilson, E. (1927). Probable inference, the law of succession, and statistical inference. JASA 22.
Efron, B., Tibshirani, R. (1993). An introduction to the bootstrap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest, norm

from closedloop.core.errors import InputError, TooFewLabels

_RESAMPLES = 1_000
_CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True, slots=True)
class ReleasePolicy:
    """What a challenger must show."""

    min_rows: int = 20  # fewer gold rows decide nothing
    max_p_of_regression: float = 0.05  # a lower accuracy with a smaller McNemar p is a regression
    max_accuracy_drop: float = 0.02  # a larger drop is refused however few rows there are
    class_min_support: int = 10  # classes with fewer gold rows are not judged on their own
    class_max_recall_drop: float = 0.3
    class_max_p: float = 0.05  # of McNemar within the class
    floor_margin: float = 0.0  # a first model must beat the majority class by more than this


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """An estimate with its 95 % confidence interval."""

    value: float
    low: float
    high: float


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
class Verdict:
    """Whether the challenger may be released, and why."""

    release: bool
    reasons: tuple[str, ...]


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
        difference = _interval(float(gain.mean()), gain[draws].mean(axis=1))
        verdict = _judge_against_champion(
            policy, labels, true, new, old, difference=difference, p_value=p_value
        )
    else:
        verdict = _judge_first(policy, true, new, labels)
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


def wilson(right: int, rows: int, *, confidence: float = _CONFIDENCE) -> Interval:
    """Wilson score interval of a proportion; sound near 0 and 1 and for few rows.

    Examples
    --------
    >>> found = wilson(8, 10)
    >>> round(found.low, 2), round(found.high, 2)
    (0.49, 0.94)
    """
    z = float(norm.ppf(0.5 + confidence / 2))
    share = right / rows
    centre = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z / (1 + z * z / rows) * (share * (1 - share) / rows + z * z / (4 * rows**2)) ** 0.5
    # At 0 and 1 a bound equals the share but for rounding, which must not leave it outside.
    return Interval(
        value=share,
        low=min(share, max(0.0, centre - half)),
        high=max(share, min(1.0, centre + half)),
    )


def mcnemar_exact(fixed: int, broken: int) -> float:
    """Two-sided exact p-value that two models err equally often.

    Examples
    --------
    >>> mcnemar_exact(0, 0)
    1.0
    >>> round(mcnemar_exact(9, 1), 3)
    0.021
    """
    if fixed + broken == 0:
        return 1.0
    return float(binomtest(fixed, fixed + broken, 0.5).pvalue)


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


def _judge_first(
    policy: ReleasePolicy,
    true: npt.NDArray[np.intp],
    new: npt.NDArray[np.intp],
    labels: Sequence[str],
) -> Verdict:
    accuracy = float((new == true).mean())
    counts = np.bincount(true)
    majority = float(counts.max() / len(true))
    name = labels[int(counts.argmax())]
    small = _too_few(policy, len(true))
    if small:
        return Verdict(release=False, reasons=(small,))
    says = f"accuracy {accuracy:.3f}, always answering {name!r} gives {majority:.3f}"
    if accuracy > majority + policy.floor_margin:
        return Verdict(release=True, reasons=(f"First model: {says}.",))
    return Verdict(release=False, reasons=(f"The model is no better than a constant: {says}.",))


def _judge_against_champion(
    policy: ReleasePolicy,
    labels: Sequence[str],
    true: npt.NDArray[np.intp],
    new: npt.NDArray[np.intp],
    old: npt.NDArray[np.intp],
    *,
    difference: Interval,
    p_value: float,
) -> Verdict:
    reasons = []
    small = _too_few(policy, len(true))
    if small:
        reasons.append(small)
    change = (
        f"accuracy {difference.value:+.3f} (95 % interval {difference.low:+.3f} to "
        f"{difference.high:+.3f}, McNemar p = {p_value:.3f}, {len(true)} rows)"
    )
    beyond_noise = p_value < policy.max_p_of_regression
    if difference.value < 0 and (beyond_noise or -difference.value > policy.max_accuracy_drop):
        reasons.append(f"The challenger is worse than the champion: {change}.")
    for target in np.unique(true):
        rows = true == target
        support = int(rows.sum())
        if support < policy.class_min_support:
            continue
        new_right, old_right = new[rows] == target, old[rows] == target
        drop = float(old_right.mean() - new_right.mean())
        p_class = mcnemar_exact(
            int((new_right & ~old_right).sum()), int((old_right & ~new_right).sum())
        )
        if drop > policy.class_max_recall_drop and p_class < policy.class_max_p:
            reasons.append(
                f"Class {labels[target]!r} collapses: recall {old_right.mean():.2f} to "
                f"{new_right.mean():.2f} on {support} rows."
            )
    if reasons:
        return Verdict(release=False, reasons=tuple(reasons))
    return Verdict(release=True, reasons=(f"No regression: {change}.",))


def _too_few(policy: ReleasePolicy, rows: int) -> str | None:
    if rows >= policy.min_rows:
        return None
    return f"{rows} gold rows decide nothing; {policy.min_rows} are needed."


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
        macro_f1=_interval(macro, resampled),
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


def _interval(value: float, resampled: npt.NDArray[np.floating]) -> Interval:
    tail = 100 * (1 - _CONFIDENCE) / 2
    low, high = np.percentile(resampled, [tail, 100 - tail])
    return Interval(value=value, low=float(low), high=float(high))


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

"""The verdict on a challenger: released or refused, with the reasons in words.

Classes are numbers here, as in the arrays of :mod:`closedloop.models.evaluation`; ``labels``
names them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from closedloop.core.proportion import Interval
from closedloop.models.paired import mcnemar_exact


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
class Verdict:
    """Whether the challenger may be released, and why."""

    release: bool
    reasons: tuple[str, ...]


def judge_first(
    policy: ReleasePolicy,
    true: npt.NDArray[np.intp],
    new: npt.NDArray[np.intp],
    labels: Sequence[str],
) -> Verdict:
    """Decide on a model without a champion: it must beat always naming the commonest class."""
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


def judge_against_champion(
    policy: ReleasePolicy,
    labels: Sequence[str],
    true: npt.NDArray[np.intp],
    new: npt.NDArray[np.intp],
    old: npt.NDArray[np.intp],
    *,
    difference: Interval,
    p_value: float,
) -> Verdict:
    """Decide on a challenger: no regression overall beyond noise, and no class collapses."""
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

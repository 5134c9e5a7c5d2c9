"""Statistics of models that answer the same rows: intervals and McNemar's exact test.

References
----------
Dietterich, T. (1998). Approximate statistical tests for comparing supervised classification
learning algorithms. Neural Computation 10(7).
McNemar, Q. (1947). Note on the sampling error of the difference between correlated proportions.
Wilson, E. (1927). Probable inference, the law of succession, and statistical inference. JASA 22.
Efron, B., Tibshirani, R. (1993). An introduction to the bootstrap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest, norm

_CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """An estimate with its 95 % confidence interval."""

    value: float
    low: float
    high: float


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


def bootstrap_interval(value: float, resampled: npt.NDArray[np.floating]) -> Interval:
    """Percentile interval of an estimate from its bootstrap resamples, shape (m,)."""
    tail = 100 * (1 - _CONFIDENCE) / 2
    low, high = np.percentile(resampled, [tail, 100 - tail])
    return Interval(value=value, low=float(low), high=float(high))

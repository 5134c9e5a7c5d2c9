"""Statistics of models that answer the same rows: intervals and McNemar's exact test.

References
----------
Dietterich, T. (1998). Approximate statistical tests for comparing supervised classification
learning algorithms. Neural Computation 10(7).
McNemar, Q. (1947). Note on the sampling error of the difference between correlated proportions.
Efron, B., Tibshirani, R. (1993). An introduction to the bootstrap.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from closedloop.core.proportion import CONFIDENCE, Interval


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
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(resampled, [tail, 100 - tail])
    return Interval(value=value, low=float(low), high=float(high))

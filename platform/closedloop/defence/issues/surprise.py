"""How improbable a count is under its baseline, and how often calm traffic gets there.

A count of calm traffic is Poisson about a rate that is itself uncertain: the past was short, and
rates wander. With a Gamma belief about the rate the predictive distribution is negative binomial;
its shape has two parts, how many texts the rate was learnt from, and how much more than chance
alone the tenant's own counts have been seen to vary (*dispersion*).

References
----------
Farrington, C. et al. (1996). A statistical algorithm for the early detection of outbreaks of
infectious disease. JRSS A (overdispersed counts; past outbreaks weigh less).
Noufaily, A. et al. (2013). An improved algorithm for outbreak detection in multiple surveillance
systems. Statistics in Medicine (negative binomial thresholds, control over many series).
DuMouchel, W. (1999). Bayesian data mining in large frequency tables. The American Statistician
(Gamma-Poisson shrinkage of many small counts).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.special import betainc

Floats = npt.NDArray[np.float64]
MOST = 300.0  # floats end there
_LOOKS = 2.0  # independent looks at a window in its own length, as it slides
_OUTLIER = 16.0  # square of the residual, in variances, beyond which it says no more
_DAY_S = 86_400.0


def surprise(counts: Floats, expected: Floats, shape: Floats) -> Floats:
    """Return -log10 of the chance of such counts, or larger ones.

    Parameters
    ----------
    counts, expected, shape : ndarray of float, shape (units,)
        Texts seen; the mean and the shape of the negative binomial that predicts them.

    Returns
    -------
    ndarray of float, shape (units,)
        0 where a count is not above what is expected, at most 300.

    Examples
    --------
    >>> surprise(np.array([30.0]), np.array([3.0]), np.array([1e9])).round(1)
    array([19.9])
    """
    found = np.zeros(len(counts))
    above = (counts > expected) & np.isfinite(expected)
    n, mean, r = counts[above], np.maximum(expected[above], 1e-12), shape[above]
    with np.errstate(divide="ignore"):
        found[above] = np.minimum(-np.log10(betainc(n, r, mean / (r + mean))), MOST)
    return found


def looks_per_day(window_s: float, texts: float, span_s: float) -> float:
    """Return how often a day one unit is looked at independently in a window.

    Parameters
    ----------
    window_s : float
        Length of the window.
    texts, span_s : float
        Texts of the tenant, and the seconds they took: where nothing comes, nothing changes.
    """
    coming = texts / max(span_s, window_s) * _DAY_S
    return _LOOKS * min(_DAY_S / window_s, max(coming, 1.0))


class Dispersion:
    """How much more the calm counts of one window vary than chance explains.

    The variance of a count about its expectation E is E + E² (1/K + d), where K texts were learnt
    from. Each minute's counts give an estimate of d; weights are the inverse variances as now
    believed, residuals beyond 4 standard deviations count as 4, so that an issue teaches little.

    Parameters
    ----------
    first : float
        What is assumed before anything has been seen: the square of a relative deviation.
    worth : float
        Units that the assumption is worth.
    """

    def __init__(self, *, first: float, worth: float = 50.0) -> None:
        self.excess = first * worth
        self.weight = worth
        self.least = first / 20.0

    @property
    def value(self) -> float:
        """Return the dispersion as believed now."""
        return max(self.least, self.excess / self.weight)

    def learn(self, counts: Floats, expected: Floats, known: Floats, *, keep: float) -> None:
        """Take in what calm counts were.

        Parameters
        ----------
        counts, expected, known : ndarray of float, shape (units,)
            Texts seen and expected, and texts that the expectation was learnt from.
        keep : float
            What the past weighs from now on, 0 to 1.
        """
        self.excess *= keep
        self.weight *= keep
        usable = (expected >= 1.0) & (known >= 1.0)
        if not usable.any():
            return
        n, mean, k = counts[usable], expected[usable], known[usable]
        chance = mean + mean * mean / k
        variance = chance + mean * mean * self.value
        square = np.minimum((n - mean) ** 2, _OUTLIER * variance)
        weights = (mean / variance) ** 2  # times mean², of the estimate (square - chance) / mean²
        self.excess += float(np.sum(weights * (square - chance)))
        self.weight += float(np.sum(weights * mean * mean))
        self.excess = max(self.excess, 0.0)


def budgeted(alarms: float, units: int, looks: float, ways: int) -> float:
    """Return the surprise from which a unit is an issue.

    Parameters
    ----------
    alarms : float
        Alarms a day that are allowed in all.
    units : int
        Units that are tested.
    looks : float
        Independent looks at each of them a day.
    ways : int
        Kinds of tests that share the allowance.
    """
    return math.log10(max(1.0, units) * looks * ways / alarms)

"""How large a unit gets that nobody has met before, in calm traffic.

A newborn's first text says nothing: births are common. The texts that follow are, with a part of
the traffic of about 1/T, geometric or shorter: of N texts of the tenant, n more with chance
(N / (T + N))^n. T would be the number of texts before, were each subject known by one
micro-cluster for ever; but micro-clusters take texts from each other, make room and come back.
So T is estimated from how far calm newborns exceed two texts (peaks over a threshold).

References
----------
Good, I. (1953). The population frequencies of species and the estimation of population
parameters. Biometrika.
Pickands, J. (1975). Statistical inference using extreme order statistics. Ann. Statistics.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
NEWBORN_SHAPE = 1.5  # of the Gamma: Jeffreys' half, and the first text
_THRESHOLD = 2.0  # texts
_OUTLIER = 6.0  # texts above the threshold beyond which one unit says no more
_ASSUMED = 0.2  # of the texts before, until calm newborns have been seen
_WORTH = 4.0  # texts above the threshold that this is worth


class Newborns:
    """The part of the traffic that newborns of one window make, as learnt from calm traffic."""

    def __init__(self) -> None:
        # Texts of the tenant that went by for newborns above the threshold; their excess texts.
        self.passed = 0.0
        self.excess = 0.0

    def learn(self, counts: Floats, texts: float, *, keep: float) -> None:
        """Take in the counts of newborns in a window of `texts` texts."""
        large = counts[counts >= _THRESHOLD]
        self.passed = self.passed * keep + len(large) * texts
        self.excess = self.excess * keep + float(
            np.minimum(large - _THRESHOLD, _OUTLIER).sum(dtype=np.float64)
        )

    def exposure(self, past_texts: float) -> float:
        """Return T: in how many texts a newborn was not met.

        Parameters
        ----------
        past_texts : float
            The tenant's texts before the window.
        """
        found = (self.passed + _WORTH * _ASSUMED * past_texts) / (self.excess + _WORTH)
        return min(found, past_texts)

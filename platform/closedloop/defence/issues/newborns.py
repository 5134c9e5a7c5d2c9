"""How large a unit gets that nobody has met before, in calm traffic.

A newborn's first text says nothing: births are common. The texts that follow are, with a part of
the traffic of about 1/T, geometric or shorter: of N texts of the tenant, n more with chance
(N / (T + N))^n. T would be the number of texts before, were each subject known by one
micro-cluster for ever; but micro-clusters take texts from each other, make room and come back.
So what part of the texts before T is, is estimated from how far calm newborns exceed two texts
(peaks over a threshold).

References
----------
Good, I. (1953). The population frequencies of species and the estimation of population
parameters. Biometrika.
Pickands, J. (1975). Statistical inference using extreme order statistics. Ann. Statistics.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
NEWBORN_SHAPE = 1.5  # of the Gamma: Jeffreys' half, and the first text
_THRESHOLD = 2.0  # texts
_OUTLIER = 2.0  # surprise of an excess beyond which it says no more, so that issues teach little
_ASSUMED = 0.2  # of the texts before, until calm newborns have been seen
_RIPE = 5.0  # texts before, for each in the window, from which newborns tell something
_WORTH = 8.0  # texts above the threshold that this is worth


class Newborns:
    """The part of the traffic that newborns of one window make, as learnt from calm traffic."""

    def __init__(self) -> None:
        # For newborns above the threshold, the tenant's texts that went by, in texts before; and
        # by how many texts they exceeded it.
        self.passed = 0.0
        self.excess = 0.0

    def learn(
        self, counts: Floats, texts: float, past_texts: float, *, keep: float, share: float
    ) -> None:
        """Take in the counts of newborns.

        Parameters
        ----------
        counts : ndarray of float, shape (newborns,)
            Texts of each in the window.
        texts, past_texts : float
            The tenant's texts in the window, and before it.
        keep : float
            What the past weighs from now on, 0 to 1.
        share : float
            Part of the window that was not learnt from before.
        """
        self.passed *= keep
        self.excess *= keep
        if past_texts < _RIPE * texts:
            return  # soon after the start, what has always been there looks new
        above = counts[counts >= _THRESHOLD] - _THRESHOLD
        decay = math.log10(1.0 + self.exposure(past_texts) / texts)  # of the chance of one more
        self.passed += share * len(above) * texts / past_texts
        self.excess += share * float(np.minimum(above, max(1.0, _OUTLIER / decay)).sum())

    def exposure(self, past_texts: float) -> float:
        """Return T: in how many texts a newborn was not met.

        Parameters
        ----------
        past_texts : float
            The tenant's texts before the window.
        """
        part = (self.passed + _WORTH * _ASSUMED) / (self.excess + _WORTH)
        return min(part, 1.0) * past_texts

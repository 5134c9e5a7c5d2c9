"""Temperature scaling: scores become probabilities that are right as often as they say.

References
----------
Guo, C. et al. (2017). On calibration of modern neural networks. ICML.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

_BOUNDS = (0.02, 5.0)


def fit_temperature(scores: npt.NDArray[np.floating], targets: npt.NDArray[np.intp]) -> float:
    """Find the temperature whose softmax has the smallest negative log-likelihood.

    Parameters
    ----------
    scores : ndarray, shape (n, classes)
    targets : ndarray of int, shape (n,)
        Index of each row's true class.
    """
    scores = np.asarray(scores, dtype=np.float64)

    def loss(log_temperature: float) -> float:
        scaled = scores / np.exp(log_temperature)
        return float((logsumexp(scaled, axis=1) - scaled[np.arange(len(scaled)), targets]).mean())

    found = minimize_scalar(loss, bounds=(np.log(_BOUNDS[0]), np.log(_BOUNDS[1])), method="bounded")
    return float(np.exp(found.x))

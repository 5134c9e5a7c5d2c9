"""A proportion with its confidence interval.

References
----------
Wilson, E. (1927). Probable inference, the law of succession, and statistical inference. JASA 22.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """An estimate with its 95 % confidence interval."""

    value: float
    low: float
    high: float


def wilson(right: int, rows: int, *, confidence: float = CONFIDENCE) -> Interval:
    """Wilson score interval of a proportion; sound near 0 and 1 and for few rows.

    Examples
    --------
    >>> found = wilson(8, 10)
    >>> round(found.low, 2), round(found.high, 2)
    (0.49, 0.94)
    """
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = right / rows
    centre = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z / (1 + z * z / rows) * (share * (1 - share) / rows + z * z / (4 * rows**2)) ** 0.5
    # At 0 and 1 a bound equals the share but for rounding, which must not leave it outside.
    return Interval(
        value=share,
        low=min(share, max(0.0, centre - half)),
        high=max(share, min(1.0, centre + half)),
    )

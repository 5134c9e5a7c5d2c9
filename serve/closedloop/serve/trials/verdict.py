"""Whether a version on trial may go on: its errors and its latency beside the champion's.

Both tests are one-sided, at 99.9 %, because they are made again twice a second for as long as
the trial runs: chance alone must not end it. A version that fails every request is found out
with the least number of requests all the same.

- *Errors*: the lower bound of the difference of both error rates, by Newcombe's method 10,
  which joins the Wilson score intervals of the two, must not be above the limit.
- *Latency*: one answer in twenty of the champion is slower than its 95th percentile. Of the
  version on trial, more than that must not be slower than ``max_latency_ratio`` times it, by
  Wilson's lower bound. This says that its own 95th percentile is higher.

References
----------
Newcombe, R. (1998). Interval estimation for the difference between independent proportions.
Statistics in Medicine 17, 873-890.
Wilson, E. (1927). Probable inference, the law of succession, and statistical inference. JASA 22.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

from closedloop.serve.trials.counts import Counts

_P95_TAIL = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialLimits:
    """What a version on trial is held to."""

    min_requests: int = 50  # fewer, of either version, decide nothing
    max_error_increase: float = 0.01  # above the champion's rate; 0.01 is one request in 100
    max_latency_ratio: float = 2.0  # of the 95th percentiles
    # A model that takes a tenth of a millisecond may take three: no user feels it.
    min_slowdown_ms: float = 10.0
    confidence: float = 0.999  # of each test, one-sided
    window_s: float = 300.0  # what is older is not judged: it would water down a new fault


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialVerdict:
    """Keep the trial, or roll it back and say why."""

    roll_back: bool
    reason: str = ""


KEEP = TrialVerdict(roll_back=False)


def judge(champion: Counts, trial: Counts, limits: TrialLimits) -> TrialVerdict:
    """Decide on a trial by what both versions did lately.

    Examples
    --------
    >>> fine, failing = Counts(requests=60), Counts(requests=60, errors=60)
    >>> judge(fine, fine, TrialLimits()).roll_back
    False
    >>> judge(fine, failing, TrialLimits()).reason
    '60 of 60 requests failed (100.0 %), of the champion 0 of 60 (0.0 %)'
    """
    if min(champion.requests, trial.requests) < limits.min_requests:
        return KEEP
    z = NormalDist().inv_cdf(limits.confidence)
    if _increase_at_least(champion, trial, z) > limits.max_error_increase:
        return TrialVerdict(
            roll_back=True,
            reason=f"{trial.errors} of {trial.requests} requests failed"
            f" ({trial.errors / trial.requests:.1%}), of the champion {champion.errors} of"
            f" {champion.requests} ({champion.errors / champion.requests:.1%})".replace("%", " %"),
        )
    usual, now = champion.p95_ms, trial.p95_ms
    answered = trial.requests - trial.errors
    if usual is None or now is None or answered < limits.min_requests:
        return KEEP
    slow_ms = max(usual * limits.max_latency_ratio, usual + limits.min_slowdown_ms)
    if _wilson(trial.slower_than(slow_ms), answered, z)[0] > _P95_TAIL:
        return TrialVerdict(
            roll_back=True,
            reason=f"95 % of its answers take up to {now:.3g} ms, the champion's {usual:.3g} ms",
        )
    return KEEP


def _increase_at_least(champion: Counts, trial: Counts, z: float) -> float:
    """Newcombe's lower bound of the trial's error rate minus the champion's."""
    worse, usual = trial.errors / trial.requests, champion.errors / champion.requests
    low, _ = _wilson(trial.errors, trial.requests, z)
    _, high = _wilson(champion.errors, champion.requests, z)
    return worse - usual - sqrt((worse - low) ** 2 + (high - usual) ** 2)


def _wilson(hits: int, of: int, z: float) -> tuple[float, float]:
    """Both bounds of a proportion, by Wilson; `z` is that of a one-sided test."""
    share = hits / of
    centre = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * sqrt(share * (1 - share) / of + z * z / (4 * of**2))
    return min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half))

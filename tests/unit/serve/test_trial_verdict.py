"""When a trial is rolled back: the stated limits, and how often chance alone ends one."""

import numpy as np
import pytest

from closedloop.serve.trials.counts import Counts
from closedloop.serve.trials.verdict import TrialLimits, judge

LIMITS = TrialLimits()


def counts(requests, errors=0, latency_ms=1.0):
    made = Counts(requests=errors, errors=errors)
    for _ in range(requests - errors):
        made.answered(latency_ms)
    return made


def with_latencies(latencies):
    made = Counts()
    for latency in latencies:
        made.answered(latency)
    return made


@pytest.mark.parametrize(
    ("champion", "trial", "ends"),
    [
        (counts(50), counts(50, errors=50), True),
        (counts(49), counts(50, errors=50), False),  # too few of the champion's
        (counts(50), counts(49, errors=49), False),  # too few of its own
        (counts(1_000), counts(1_000, errors=10), False),  # one more in a hundred is allowed
        (counts(1_000), counts(1_000, errors=50), True),
        (counts(1_000, errors=50), counts(1_000, errors=50), False),  # the texts are at fault
        (counts(1_000, errors=50), counts(1_000), False),
    ],
)
def test_errors_end_a_trial_only_above_the_limit(champion, trial, ends):
    verdict = judge(champion, trial, LIMITS)
    assert verdict.roll_back is ends
    assert ("requests failed" in verdict.reason) is ends


@pytest.mark.parametrize(
    ("usual_ms", "trial_ms", "ends"),
    [
        (100, 190, False),  # less than twice
        (100, 210, True),
        (1, 9, False),  # nine times, and nobody feels it
        (1, 15, True),
        (100, 10, False),
    ],
)
def test_latency_ends_a_trial_only_above_the_ratio_and_the_slowdown(usual_ms, trial_ms, ends):
    verdict = judge(counts(200, latency_ms=usual_ms), counts(200, latency_ms=trial_ms), LIMITS)
    assert verdict.roll_back is ends
    assert ("95 % of its answers" in verdict.reason) is ends


def test_a_slow_tail_counts_though_the_median_is_the_same():
    usual = with_latencies([1.0] * 1_000)
    tail = with_latencies([1.0] * 850 + [200.0] * 150)
    assert judge(usual, tail, LIMITS).roll_back
    assert not judge(usual, with_latencies([1.0] * 960 + [200.0] * 40), LIMITS).roll_back


def test_latency_is_not_judged_by_a_few_answers_between_errors():
    lax = TrialLimits(max_error_increase=1.0)
    assert not judge(counts(100), counts(100, errors=60, latency_ms=900), lax).roll_back


def test_limits_are_the_callers():
    strict = TrialLimits(min_requests=10, max_error_increase=0.0, confidence=0.9)
    champion, trial = counts(100), counts(100, errors=3)
    assert not judge(champion, trial, LIMITS).roll_back
    assert judge(champion, trial, strict).roll_back


def test_chance_alone_all_but_never_ends_a_trial_of_an_equal_version():
    """Judged after every 10 requests, as it goes, for 2,000 requests."""
    random = np.random.default_rng(7)
    ended = 0
    for _ in range(30):
        champion, trial = Counts(), Counts()
        for _ in range(200):
            for side in (champion, trial):
                failed = int(random.binomial(10, 0.02))
                side.requests += 10
                side.errors += failed
                for latency in random.lognormal(1.0, 0.5, 10 - failed):
                    side.answered(float(latency))
            if judge(champion, trial, LIMITS).roll_back:
                ended += 1
                break
    assert ended == 0

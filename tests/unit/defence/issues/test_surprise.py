"""Chances of counts, and what calm counts teach of their spread."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import nbinom, poisson

from closedloop.defence.issues.newborns import Newborns
from closedloop.defence.issues.surprise import Dispersion, budgeted, looks_per_day, surprise

_POSITIVE = st.floats(0.01, 1_000)


@given(n=st.integers(1, 500), mean=_POSITIVE, shape=_POSITIVE)
def test_surprise_is_the_tail_of_the_negative_binomial(n, mean, shape):
    (found,) = surprise(np.array([float(n)]), np.array([mean]), np.array([shape]))
    tail = nbinom.sf(n - 1, shape, shape / (shape + mean))
    if n <= mean:
        assert found == 0
    elif tail > 1e-290:
        assert found == pytest.approx(-np.log10(tail), rel=1e-6, abs=1e-9)


def test_a_rate_that_is_well_known_gives_the_poisson_tail():
    (found,) = surprise(np.array([30.0]), np.array([10.0]), np.array([1e10]))
    assert found == pytest.approx(-np.log10(poisson.sf(29, 10)), rel=1e-4)


def test_a_past_that_is_short_makes_the_same_count_less_surprising():
    counts, expected = np.full(3, 30.0), np.full(3, 3.0)
    found = surprise(counts, expected, np.array([0.5, 5.0, 500.0]))
    assert found[0] < found[1] < found[2]


@pytest.mark.parametrize("true", [0.0, 0.01, 0.1, 0.5])
def test_dispersion_is_learnt_from_calm_counts(true):
    rng = np.random.default_rng(3)
    learnt = Dispersion(first=0.05)
    mean = rng.uniform(5, 200, 400)
    known = np.full(400, 1e6)
    for _ in range(100):
        rates = mean * (rng.gamma(1 / true, true, 400) if true else 1.0)
        learnt.learn(rng.poisson(rates).astype(float), mean, known, keep=0.999)
    assert learnt.value == pytest.approx(max(true, learnt.least), rel=0.35)


def test_an_outbreak_teaches_little_of_the_spread():
    rng = np.random.default_rng(4)
    learnt = Dispersion(first=0.02)
    mean, known = np.full(400, 50.0), np.full(400, 1e6)
    for _ in range(50):
        counts = rng.poisson(mean).astype(float)
        counts[0] = 5_000.0
        learnt.learn(counts, mean, known, keep=0.999)
    assert learnt.value < 0.02


def test_newborns_are_believed_to_be_as_small_as_calm_ones_were():
    rng = np.random.default_rng(5)
    small, large = Newborns(), Newborns()
    for _ in range(200):
        small.learn(rng.geometric(0.9, 300).astype(float), 1e3, 1e5, keep=1.0, share=1.0)
        large.learn(rng.geometric(0.3, 300).astype(float), 1e3, 1e5, keep=1.0, share=1.0)
    assert small.exposure(1e5) > 5 * large.exposure(1e5)
    chance = 1e3 / (1e3 + small.exposure(1e5))
    assert chance == pytest.approx(0.1, abs=0.05)


def test_nothing_is_known_of_newborns_without_a_past():
    assert Newborns().exposure(0.0) == 0.0


def test_thresholds_follow_from_the_alarms_that_are_allowed():
    looks = looks_per_day(60.0, texts=600.0, span_s=60.0)
    one, ten = (budgeted(alarms, 100, looks, 8) for alarms in (1.0, 10.0))
    assert one == pytest.approx(ten + 1.0)
    assert 10**-one * 100 * looks * 8 == pytest.approx(1.0)
    assert looks_per_day(10.0, texts=1.0, span_s=86_400.0) < 10

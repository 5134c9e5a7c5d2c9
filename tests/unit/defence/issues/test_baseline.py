"""What is expected of a micro-cluster, from its past."""

from random import Random

import numpy as np
import pytest

from closedloop.defence.issues.baseline import WINDOWS, outlook, season
from closedloop.defence.issues.tally import HOUR_S, Tally

MONDAY = 1_793_577_600.0


def _fed(seconds, parts, *, per_s=1.0, begin=MONDAY, tally=None, seed=0):
    """Count texts of micro-clusters 0, 1, … by their parts of the traffic."""
    if tally is None:
        tally = Tally(limit=256, half_life_s=1e12)
        tally.advance(begin)
        for micro in range(len(parts)):  # columns in their order
            tally.count(micro, micro, begin)
    random, at = Random(seed), begin
    while (at := at + random.expovariate(per_s)) < begin + seconds:
        micro = random.choices(range(len(parts)), parts)[0]
        tally.advance(at)
        tally.count(micro, micro, at)
    return tally


@pytest.mark.parametrize("window", WINDOWS, ids=lambda w: f"{w.length_s:.0f}s")
def test_a_part_of_the_traffic_is_expected_to_stay(window):
    tally = _fed(3 * HOUR_S, [0.1, 0.3, 0.6], per_s=3.0)
    seen = outlook(tally, window, tally.now, season(tally, tally.now))
    parts = seen.expected[:3] / seen.texts
    assert parts == pytest.approx([0.1, 0.3, 0.6], rel=0.35)
    assert seen.texts == pytest.approx(3.0 * seen.seconds, rel=0.5)
    assert not seen.newborn[:3].any()


def test_more_traffic_makes_more_be_expected_of_everyone():
    tally = _fed(3 * HOUR_S, [0.2, 0.8])
    _fed(120, [0.2, 0.8], per_s=30.0, begin=tally.now, tally=tally)
    seen = outlook(tally, WINDOWS[1], tally.now, None)
    assert seen.counts[:2] == pytest.approx(seen.expected[:2], rel=0.2)


def test_a_burst_of_now_is_not_part_of_what_is_expected():
    tally = _fed(1 * HOUR_S, [0.02, 0.98])
    _fed(90, [0.5, 0.5], begin=tally.now, tally=tally)
    seen = outlook(tally, WINDOWS[1], tally.now, None)
    assert seen.counts[0] > 5 * seen.expected[0]


def test_a_newborn_has_nothing_expected_and_nothing_known():
    tally = _fed(1 * HOUR_S, [0.5, 0.5])
    tally.count(9, 9, tally.now)
    seen = outlook(tally, WINDOWS[1], tally.now, None)
    slot = tally.slots[9]
    assert seen.newborn[slot]
    assert seen.expected[slot] == seen.known[slot] == 0


def test_the_same_hour_of_other_days_tells_what_this_hour_is_like():
    tally = _fed(60.0, [0.01, 0.99])
    for day in range(7):
        begin = 60.0 + MONDAY + day * 24 * HOUR_S
        _fed(20 * HOUR_S, [0.01, 0.99], per_s=0.05, begin=begin, tally=tally, seed=day)
        evening = begin + 20 * HOUR_S
        _fed(HOUR_S, [0.5, 0.5], per_s=0.05, begin=evening, tally=tally, seed=day)
    evening = MONDAY + 7 * 24 * HOUR_S + 20.5 * HOUR_S
    tally.advance(evening)
    at_night, at_noon = (season(tally, at)[0] for at in (evening, evening - 8 * HOUR_S))
    assert at_night > 4
    assert at_noon < 1
    assert season(tally, evening)[1] == pytest.approx(0.6, abs=0.3)


def test_hours_differ_by_nothing_where_little_is_known():
    tally = _fed(2 * HOUR_S, [0.5, 0.5], per_s=0.01)
    assert np.abs(season(tally, tally.now)[:2] - 1.0).max() < 0.6

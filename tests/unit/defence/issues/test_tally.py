"""Counts by micro-cluster: nothing is lost but what makes room, and that goes to its cluster."""

from random import Random

import numpy as np

from closedloop.defence.issues.tally import HOUR_S, MINUTE_S, Tally

MONDAY = 1_793_577_600.0


def _held(tally):
    """Return all texts that the tally holds, in the last hour and before."""
    rows = tally.minute_rows(int(tally.now // 60) - 60, int(tally.now // 60))
    return tally.minutes[rows].sum() + tally.past.sum()


def _count(tally, micro, at, home=0):
    tally.advance(at)
    tally.count(micro, home, at)


def test_every_text_is_counted_once_in_the_last_hour_or_before():
    tally = Tally(limit=300, half_life_s=1e12)
    random, at = Random(1), MONDAY
    for n in range(1, 3000):
        at += random.expovariate(1 / 20)
        _count(tally, random.randrange(200), at)
        if n % 500 == 0:
            assert _held(tally) == n
    assert tally.past.sum() == tally.past_texts > 0
    assert tally.minutes_all[tally.minute_rows(int(at // 60) - 60, int(at // 60))].sum() > 100


def test_what_makes_room_leaves_its_counts_to_its_cluster():
    tally = Tally(limit=64, half_life_s=1e12)
    for n in range(2_000):
        _count(tally, n, MONDAY + n * 10.0, home=n % 3)
    assert len(tally.ids) == 64
    assert _held(tally) == 2_000
    rests = {int(name): int(tally.total[slot]) for name, slot in tally.slots.items() if name < 0}
    assert rests.keys() == {-1, -2, -3}
    assert sum(rests.values()) > 1_900
    assert len(tally.dropped) + int(tally.live.sum()) == 2_000


def test_often_hit_micro_clusters_stay_when_room_is_made():
    tally = Tally(limit=64, half_life_s=1e12)
    for n in range(1_000):
        _count(tally, 7 if n % 10 == 0 else 1_000 + n, MONDAY + n)
    assert tally.total[tally.slots[7]] == 100


def test_the_last_seconds_are_counted_by_five():
    tally = Tally(limit=64, half_life_s=1e12)
    for second in range(100):
        _count(tally, 1, MONDAY + second)
    rows = tally.fine_rows(MONDAY + 99, 2)
    assert tally.fine[rows, tally.slots[1]].sum() == 15
    assert len(tally.fine_rows(MONDAY + 1_000, 2)) == 0


def test_a_long_silence_moves_the_last_hour_to_its_hours_of_the_week():
    tally = Tally(limit=64, half_life_s=1e12)
    for minute in range(50):
        _count(tally, 1, MONDAY + minute * MINUTE_S)
    _count(tally, 1, MONDAY + 30 * HOUR_S)
    hour = int(MONDAY // HOUR_S) % 168
    assert np.isclose(tally.past[hour, tally.slots[1]], 50)
    assert np.isclose(tally.past_all[hour], 50)


def test_a_text_that_comes_late_counts_in_its_own_minute():
    tally = Tally(limit=64, half_life_s=1e12)
    _count(tally, 1, MONDAY + 600)
    assert not tally.advance(MONDAY + 300)
    tally.count(1, 0, MONDAY + 300)
    row = tally.minute_rows(int(MONDAY // 60) + 5, int(MONDAY // 60) + 5)
    assert tally.minutes_all[row].tolist() == [1]


def test_the_past_fades():
    tally = Tally(limit=64, half_life_s=7 * 86_400.0)
    for n in range(60):
        _count(tally, 1, MONDAY + n)
    _count(tally, 1, MONDAY + 7_200)
    assert tally.past_texts == 60
    _count(tally, 1, MONDAY + 7 * 86_400)
    assert np.isclose(tally.past_texts, 31, atol=1.0)
    assert np.isclose(tally.past.sum(), tally.past_texts, rtol=1e-4)


def test_texts_under_several_names_count_once_for_all():
    tally = Tally(limit=64, half_life_s=1e12)
    for n in range(500):
        tally.advance(MONDAY + n)
        tally.count_all([7_000, *range(5 * n, 5 * n + 5)], MONDAY + n)
    assert tally.texts == 500
    assert tally.total[tally.slots[7_000]] == 500

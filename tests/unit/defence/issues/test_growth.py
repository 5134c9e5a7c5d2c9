"""What rises among micro-clusters, clusters and words."""

from random import Random

import numpy as np

from closedloop.defence.issues.growth import GrowthModel
from closedloop.defence.issues.tally import NOBODY, Tally
from closedloop.defence.issues.term_growth import TermGrowth, checksum

MONDAY = 1_793_577_600.0


class _Counted:
    """Texts of micro-clusters by their weights; a micro-cluster's cluster is a tenth of its id."""

    def __init__(self, *, seed=0, per_s=3.0):
        self.tally = Tally(limit=256, half_life_s=1e12)
        self.model = GrowthModel()
        self.random = Random(seed)
        self.per_s = per_s
        self.at = MONDAY

    def flow(self, seconds, weights, *, times=1.0):
        until = self.at + seconds
        micros, shares = list(weights), list(weights.values())
        while (at := self.at + self.random.expovariate(self.per_s * times)) < until:
            self.at = at
            if self.tally.advance(at):
                self.model.learn(self.tally, at)
            micro = self.random.choices(micros, shares)[0]
            self.tally.count(micro, micro // 10, at)
        self.at = until

    def rising(self):
        clusters = np.where(self.tally.live, self.tally.ids // 10, NOBODY)
        growth = self.model.rising(self.tally, self.at, clusters, alarms=1.0)
        micros = {int(self.tally.ids[s]) for s, r in growth.micros.items() if r.margin > 0}
        return micros, {name for name, rise in growth.clusters.items() if rise.margin > 0}


USUAL = {0: 10, 1: 10, 10: 20, 11: 10, 20: 30, 21: 20}


def test_steady_traffic_does_not_rise():
    counted = _Counted()
    counted.flow(3600, USUAL)
    for _ in range(60):
        counted.flow(30, USUAL)
        assert counted.rising() == (set(), set())


def test_more_of_all_traffic_is_no_rise_of_anything():
    counted = _Counted(seed=1)
    counted.flow(3600, USUAL)
    counted.flow(120, USUAL, times=6.0)
    assert counted.rising() == (set(), set())


def test_a_micro_cluster_that_takes_its_neighbours_texts_does_not_rise():
    counted = _Counted(seed=2)
    counted.flow(3600, USUAL)
    moved = {**USUAL, 22: USUAL[20]}
    del moved[20]
    counted.flow(120, moved)
    assert counted.rising() == (set(), set())


def test_a_new_micro_cluster_in_an_old_cluster_rises():
    counted = _Counted(seed=3)
    counted.flow(3600, USUAL)
    counted.flow(60, {**USUAL, 2: 30})
    micros, _ = counted.rising()
    assert micros == {2}


def test_many_small_newcomers_of_one_cluster_rise_together():
    counted = _Counted(seed=4)
    counted.flow(3600, USUAL)
    counted.flow(60, {**USUAL, **dict.fromkeys(range(30, 40), 3)})
    _, clusters = counted.rising()
    assert clusters == {3}


def test_a_known_cluster_that_triples_rises():
    counted = _Counted(seed=5)
    counted.flow(3600, USUAL)
    counted.flow(300, {**USUAL, 10: 60, 11: 30})
    _, clusters = counted.rising()
    assert clusters == {1}


def test_a_word_that_breaks_out_rises_and_the_words_beside_it_do_not():
    terms, random = TermGrowth(limit=256, half_life_s=1e12), Random(6)
    at, words = MONDAY, ["my", "order", "where", "late", "pay"]
    while (at := at + random.expovariate(3.0)) < MONDAY + 1800:
        terms.see(random.sample(words, 3), at)
    assert terms.rising(at, 60.0) == {}
    while (at := at + random.expovariate(3.0)) < MONDAY + 1860:
        terms.see(random.sample(words, 2) + (["flood"] if random.random() < 0.1 else ["x"]), at)
    found = terms.rising(at, 60.0)
    assert found[checksum("flood")].surprise > 4
    assert not found.keys() & {checksum(word) for word in words}

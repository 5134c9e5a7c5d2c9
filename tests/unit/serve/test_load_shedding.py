"""An event loop in virtual time, loaded beyond what it can answer."""

import random
from collections import defaultdict
from statistics import quantiles

import pytest

from closedloop.serve.admission.load_shedding import LoadShedder

BUDGET_S = 0.1
ANSWER_S = 0.001
REFUSE_S = 0.00005
CAPACITY_RPS = 1 / ANSWER_S


class Loop:
    """Takes up all that has arrived, answers or refuses it one by one, and begins again."""

    def __init__(self, *, budget_s=BUDGET_S, seed=1):
        self.now = 0.0
        self._ready = []
        self._draw = random.Random(seed)
        self._shedder = LoadShedder(
            budget_s=budget_s, call_soon=self._ready.append, clock=lambda: self.now
        )
        self.answered_s = defaultdict(list)
        self.refused_s = defaultdict(list)

    def run(self, rates, *, seconds, pause=(0.0, 0.0), settled_s=0.0):
        """Offer Poisson arrivals at these rates a tenant; the loop stops once for a pause.

        What arrives before it has settled is not recorded.
        """
        arrivals, begins = [], self.now
        for tenant, rate in rates.items():
            at = begins
            while (at := at + self._draw.expovariate(rate)) < begins + seconds:
                arrivals.append((at, tenant))
        arrivals.sort(reverse=True)
        pause_at, pause_s = pause
        while arrivals:
            self.now = max(self.now, arrivals[-1][0])
            if pause_s and self.now >= pause_at:
                self.now, pause_s = self.now + pause_s, 0.0
            turn = []
            while arrivals and arrivals[-1][0] <= self.now:
                turn.append(arrivals.pop())
            for at, tenant in turn:
                admits = self._shedder.admits(tenant)
                self.now += ANSWER_S if admits else REFUSE_S
                if at >= begins + settled_s:
                    told = self.answered_s if admits else self.refused_s
                    told[tenant].append(self.now - at)
            for end in self._ready:
                end()
            self._ready.clear()


def p99(latencies):
    return quantiles(latencies, n=100)[98]


def test_ten_times_too_much_is_answered_in_bounded_time_and_the_rest_refused_at_once():
    loop = Loop()
    loop.run({"shop": 10 * CAPACITY_RPS}, seconds=32, settled_s=2)
    assert p99(loop.answered_s["shop"]) < 4 * BUDGET_S
    assert p99(loop.refused_s["shop"]) < 4 * BUDGET_S
    assert len(loop.answered_s["shop"]) > 0.3 * CAPACITY_RPS * loop.now  # and it goes on working


def test_before_overload_is_noticed_nobody_waits_for_long():
    loop = Loop()
    loop.run({"shop": 10 * CAPACITY_RPS}, seconds=2)
    assert max(loop.answered_s["shop"]) < 10 * BUDGET_S


def test_without_a_budget_the_same_load_is_answered_later_and_later():
    loop = Loop(budget_s=1e9)
    loop.run({"shop": 10 * CAPACITY_RPS}, seconds=3)
    assert p99(loop.answered_s["shop"]) > 100 * BUDGET_S


@pytest.mark.parametrize("load", [0.5, 0.9])
def test_a_load_that_can_be_answered_is_answered(load):
    loop = Loop()
    loop.run({"shop": load * CAPACITY_RPS}, seconds=30)
    assert not loop.refused_s


def test_one_pause_refuses_nobody():
    loop = Loop()
    loop.run({"shop": 0.2 * CAPACITY_RPS}, seconds=10, pause=(5.0, 0.3))
    assert not loop.refused_s
    assert max(loop.answered_s["shop"]) > 0.3


def test_the_tenant_that_sends_most_is_refused_and_the_others_are_answered():
    loop = Loop()
    calm = ["a", "b", "c"]
    rates = {"storm": 10 * CAPACITY_RPS} | dict.fromkeys(calm, 0.02 * CAPACITY_RPS)
    loop.run(rates, seconds=32, settled_s=2)
    for tenant in calm:
        assert len(loop.refused_s[tenant]) < 0.02 * len(loop.answered_s[tenant])
        assert p99(loop.answered_s[tenant]) < 4 * BUDGET_S
    assert len(loop.refused_s["storm"]) > len(loop.answered_s["storm"])


def test_turns_that_are_long_now_and_then_refuse_nobody():
    loop = Loop()
    for _ in range(10):
        loop.run({"shop": 0.3 * CAPACITY_RPS}, seconds=1, pause=(loop.now + 0.5, 0.3))
    assert not loop.refused_s


def test_shedding_ends_with_the_overload():
    loop = Loop()
    loop.run({"shop": 5 * CAPACITY_RPS}, seconds=2)
    assert loop._shedder.shedding
    refused = len(loop.refused_s["shop"])
    loop.run({"shop": 0.5 * CAPACITY_RPS}, seconds=10)
    assert not loop._shedder.shedding
    assert len(loop.refused_s["shop"]) - refused < 0.01 * CAPACITY_RPS

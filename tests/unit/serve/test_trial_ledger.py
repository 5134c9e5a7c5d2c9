import re

import pytest

from closedloop.models.model_version import Champion
from closedloop.models.reference import ModelRef
from closedloop.models.trial import Stage, Trial
from closedloop.serve.catalog import Catalog
from closedloop.serve.trials.counts import Counts, Tally, TrialKey
from closedloop.serve.trials.ledger import TrialLedger
from closedloop.serve.trials.verdict import TrialLimits

REF = ModelRef(tenant="retail", algorithm="intent", name="desk")
LIMITS = TrialLimits(window_s=300)


def catalog(*, champion=1, trial=2, stage=Stage.CANARY, percent=10.0):
    def version(number):
        return Champion(ref=REF, version=number, path="", sha256="")

    trials = [Trial(candidate=version(trial), stage=stage, percent=percent)] if trial else []
    return Catalog.of([version(champion)], trials)


def key(*, champion=1, trial=2):
    return TrialKey(model=str(REF), champion=champion, trial=trial)


def tally(requests=60, errors=0, last_error="failed: ValueError", trial_ms=1.0):
    champion, trial = Counts(), Counts()
    for i in range(requests):
        champion.answered(1.0)
        if i < errors:
            trial.failed()
        else:
            trial.answered(trial_ms)
    return Tally(champion=champion, trial=trial, last_error=last_error if errors else "")


class Clock:
    now = 1_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ledger(clock):
    made = TrialLedger(LIMITS, clock=clock)
    made.follow(catalog())
    return made


def test_what_replicas_send_adds_up(ledger):
    for _ in range(3):
        ledger.count({key(): tally(10, errors=1)})
    counted = ledger.totals()[key()]
    assert (counted.trial.requests, counted.trial.errors) == (30, 3)
    assert counted.champion.requests == 30


def test_a_report_that_is_sent_again_counts_once(ledger):
    for reporter, number in (("a", 1), ("b", 1), ("a", 1), ("a", 2), ("b", 1), ("a", 1)):
        ledger.count({key(): tally(10)}, reporter=reporter, number=number)
    assert ledger.totals()[key()].trial.requests == 30


def test_a_breach_names_the_trial_the_rule_and_the_last_error(ledger):
    ledger.count({key(): tally(errors=60)})
    (breach,) = ledger.breaches()
    assert breach.trial == catalog().trials[0]
    assert breach.reason.startswith("rolled back: 60 of 60 requests failed")
    assert breach.reason.endswith("the last error: failed: ValueError")
    assert ledger.breaches() == [breach]  # until it is forgotten: the registry may be away
    ledger.forget(breach.trial)
    assert ledger.breaches() == []
    assert ledger.totals() == {}


def test_a_slow_version_is_a_breach_that_names_both_latencies(ledger):
    ledger.count({key(): tally(trial_ms=100.0)})
    (breach,) = ledger.breaches()
    assert breach.reason.startswith("rolled back: 95 % of its answers take up to ")
    latencies = [float(number) for number in re.findall(r"([\d.]+) ms", breach.reason)]
    assert latencies == [pytest.approx(100, rel=0.02), pytest.approx(1, rel=0.02)]


def test_a_fault_that_comes_late_is_not_watered_down(ledger, clock):
    for _ in range(1_000):
        ledger.count({key(): tally(100)})
    assert ledger.breaches() == []
    clock.now += LIMITS.window_s + 1
    ledger.count({key(): tally(60, errors=60)})
    assert len(ledger.breaches()) == 1
    assert ledger.totals()[key()].trial.requests == 100_060


def test_the_window_forgets_a_slice_at_a_time(ledger, clock):
    ledger.count({key(): tally(30, errors=30)})
    clock.now += LIMITS.window_s / 2
    ledger.count({key(): tally(30, errors=30)})
    assert len(ledger.breaches()) == 1  # 60 in the window
    clock.now += LIMITS.window_s / 2 + 1
    ledger.count({key(): tally(1)})
    assert ledger.breaches() == []  # 31, which decide nothing


@pytest.mark.parametrize(
    "other", [catalog(trial=3), catalog(champion=5), catalog(trial=None)], ids=str
)
def test_what_is_on_its_way_of_a_trial_that_is_no_more_is_dropped(ledger, other):
    ledger.count({key(): tally(errors=60)})
    ledger.follow(other)
    ledger.count({key(): tally(errors=60)})
    assert ledger.totals() == {}
    assert ledger.breaches() == []


def test_a_larger_share_keeps_the_counts(ledger):
    ledger.count({key(): tally(10)})
    ledger.follow(catalog(percent=50))
    ledger.count({key(): tally(10)})
    assert ledger.totals()[key()].trial.requests == 20


def test_a_trial_that_is_begun_again_is_counted_anew(ledger):
    ledger.count({key(): tally(errors=60)})
    ledger.forget(catalog().trials[0])
    ledger.count({key(): tally(errors=60)})  # late
    ledger.follow(catalog())
    assert ledger.totals() == {}
    ledger.count({key(): tally(10)})
    assert ledger.totals()[key()].trial.requests == 10

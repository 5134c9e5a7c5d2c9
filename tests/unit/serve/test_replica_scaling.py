from types import SimpleNamespace

import pytest

from closedloop.core.errors import InputError
from closedloop.core.settings import Settings
from closedloop.serve.admission.replica_scaling import METRIC, LoadMeter, desired_replicas
from closedloop.serve.options import ServingOptions


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_requests_answered_within_a_step_are_counted_by_the_time_they_took():
    clock = Clock()
    meter = LoadMeter(clock=clock)
    for _ in range(10):  # each second five requests at once, 0.1 s each, one after the other
        for position in range(5):
            meter.enter(waited_s=position * 0.1)
            clock.now += 0.1
            meter.leave()
        clock.now += 0.5
    assert meter.take() == pytest.approx((0.1 + 0.2 + 0.3 + 0.4 + 0.5) / 1)
    clock.now += 1
    assert meter.take() == 0


def test_a_long_request_counts_while_it_lasts():
    clock = Clock()
    meter = LoadMeter(clock=clock)
    meter.enter()
    for _ in range(3):
        clock.now += 2
        assert meter.take() == 1
    meter.leave()
    clock.now += 2
    assert meter.take() == 0


def context(metrics, *, target=2):
    config = SimpleNamespace(target_ongoing_requests=4.0)
    return SimpleNamespace(aggregated_metrics=metrics, target_num_replicas=target, config=config)


@pytest.mark.parametrize(
    ("requests", "replicas"), [([8.0, 8.0], 4), ([1.0], 0.25), ([0.0, 0.0], 0)]
)
def test_replicas_are_asked_for_by_the_requests_of_all(requests, replicas):
    assert desired_replicas(context({METRIC: dict(enumerate(requests))})) == (replicas, {})


@pytest.mark.parametrize("metrics", [None, {}, {METRIC: {}}])
def test_where_nothing_is_known_nothing_changes(metrics):
    assert desired_replicas(context(metrics)) == (2, {})


@pytest.mark.parametrize(("least", "most"), [(0, 1), (3, 2)])
def test_impossible_numbers_of_replicas_are_refused(least, most):
    with pytest.raises(InputError, match="replicas"):
        ServingOptions(min_replicas=least, max_replicas=most)


def test_settings_say_how_many_replicas_there_are(monkeypatch):
    monkeypatch.setenv("CLOSEDLOOP_API_MIN_REPLICAS", "2")
    fixed = ServingOptions.of(Settings())
    assert (fixed.min_replicas, fixed.max_replicas) == (2, 2)
    monkeypatch.setenv("CLOSEDLOOP_API_MAX_REPLICAS", "5")
    elastic = ServingOptions.of(Settings())
    assert (elastic.min_replicas, elastic.max_replicas) == (2, 5)

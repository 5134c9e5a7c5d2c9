from concurrent.futures import Future
from dataclasses import replace

import pytest

from closedloop.core.errors import EngineError
from closedloop.models.model_version import Champion
from closedloop.models.reference import ModelRef
from closedloop.serve.admission.breaker import BreakerLimits, Breakers, Standing

DESK = Champion(ref=ModelRef.parse("shop.intent.desk"), version=1, path="", sha256="")
OTHER = replace(DESK, ref=ModelRef.parse("bank.intent.desk"))
LIMITS = BreakerLimits(slow_in_row=3, failed_in_row=3, quick_in_row=4, pause_s=5, longest_pause_s=8)
QUICK, SLOW = {"seconds": 0.01, "characters": 50}, {"seconds": 0.2, "characters": 50}


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def breakers(clock):
    return Breakers(LIMITS, clock=clock)


def refused(breakers, champion=DESK):
    with pytest.raises(EngineError) as caught:
        breakers.standing(champion)
    return caught.value.message


def test_slow_answers_in_a_row_send_a_model_apart_until_it_is_quick_for_a_while(breakers):
    for answer in (SLOW, SLOW, QUICK, SLOW, SLOW):
        breakers.answered(DESK, **answer)
        assert breakers.standing(DESK) is Standing.TRUSTED
    breakers.answered(DESK, **SLOW)
    assert breakers.standing(DESK) is Standing.APART
    assert breakers.standing(OTHER) is Standing.TRUSTED
    assert "slowly" in breakers.problem(DESK)
    for _ in range(LIMITS.quick_in_row):
        assert breakers.standing(DESK) is Standing.APART
        breakers.answered(DESK, **QUICK)
    assert breakers.standing(DESK) is Standing.TRUSTED
    assert breakers.problem(DESK) is None


def test_one_answer_that_takes_very_long_is_enough(breakers):
    breakers.answered(DESK, seconds=1.0, characters=50)
    assert breakers.standing(DESK) is Standing.APART


def test_long_texts_may_take_longer(breakers):
    for _ in range(5):
        breakers.answered(DESK, seconds=0.9, characters=20_000)
    assert breakers.standing(DESK) is Standing.TRUSTED
    assert breakers.hang_s(20_000) == 10 * breakers.hang_s(10)


def test_failures_in_a_row_refuse_a_model_by_name_and_then_one_request_tries_it(breakers, clock):
    for _ in range(LIMITS.failed_in_row):
        assert breakers.standing(DESK) is Standing.TRUSTED
        breakers.failed(DESK)
    assert "shop.intent.desk" in refused(breakers)
    assert breakers.standing(OTHER) is Standing.TRUSTED
    clock.now = 5.1
    assert breakers.standing(DESK) is Standing.TRIED
    refused(breakers)  # one at a time
    breakers.failed(DESK)
    clock.now = 12.0
    refused(breakers)  # for longer now
    clock.now = 13.2
    assert breakers.standing(DESK) is Standing.TRIED
    breakers.answered(DESK, **QUICK)
    assert breakers.standing(DESK) is Standing.APART
    for _ in range(LIMITS.quick_in_row):
        breakers.answered(DESK, **QUICK)
    assert breakers.standing(DESK) is Standing.TRUSTED


def test_a_good_answer_forgives_failures(breakers):
    for _ in range(10):
        breakers.failed(DESK)
        breakers.failed(DESK)
        breakers.answered(DESK, **QUICK)
    assert breakers.standing(DESK) is Standing.TRUSTED


def test_a_try_that_is_given_up_lets_another_request_try(breakers, clock):
    for _ in range(LIMITS.failed_in_row):
        breakers.failed(DESK)
    clock.now = 6.0
    assert breakers.standing(DESK) is Standing.TRIED
    breakers.gone(DESK)
    assert breakers.standing(DESK) is Standing.TRIED


def test_a_model_that_hangs_is_not_asked_before_it_has_come_back(breakers, clock):
    answer = Future()
    breakers.hung(DESK, answer)
    clock.now = 1e6
    assert "hangs" in refused(breakers)
    answer.set_result(None)
    assert breakers.standing(DESK) is Standing.TRIED


def test_another_version_has_no_past(breakers):
    breakers.hung(DESK, Future())
    released = replace(DESK, version=2)
    assert breakers.problem(released) is None
    assert breakers.standing(released) is Standing.TRUSTED
    breakers.answered(DESK, **QUICK)  # of the old one, late
    assert breakers.standing(released) is Standing.TRUSTED

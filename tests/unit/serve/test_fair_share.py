from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from closedloop.serve.admission.fair_share import FairShare


def test_one_tenant_gets_nearly_all_and_a_second_always_finds_a_place():
    places = FairShare(64)
    held = [places.take("storm") for _ in range(200)].count(True)
    assert held == 57
    assert places.take("calm")
    assert places.taken == 58


def test_a_place_that_is_given_back_goes_to_who_holds_less():
    places = FairShare(64)
    while places.take("storm"):
        pass
    while places.take("second"):
        pass
    assert places.held_by("storm") > 8 * places.held_by("second")
    for number in range(200):  # places come free in turns, and both want each
        places.give_back(("storm", "second")[number % 2])
        places.take("storm")
        places.take("second")
    assert abs(places.held_by("storm") - places.held_by("second")) <= 8


@pytest.mark.parametrize("capacity", [1, 2, 8])
def test_few_places_are_all_given_to_who_is_alone(capacity):
    places = FairShare(capacity)
    assert [places.take("shop") for _ in range(capacity + 1)] == [True] * capacity + [False]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans())), st.integers(1, 20))
def test_what_is_held_is_what_was_taken_and_not_given_back(steps, capacity):
    places, held = FairShare(capacity), Counter()
    for tenant, takes in steps:
        if takes and places.take(tenant):
            held[tenant] += 1
        elif not takes and held[tenant]:
            places.give_back(tenant)
            held[tenant] -= 1
        assert places.taken == held.total() <= capacity
        assert all(places.held_by(tenant) == held[tenant] for tenant in "abc")

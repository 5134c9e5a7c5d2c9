import pytest
from hypothesis import given
from hypothesis import strategies as st

from closedloop.core.errors import InputError
from closedloop.defence.slots import SLOTS, dealt, slot_of


def test_a_tenants_slot_never_changes():
    """Files of a home are found by it: these numbers are those of the first release."""
    assert [slot_of(tenant) for tenant in ("linden", "shop", "零售")] == [17, 6, 60]


def test_tenants_spread_over_the_slots():
    counts = [0] * SLOTS
    for number in range(6_400):
        counts[slot_of(f"tenant {number}")] += 1
    assert min(counts) > 50
    assert max(counts) < 150


@given(st.integers(1, SLOTS))
def test_every_slot_has_one_shard_and_shards_have_about_as_many(shards):
    held = dealt(shards)
    assert sorted(slot for slots in held for slot in slots) == list(range(SLOTS))
    assert max(map(len, held)) - min(map(len, held)) <= 1


@given(st.integers(1, SLOTS - 1))
def test_adding_a_shard_moves_slots_to_it_and_no_others(shards):
    before, after = dealt(shards), dealt(shards + 1)
    for there in range(shards):
        assert set(after[there]) <= set(before[there])
    assert len(after[shards]) == SLOTS // (shards + 1)


@pytest.mark.parametrize("shards", [0, -1, SLOTS + 1])
def test_no_shards_and_more_than_slots_are_refused(shards):
    with pytest.raises(InputError, match="1 to 64"):
        dealt(shards)

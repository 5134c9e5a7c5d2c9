import pytest

from closedloop.defence.board_turns import BoardTurns, Looking

EAGER = Looking(share=1.0, turn_s=60.0, pause_s=1.0, quiet_s=100.0)


class Clock:
    at = 1_000.0

    def __call__(self):
        return self.at


@pytest.fixture
def clock():
    return Clock()


def due(turns):
    with turns.turn() as names:
        return list(names)


def test_a_tenant_whose_text_came_is_looked_at_once_a_pause(clock):
    turns = BoardTurns(EAGER, {}, clock=clock)
    assert due(turns) == []
    turns.changed("shop")
    assert due(turns) == ["shop"]
    assert turns.looked("shop", latest=999.0) == 1_000.0
    turns.changed("shop")
    assert due(turns) == []
    clock.at += 1.0
    assert due(turns) == ["shop"]


def test_without_texts_a_live_tenant_is_looked_at_less_often_and_then_no_more(clock):
    turns = BoardTurns(EAGER, {}, clock=clock)
    turns.looked("shop", latest=999.0)
    clock.at += 9.0
    assert due(turns) == []
    clock.at += 1.0
    assert due(turns) == ["shop"]
    clock.at += 100.0
    turns.looked("shop", latest=999.0)
    clock.at += 1_000.0
    assert due(turns) == []


def test_traffic_of_the_past_is_looked_at_as_of_its_own_time(clock):
    turns = BoardTurns(EAGER, {}, clock=clock)
    assert turns.looked("shop", latest=20.0) == 20.0
    assert turns.looked("shop", latest=5_000.0) == 5_000.0  # a clock that is ahead


def test_tenants_of_an_earlier_process_are_looked_at_where_they_are_of_late(clock):
    turns = BoardTurns(EAGER, {"old": 700.0, "shop": 990.0, "bank": 950.0}, clock=clock)
    assert sorted(due(turns)) == ["bank", "shop"]


def test_a_turn_that_took_long_ends_and_is_followed_by_a_rest(clock):
    turns = BoardTurns(Looking(share=1e-6, turn_s=0.0), {}, clock=clock)
    for name in ("shop", "bank"):
        turns.changed(name)
    with turns.turn() as names:
        assert len(list(names)) == 1
    assert due(turns) == []

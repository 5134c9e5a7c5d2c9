from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from closedloop.core.errors import NotFound
from closedloop.core.store import Store
from closedloop.defence.issues.issue import IssueState
from closedloop.defence.issues.issue_book import IssueBook
from closedloop.defence.issues.sighting import Sighting
from closedloop.ui.app.defence_board import CLOSED_S, BoardSnapshots, read_act

MakeSighting = Callable[..., Sighting]
OPEN = (IssueState.OPEN,)


class Now:
    at = 1_000_000_000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(f"sqlite:///{tmp_path / 'store.db'}")
    yield opened
    opened.close()


def test_the_board_is_read_once_for_each_change(store: Store, sighting: MakeSighting) -> None:
    book = IssueBook(store)
    board = BoardSnapshots(book)
    book.publish("shop", [sighting(1)])
    first = board.get(None, OPEN)
    assert [row["id"] for row in first.rows] == [1]
    assert board.get(None, OPEN) is first
    book.assign(1, "ann", who="ann")
    second = board.get(None, OPEN)
    assert second is not first
    assert [row["assigned"] for row in second.rows] == ["ann"]


def test_each_filter_has_a_board_of_its_own(store: Store, sighting: MakeSighting) -> None:
    book = IssueBook(store)
    board = BoardSnapshots(book)
    book.publish("shop", [sighting(1)])
    book.publish("bank", [sighting(2, tenant="bank")])
    book.resolve(1, "mended", who="ann")
    assert [one.tenant for one in board.get(None, OPEN).issues] == ["bank"]
    assert board.get("shop", OPEN).issues == ()
    assert len(board.get("shop", (IssueState.OPEN, IssueState.RESOLVED)).issues) == 1


def test_what_was_closed_long_ago_is_left_out(store: Store, sighting: MakeSighting) -> None:
    now = Now()
    book = IssueBook(store, clock=now)  # far in the past, seen from today
    board = BoardSnapshots(book)
    book.publish("shop", [sighting(1), sighting(2)])
    book.resolve(1, "mended", who="ann")
    states = (IssueState.OPEN, IssueState.RESOLVED)
    assert [one.id for one in board.get(None, states).issues] == [2]
    assert [one.id for one in book.board(states=states, closed_since=now.at - CLOSED_S)] == [1, 2]


def test_the_chosen_issue_is_read_once_for_each_change(
    store: Store, sighting: MakeSighting
) -> None:
    book = IssueBook(store)
    board = BoardSnapshots(book)
    book.publish("shop", [sighting(1)])
    first = board.issue(1)
    assert len(first.sighting.samples) == 3
    assert board.issue(1) is first
    book.rename(1, "Coupon night", who="ann")
    assert board.issue(1).title == "Coupon night"
    with pytest.raises(NotFound):
        board.issue(2)


@pytest.mark.parametrize(
    "sent",
    [
        None,
        "choose",
        {},
        {"kind": "resolve", "issue": 1, "revision": 1},
        {"kind": "choose", "issue": "1; drop", "revision": 1},
        {"kind": "choose", "issue": 1},
    ],
)
def test_what_no_board_sends_is_ignored(sent: object) -> None:
    assert read_act(sent) is None


def test_an_act_names_what_was_on_the_screen() -> None:
    act = read_act({"kind": "snooze15", "issue": 4.0, "revision": 2.0, "at": 1})
    assert act is not None
    assert (act.kind, act.issue, act.revision) == ("snooze15", 4, 2)

"""The board that shards tell: each issue alerts, also where a shard was killed in between."""

import pytest

from closedloop.core.store import Store
from closedloop.defence.issues.issue import IssueState
from closedloop.defence.issues.issue_board import IssueBoard
from closedloop.defence.issues.issue_book import IssueBook
from closedloop.defence.issues.sighting import Sighting


def seen(cluster, **changes):
    values = {
        "tenant": "shop",
        "cluster": cluster,
        "began_at": 900.0,
        "seen_at": 1_000.0,
        "texts": 60,
        "window_s": 60.0,
        "rate_per_min": 40.0,
        "expected_per_min": 2.0,
        "surprise": 12.0,
        "false_alarms_per_day": 0.001,
        "novelty": 0.9,
        "channels": {},
        "models": {},
        "intents": {},
        "terms": ("coupon",),
        "typical": (),
        "micros": (cluster,),
        "series": (0,),
    }
    return Sighting(**{**values, **changes})


@pytest.fixture
def book(tmp_path):
    store = Store.open(f"sqlite:///{tmp_path / 'store.db'}")
    yield IssueBook(store)
    store.close()


def clusters(raised):
    return [[issue.sighting.cluster for issue in issues] for issues in raised]


def test_alerts_hear_at_once_of_what_comes_and_now_and_then_of_the_rest(book):
    raised = []
    board = IssueBoard(book, raise_for=lambda *issues: raised.append(issues))
    board.tell("shop", [seen(1)], now=1_000.0)
    board.tell("shop", [seen(1), seen(2, rate_per_min=10.0)], now=1_001.0)
    board.tell("shop", [seen(1)], now=1_002.0)
    board.tell("shop", [seen(1)], now=1_020.0)
    assert clusters(raised) == [[1], [1, 2], [1, 2]]
    assert board.known("shop") == [1, 2]
    assert board.known("bank") == []


def test_an_alert_that_a_kill_prevented_is_raised_by_the_next_process(book):
    def killed(*issues):
        raise KeyboardInterrupt(issues)

    with pytest.raises(KeyboardInterrupt):
        IssueBoard(book, raise_for=killed).tell("shop", [seen(1)], now=1_000.0)
    raised = []
    board = IssueBoard(book, raise_for=lambda *issues: raised.append(issues))
    board.tell("shop", [seen(1)], now=1_001.0)
    assert clusters(raised) == [[1]]


def test_what_nobody_asks_any_more_fades(book):
    board = IssueBoard(book, fade_after_s=3_600.0)
    board.tell("shop", [seen(1), seen(2)], now=1_000.0)
    board.tell("shop", [seen(2, seen_at=9_000.0)], now=9_000.0)
    assert [issue.sighting.cluster for issue in book.board()] == [2]
    (closed,) = book.board(states=[IssueState.RESOLVED])
    assert closed.sighting.cluster == 1

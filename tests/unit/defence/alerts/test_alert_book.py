"""The alert book's contract; tests/integration/test_postgres_store.py runs it, too."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from closedloop.core.audit import Audit
from closedloop.core.errors import Conflict, NotFound
from closedloop.core.store import Store
from closedloop.defence.alerts.alert import AlertKind, AlertState
from closedloop.defence.alerts.alert_book import AlertBook, Delivered, Patience
from closedloop.defence.alerts.sink import NotDelivered, Receiver
from closedloop.defence.issues.issue_book import IssueBook
from closedloop.defence.issues.sighting import Sighting, TypicalText

TENANT = "零售 shop"
PATIENCE = Patience(attempts=3)


class Now:
    at = 1_000.0

    def __call__(self):
        return self.at


class Inbox:
    """A receiver that takes alerts, or fails as it is told to."""

    address = "inbox"

    def __init__(self):
        self.got = []
        self.failures = []

    def send(self, alert):
        if self.failures:
            raise self.failures.pop(0)
        self.got.append(alert)


@pytest.fixture
def now():
    return Now()


@pytest.fixture
def store(tmp_path):
    store = Store.open(f"sqlite:///{tmp_path / 'store.db'}")
    yield store
    store.close()


@pytest.fixture
def inbox():
    return Inbox()


@pytest.fixture
def alerts(store, now, inbox):
    return book(store, now, inbox)


@pytest.fixture
def publish(store, now):
    """Returns a function that publishes a sighting, and returns the board."""
    issues = IssueBook(store, clock=now)

    def published(cluster=1, *, rate=40.0, act=None, **changes):
        values = {
            "tenant": TENANT,
            "cluster": cluster,
            "began_at": now.at - 50,
            "seen_at": now.at,
            "texts": 60,
            "window_s": 60.0,
            "rate_per_min": rate,
            "expected_per_min": 2.0,
            "surprise": 12.0,
            "false_alarms_per_day": 0.001,
            "novelty": 0.9,
            "bad_share": 0.25,
            "channels": {"web": 60},
            "models": {"shop.svm.intent": 60},
            "intents": {},
            "terms": ("coupon", "失效"),
            "micros": (cluster,),
            "series": (1,),
            "typical": tuple(
                TypicalText(text=f"优惠券失效 {n}", event_id=f"e{n}", at=1.0) for n in range(5)
            ),
        }
        seen = Sighting(**{**values, **changes})
        issues.publish(seen.tenant, [seen])
        if act is not None:
            act(issues)
        return issues.board()

    return published


def book(store, now, inbox, *, name="ops", **wants):
    receivers = [Receiver(name=name, sink=inbox, **wants)]
    return AlertBook(store, receivers, patience=PATIENCE, clock=now, chance=lambda: 0.0)


def test_an_issue_is_told_once_however_often_it_is_raised(alerts, inbox, publish):
    board = publish()
    assert alerts.raise_for(*board) == 1
    assert alerts.raise_for(*board, *board) == 0
    assert alerts.raise_for(*publish(rate=50.0)) == 0
    assert alerts.deliver_due() == Delivered(sent=1)
    assert alerts.deliver_due() == Delivered()
    (told,) = inbox.got
    assert (told.kind, told.tenant, told.issue_id) == (AlertKind.OPENED, TENANT, board[0].id)
    (kept,) = alerts.all()
    assert (kept.id, kept.state, kept.attempts, kept.ended_at) == (told.id, "sent", 1, 1_000.0)


def test_what_is_told_is_the_issue_and_some_of_its_texts(alerts, inbox, publish):
    alerts.raise_for(*publish())
    alerts.deliver_due()
    (told,) = inbox.got
    sent = told.to_json()
    assert (sent["id"], sent["kind"], sent["tenant"]) == (told.id, "opened", TENANT)
    assert sent["issue"]["rate_per_min"] == 40.0
    assert sent["texts"] == ["优惠券失效 0", "优惠券失效 1", "优惠券失效 2"]
    subject = "[零售 shop] opened: coupon · 失效 (40 texts a minute, 2.0 expected)"
    assert told.subject == subject
    assert "- 优惠券失效 2" in told.body
    assert "25% thumbs down" in told.body


def test_texts_stay_here_where_a_receiver_is_to_get_none(store, now, inbox, publish):
    alerts = book(store, now, inbox, texts=0)
    alerts.raise_for(*publish())
    alerts.deliver_due()
    assert inbox.got[0].to_json()["texts"] == []
    assert "优惠券" not in inbox.got[0].body


def test_a_title_of_several_lines_is_no_second_header(alerts, inbox, publish):
    alerts.raise_for(*publish(terms=("a\r\nBcc: eve@example.com",)))
    alerts.deliver_due()
    assert "\n" not in inbox.got[0].subject
    assert "\r" not in inbox.got[0].subject


def test_tenfold_growth_is_told_and_each_power_once(alerts, inbox, publish):
    def told_at(rate):
        alerts.raise_for(*publish(rate=rate))
        alerts.deliver_due()
        return [each.kind.value for each in inbox.got]

    assert told_at(40.0) == ["opened"]
    assert told_at(399.0) == ["opened"]
    assert told_at(400.0) == ["opened", "escalated"]
    assert told_at(900.0) == ["opened", "escalated"]
    assert told_at(5_000.0) == ["opened", "escalated", "escalated"]
    assert told_at(40.0) == told_at(500.0) == told_at(6_000.0)  # it was there before
    assert len(inbox.got) == 3


def test_growth_by_more_than_one_power_at_once_is_told_once(alerts, inbox, publish):
    alerts.raise_for(*publish(rate=10.0))
    assert alerts.raise_for(*publish(rate=1_500.0)) == 1
    assert alerts.raise_for(*publish(rate=150.0)) == 0


def test_an_issue_that_comes_back_is_told_again(alerts, inbox, now, publish):
    alerts.raise_for(*publish())
    publish(act=lambda issues: issues.resolve(issues.board()[0].id, "mended", who="ann"))
    assert alerts.raise_for(*publish()) == 0
    now.at = 5_000.0
    assert alerts.raise_for(*publish(began_at=4_900.0)) == 1
    alerts.deliver_due()
    assert [each.kind.value for each in inbox.got] == ["opened", "reopened"]
    renamed = publish(
        began_at=4_900.0, act=lambda issues: issues.rename(issues.board()[0].id, "x", who="ann")
    )
    assert alerts.raise_for(*renamed) == 0


def test_receivers_are_told_what_they_want(store, now, inbox, publish):
    board = [*publish(1, texts=100, surprise=5.0), *publish(2, tenant="bank")]
    for wants, told in (
        ({}, 2),
        ({"tenants": ("bank",)}, 1),
        ({"least_surprise": 6.0}, 1),
        ({"least_texts": 61}, 1),
    ):
        alerts = book(store, now, inbox, name=f"{wants}", **wants)
        every = {each.id: each for each in board}.values()
        assert (wants, alerts.raise_for(*every)) == (wants, told)


def test_an_issue_is_told_when_it_has_become_large_enough(store, now, inbox, publish):
    alerts = book(store, now, inbox, least_texts=100)
    assert alerts.raise_for(*publish(texts=60)) == 0
    assert alerts.raise_for(*publish(texts=160, rate=900.0)) == 1
    alerts.deliver_due()
    assert inbox.got[0].kind is AlertKind.OPENED


def test_what_fails_is_tried_again_later_and_later_under_the_same_id(alerts, inbox, now, publish):
    inbox.failures = [NotDelivered("down"), NotDelivered("down still")]
    alerts.raise_for(*publish())
    assert alerts.deliver_due() == Delivered(postponed=1)
    (kept,) = alerts.all()
    assert (kept.state, kept.problem, kept.due_at) == ("waiting", "down", 1_005.0)
    now.at = 1_004.0
    assert alerts.deliver_due() == Delivered()
    now.at = 1_005.0
    assert alerts.deliver_due() == Delivered(postponed=1)
    assert alerts.all()[0].due_at == 1_015.0
    now.at = 1_015.0
    assert alerts.deliver_due() == Delivered(sent=1)
    assert inbox.got[0].id == kept.id
    assert inbox.got[0].attempts == 3


def test_a_receiver_that_asks_to_wait_is_waited_for(alerts, inbox, publish):
    inbox.failures = [NotDelivered("busy", retry_after_s=77.0)]
    alerts.raise_for(*publish())
    alerts.deliver_due()
    assert alerts.all()[0].due_at == 1_077.0


def test_an_alert_is_given_up_with_its_reason_and_can_be_retried(
    alerts, inbox, now, store, publish
):
    inbox.failures = [NotDelivered("down") for _ in range(3)]
    alerts.raise_for(*publish())
    for _ in range(3):
        alerts.deliver_due()
        now.at += 100.0
    (kept,) = alerts.all(state=AlertState.FAILED)
    assert (kept.attempts, kept.problem) == (3, "down")
    assert alerts.deliver_due() == Delivered()
    alerts.retry(kept.id, who="ann")
    assert Audit(store).entries()[0].action == "alerts.retry"
    assert alerts.deliver_due() == Delivered(sent=1)
    with pytest.raises(Conflict, match="sent"):
        alerts.retry(kept.id, who="ann")
    with pytest.raises(NotFound):
        alerts.retry("nope", who="ann")


def test_what_can_never_be_delivered_is_given_up_at_once(alerts, inbox, publish):
    inbox.failures = [NotDelivered("gone", is_final=True)]
    alerts.raise_for(*publish())
    assert alerts.deliver_due() == Delivered(given_up=1)


def test_a_receiver_that_was_taken_out_gets_nothing(alerts, store, now, inbox, publish):
    alerts.raise_for(*publish())
    assert book(store, now, inbox, name="other").deliver_due() == Delivered(given_up=1)
    assert "no receiver 'ops'" in alerts.all()[0].problem


def test_a_receiver_that_is_down_does_not_hold_up_others(store, now, inbox, publish):
    down = Inbox()
    down.failures = [NotDelivered("down") for _ in range(9)]
    receivers = [Receiver(name="a", sink=down), Receiver(name="b", sink=inbox)]
    alerts = AlertBook(store, receivers, clock=now)
    board = {each.id: each for n in (1, 2, 3) for each in publish(n)}
    alerts.raise_for(*board.values())
    assert alerts.deliver_due() == Delivered(sent=3, postponed=1)
    assert len(down.failures) == 8  # asked once


def test_a_fault_while_sending_is_a_failed_attempt(alerts, inbox, publish):
    inbox.failures = [ValueError("secret")]
    alerts.raise_for(*publish())
    assert alerts.deliver_due() == Delivered(postponed=1)
    assert alerts.all()[0].problem == "Sending failed: ValueError."


def test_what_somebody_is_sending_nobody_else_sends(alerts, store, now, inbox, publish):
    taken, may_end = threading.Event(), threading.Event()

    class Slow(Inbox):
        def send(self, alert):
            taken.set()
            assert may_end.wait(30)
            super().send(alert)

    slow = Slow()
    alerts.raise_for(*publish())
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(book(store, now, slow).deliver_due)
        assert taken.wait(30)
        assert alerts.deliver_due() == Delivered()
        may_end.set()
        assert first.result(30) == Delivered(sent=1)
    assert (len(slow.got), len(inbox.got)) == (1, 0)


def test_what_somebody_ended_in_the_midst_of_is_sent_by_another(alerts, store, now, inbox, publish):
    class Killed(BaseException):
        pass

    inbox.failures = [Killed()]
    alerts.raise_for(*publish())
    with pytest.raises(Killed):
        alerts.deliver_due()
    assert alerts.deliver_due() == Delivered()  # it may be under way still
    now.at += PATIENCE.lease_s
    assert book(store, now, inbox).deliver_due() == Delivered(sent=1)
    # One that ends each time is given up in the end.
    alerts.raise_for(*publish(2))
    for _ in range(PATIENCE.attempts):
        inbox.failures = [Killed()]
        with pytest.raises(Killed):
            alerts.deliver_due()
        now.at += PATIENCE.lease_s
    assert alerts.deliver_due() == Delivered(given_up=1)


def test_many_who_deliver_at_once_send_each_alert_once(alerts, store, now, inbox, publish):
    board = {each.id: each for n in range(1, 9) for each in publish(n)}
    with ThreadPoolExecutor(4) as pool:
        raised = sum(pool.map(lambda _: alerts.raise_for(*board.values()), range(4)))
        done = list(pool.map(lambda _: book(store, now, inbox).deliver_due(), range(4)))
    assert raised == 8
    assert sum(each.sent for each in done) == 8
    assert len({each.id for each in inbox.got}) == len(inbox.got) == 8


def test_a_test_reaches_its_receiver_and_is_not_kept(alerts, inbox):
    assert alerts.test("ops").to_json()["kind"] == "test"
    assert "test" in inbox.got[0].subject
    assert alerts.all() == []
    with pytest.raises(NotFound, match="ops"):
        alerts.test("nope")


def test_waits_grow_to_a_limit_and_are_of_different_lengths():
    patience = Patience()
    waits = [patience.wait_s(n, 0.0) for n in range(1, 100)]
    assert waits == sorted(waits)
    assert waits[-1] == patience.longest_wait_s
    assert patience.wait_s(3, 0.5) == 0.75 * patience.wait_s(3, 0.0)

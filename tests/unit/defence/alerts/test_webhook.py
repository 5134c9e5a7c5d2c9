import json
import pickle
import socket

import pytest

from closedloop.core.store import Store
from closedloop.defence.alerts.alert_book import AlertBook
from closedloop.defence.alerts.sink import NotDelivered, Receiver
from closedloop.defence.alerts.webhook import Webhook, is_signed, signature
from closedloop.defence.issues.issue_book import IssueBook
from closedloop.defence.issues.sighting import Sighting

SECRET = "s3cret 密"


def test_an_alert_arrives_as_signed_json(http_receiver, an_alert):
    Webhook(url=http_receiver.url, secret=SECRET, clock=lambda: 500.9).send(an_alert)
    ((path, headers, body),) = http_receiver.got
    assert path == "/hook?token=hidden"
    assert json.loads(body) == an_alert.to_json()
    assert headers["Idempotency-Key"] == an_alert.id == json.loads(body)["id"]
    signed = headers["Closedloop-Signature"]
    assert is_signed(SECRET, body, signed, now=510.0)
    assert not is_signed("another", body, signed, now=510.0)
    assert not is_signed(SECRET, body + b" ", signed, now=510.0)
    assert not is_signed(SECRET, body, signed, now=900.0)


@pytest.mark.parametrize("header", ["", "t=,v1=", "t=²,v1=a", "v1=a", "t=-5,v1=a", "t=500,v1=é"])
def test_what_is_no_signature_is_none(header):
    assert not is_signed(SECRET, b"{}", header, now=500.0)


def test_the_time_of_a_signature_cannot_be_exchanged():
    old = signature(SECRET, b"{}", at=100)
    assert not is_signed(SECRET, b"{}", old.replace("t=100", "t=900"), now=900.0)


def test_without_a_secret_there_is_no_signature(http_receiver, an_alert):
    Webhook(url=http_receiver.url).send(an_alert)
    assert "Closedloop-Signature" not in http_receiver.got[0][1]


@pytest.mark.parametrize(
    ("status", "is_final"),
    [(500, False), (503, False), (429, False), (408, False), (400, True), (410, True), (302, True)],
)
def test_an_answer_that_is_no_success_is_told(http_receiver, an_alert, status, is_final):
    http_receiver.answers = [(status, {"Retry-After": "12", "Location": http_receiver.url})]
    with pytest.raises(NotDelivered, match=f"status {status}") as failed:
        Webhook(url=http_receiver.url).send(an_alert)
    assert (failed.value.is_final, failed.value.retry_after_s) == (is_final, 12.0)
    assert "hidden" not in str(failed.value)
    assert len(http_receiver.got) == 1  # a redirect is not followed


def test_a_date_in_retry_after_is_passed_over(http_receiver, an_alert):
    http_receiver.answers = [(503, {"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"})]
    with pytest.raises(NotDelivered) as failed:
        Webhook(url=http_receiver.url).send(an_alert)
    assert failed.value.retry_after_s == 0.0


def test_nobody_there_is_told_without_the_urls_secrets(an_alert):
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = bound.getsockname()[1]
    hook = Webhook(url=f"http://ann:pass@127.0.0.1:{port}/hidden", secret=SECRET)
    with pytest.raises(NotDelivered, match="ConnectError") as failed:
        hook.send(an_alert)
    assert not failed.value.is_final
    for shown in (str(failed.value), repr(hook), hook.address):
        assert not any(secret in shown for secret in ("hidden", "pass", SECRET))


def test_a_receiver_that_says_nothing_is_not_waited_for(an_alert):
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(NotDelivered, match="Timeout"),
    ):
        Webhook(url=f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.2).send(an_alert)


def test_what_was_not_delivered_travels_between_processes():
    error = NotDelivered("down", remedy="wait", is_final=True, retry_after_s=3.0)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.is_final, again.retry_after_s) == (str(error), True, 3.0)


def test_an_alert_reaches_a_server_that_fails_first_under_one_id(http_receiver, tmp_path):
    now = [1_000.0]
    store = Store.open(f"sqlite:///{tmp_path / 'store.db'}")
    issues = IssueBook(store, clock=lambda: now[0])
    counts = {"channels": {"web": 60}, "models": {}, "intents": {}}
    rates = {"rate_per_min": 40.0, "expected_per_min": 2.0, "window_s": 60.0, "surprise": 12.0}
    texts = {"terms": ("优惠券",), "typical": (), "micros": (1,), "series": (1,), "texts": 60}
    seen = {"tenant": "shop", "cluster": 1, "began_at": 900.0, "seen_at": 1_000.0, "novelty": 0.9}
    opened = issues.publish(
        "shop", [Sighting(**seen, **texts, **rates, **counts, false_alarms_per_day=0.001)]
    )
    hook = Receiver(name="ops", sink=Webhook(url=http_receiver.url, secret=SECRET))
    alerts = AlertBook(store, [hook], clock=lambda: now[0], link="https://loop.example")
    alerts.raise_for(*opened)
    http_receiver.answers = [(500, {}), (503, {"Retry-After": "60"})]
    for waited_s in (0.0, 5.0, 59.0, 1.0):
        now[0] += waited_s
        alerts.deliver_due()
    store.close()
    bodies = [json.loads(body) for _, _, body in http_receiver.got]
    assert len(bodies) == 3
    assert len({headers["Idempotency-Key"] for _, headers, _ in http_receiver.got}) == 1
    assert bodies[0] == bodies[2]
    assert (bodies[2]["issue"]["title"], bodies[2]["link"]) == ("优惠券", "https://loop.example")

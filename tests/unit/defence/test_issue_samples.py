from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from closedloop.core.errors import InputError
from closedloop.core.store import Store
from closedloop.data.lake import LABEL_SCHEMA, Lake
from closedloop.defence.issue_samples import send_samples
from closedloop.defence.issues.issue import Issue, Standing
from closedloop.defence.issues.sighting import Sighting, TypicalText
from closedloop.samples.annotation import AnnotationQueue
from closedloop.samples.annotation_task import NewTask

MODEL = "shop.intent.main"


def text(event_id, said, *, model=MODEL, answer="greeting"):
    return TypicalText(
        text=said, event_id=event_id, at=990.0, channel="app", answer=answer, model=model
    )


def issue(*samples):
    seen = Sighting(
        tenant="shop",
        cluster=1,
        began_at=900.0,
        seen_at=1_000.0,
        texts=60,
        window_s=60.0,
        rate_per_min=40.0,
        expected_per_min=2.0,
        surprise=12.0,
        false_alarms_per_day=0.001,
        novelty=0.9,
        channels={"app": 60},
        models={MODEL: 60},
        intents={"greeting": 60},
        terms=("coupon", "优惠"),
        typical=(text("e1", "coupon fails"), text("e9", "优惠券失效")),
        samples=samples,
        micros=(1,),
        series=(0, 1, 40),
    )
    return Issue(
        id=3,
        tenant="shop",
        standing=Standing(title="Coupon night"),
        opened_at=0.0,
        changed_at=0.0,
        revision=1,
        sighting=seen,
    )


@pytest.fixture
def lake(tmp_path: Path):
    return Lake(str(tmp_path / "lake"))


@pytest.fixture
def queue(tmp_path: Path):
    store = Store.open(f"sqlite:///{tmp_path / 'store.db'}")
    yield AnnotationQueue(store)
    store.close()


def test_samples_become_tasks_that_come_first_and_say_why(lake, queue):
    queue.enqueue(MODEL, [NewTask(sample_id="old", text="hello", priority=1.0)])
    sent = send_samples(issue(text("e1", "coupon fails")), lake, queue, model=MODEL)
    assert (sent.sent, sent.known) == (1, 0)
    [task] = queue.lease("ann", queue=MODEL)
    assert (task.sample_id, task.text, task.suggestion) == ("e1", "coupon fails", "greeting")
    assert task.reason == "issue “Coupon night”"
    assert task.details["issue"] == 3
    assert task.details["keywords"] == ["coupon", "优惠"]
    assert task.details["neighbours"] == ["优惠券失效"]


def test_texts_that_differ_in_form_alone_are_asked_once(lake, queue):
    samples = [text("e1", "Coupon  fails"), text("e2", "coupon fails"), text("e3", "优惠券失效")]
    sent = send_samples(issue(*samples), lake, queue, model=MODEL)
    assert (sent.sent, sent.turns) == (2, 3)


def test_what_the_model_knows_is_not_asked_again(lake, queue):
    queue.enqueue(MODEL, [NewTask(sample_id="q", text="Coupon fails")])
    label = {
        "sample_id": "x",
        "ts": datetime(2026, 10, 1, tzinfo=UTC),
        "model": MODEL,
        "text": "优惠券失效",
        "label": "coupon_invalid",
        "votes": 1,
        "agreement": 1.0,
        "simulated": False,
        "split": "gold",
        "run_id": "r",
    }
    lake.append("labels", pa.Table.from_pylist([label], schema=LABEL_SCHEMA))
    samples = [text("e1", "coupon fails"), text("e2", "优惠券失效"), text("e3", "券用不了")]
    sent = send_samples(issue(*samples), lake, queue, model=MODEL)
    assert (sent.sent, sent.known) == (1, 2)
    again = send_samples(issue(*samples), lake, queue, model=MODEL)
    assert (again.sent, again.known) == (0, 3)


def test_no_more_than_asked_for_are_sent(lake, queue):
    samples = [text(f"e{n}", f"coupon fails {n}") for n in range(10)]
    assert send_samples(issue(*samples), lake, queue, model=MODEL, most=4).sent == 4


def test_another_models_answer_is_no_suggestion(lake, queue):
    one = text("e1", "coupon fails", model="shop.intent.old")
    send_samples(issue(one), lake, queue, model=MODEL)
    [task] = queue.lease("ann", queue=MODEL)
    assert task.suggestion is None
    assert (task.details["answered_by"], task.details["its_answer"]) == (
        "shop.intent.old",
        "greeting",
    )


def test_texts_of_a_tenant_never_reach_anothers_model(lake, queue):
    with pytest.raises(InputError, match="another tenant"):
        send_samples(issue(text("e1", "coupon")), lake, queue, model="bank.intent.main")
    assert queue.queues() == {}


def test_an_issue_without_samples_sends_its_typical_texts(lake, queue):
    assert send_samples(issue(), lake, queue, model=MODEL).sent == 2

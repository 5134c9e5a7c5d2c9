"""Alerts as a shard hosts them: raised and delivered as the file says now."""

import json
import threading

import pytest

from closedloop.core.settings import Settings
from closedloop.core.store import Store
from closedloop.defence.alerts.alerting import LiveAlerts
from closedloop.defence.alerts.configuration import FILE
from closedloop.defence.issues.issue_book import IssueBook
from closedloop.defence.issues.sighting import Sighting

NAMED = "receivers:\n  - {name: log, kind: file, path: alerts.jsonl}\n"


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path, store="")


@pytest.fixture
def store(settings):
    store = Store.open(settings.store_url)
    yield store
    store.close()


@pytest.fixture
def issue(store):
    sighting = Sighting(
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
        channels={},
        models={},
        intents={},
        terms=("coupon",),
        typical=(),
        micros=(1,),
        series=(0,),
    )
    (issue,) = IssueBook(store).publish("shop", [sighting])
    return issue


class Delivering:
    """The delivery in a thread, until a file has as many lines as wanted."""

    def __init__(self, alerts):
        self._stop = threading.Event()
        self._thread = threading.Thread(target=alerts.deliver_until, args=(self._stop,))

    def __enter__(self):
        self._thread.start()

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()


def lines(settings):
    file = settings.root / "alerts.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def test_who_is_added_to_the_file_is_told_without_a_restart(settings, store, issue):
    alerts = LiveAlerts(settings, store)
    alerts.raise_for(issue)  # nobody is named
    (settings.root / FILE).write_text(NAMED)
    alerts.raise_for(issue)
    alerts.raise_for(issue)
    with Delivering(alerts):
        pass  # what is due is sent before the end is looked for
    assert len(lines(settings)) == 1


def test_a_file_that_became_wrong_leaves_the_receivers_of_before(settings, store, issue, caplog):
    (settings.root / FILE).write_text(NAMED)
    alerts = LiveAlerts(settings, store)
    alerts.raise_for()
    (settings.root / FILE).write_text("receivers: [{name: log, kind: pigeon}]\n")
    alerts.raise_for(issue)
    assert "cannot be used" in caplog.text
    with Delivering(alerts):
        pass
    assert len(lines(settings)) == 1

"""``closedloop alerts`` from naming a receiver to sending again what failed."""

import json

import pytest

from closedloop.core.settings import Settings
from closedloop.core.store import Store
from closedloop.defence.alerts.configuration import FILE, open_alert_book
from closedloop.defence.issues.issue_book import IssueBook
from closedloop.defence.issues.sighting import Sighting

LOG = "receivers: [{name: log, kind: file, path: told.jsonl, tenants: [shop]}]"


@pytest.fixture
def home(tmp_path):
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def an_issue_opens(home):
    settings = Settings(home=home)
    store = Store.open(settings.store_url)
    issues = IssueBook(store)
    counts = {"channels": {}, "models": {}, "intents": {}}
    rates = {"rate_per_min": 40.0, "expected_per_min": 2.0, "window_s": 60.0, "surprise": 12.0}
    texts = {"terms": ("[coupon]",), "typical": (), "micros": (1,), "series": (1,), "texts": 60}
    seen = {"tenant": "shop", "cluster": 1, "began_at": 900.0, "seen_at": 1_000.0, "novelty": 0.9}
    sighting = Sighting(**seen, **texts, **rates, **counts, false_alarms_per_day=0.001)
    issues.publish("shop", [sighting])
    open_alert_book(settings, store).raise_for(*issues.board())
    store.close()


def test_receivers_are_named_in_a_file_and_tried(closedloop, home):
    assert "Nobody is told yet" in closedloop("alerts", "sinks")[1]
    (home / FILE).write_text(LOG)
    assert "told.jsonl" in closedloop("alerts", "sinks")[1]
    code, said = closedloop("alerts", "test", "log")
    assert (code, "log took the test" in said) == (0, True)
    assert json.loads((home / "told.jsonl").read_text())["kind"] == "test"
    assert closedloop("alerts", "test", "nobody")[0] == 3


def test_an_alert_that_failed_is_sent_again(closedloop, home):
    (home / FILE).write_text(LOG)
    an_issue_opens(home)
    assert "[shop] opened: [coupon]" in closedloop("alerts", "list")[1]
    (home / FILE).unlink()
    assert "1 given up" in closedloop("alerts", "deliver")[1]
    (home / FILE).write_text(LOG)
    file = home / "alerts.json"
    assert "no receiver 'log'" in closedloop("alerts", "list", "--state", "failed")[1]
    closedloop("alerts", "list", "--json", file)
    (found,) = json.loads(file.read_text())["alerts"]
    assert "is sent again" in closedloop("alerts", "retry", found["id"][:8])[1]
    assert "alerts.retry" in closedloop("audit", "list")[1]
    assert "1 sent" in closedloop("alerts", "deliver")[1]
    assert json.loads((home / "told.jsonl").read_text())["id"] == found["id"]
    assert closedloop("alerts", "retry", found["id"])[0] == 5


@pytest.mark.parametrize(
    ("text", "words", "code", "said"),
    [
        ("receivers: 5", ("sinks",), 2, "receivers: Input should be"),
        (LOG, ("list", "--state", "lost"), 2, "waiting, sent, failed"),
        (LOG, ("retry", "nope"), 3, "There is no alert 'nope'"),
    ],
)
def test_what_cannot_be_is_explained(closedloop, home, text, words, code, said):
    (home / FILE).write_text(text)
    found = closedloop("alerts", *words)
    assert (found[0], said in found[1]) == (code, True)

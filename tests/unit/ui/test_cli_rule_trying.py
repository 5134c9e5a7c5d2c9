"""``closedloop rules suggest`` and ``preview`` over the last hour's texts."""

import json

import polars as pl
import pytest

from closedloop.core.settings import Settings
from closedloop.core.store import Store
from closedloop.defence.issues.issue_book import IssueBook
from closedloop.defence.issues.sighting import Sighting
from closedloop.defence.recent_traffic import SCHEMA, RecentTraffic


@pytest.fixture
def issue(tmp_path):
    """Number of an issue whose texts, of micro-cluster 7, came after 600 usual ones."""
    settings = Settings(home=tmp_path / "home")
    rows = [(float(n), f"where is parcel {n}", 1) for n in range(600)]
    rows += [(1_000.0 + n, f"my [coupon] fails {n}", 7) for n in range(60)]
    rows += [(1_000.0 + n, f"another coupon fails {n}", 8) for n in range(20)]
    frame = pl.DataFrame(rows, schema=["at", "text", "micro"], orient="row").with_columns(
        event_id=pl.int_range(pl.len()).cast(pl.String),
        channel=pl.lit("app"),
        model=pl.lit("shop.svm.intent"),
        prediction=pl.lit("greeting"),
        confidence=pl.lit(0.5),
    )
    recent = RecentTraffic(settings.root / "defence" / "recent")
    recent.append("shop", frame.select(SCHEMA.names).to_arrow().cast(SCHEMA), name="0")
    store = Store.open(settings.store_url)
    counts = {"channels": {}, "models": {}, "intents": {}}
    rates = {"rate_per_min": 40.0, "expected_per_min": 0.0, "window_s": 60.0, "surprise": 12.0}
    texts = {"terms": ("coupon",), "typical": (), "micros": (7,), "series": (1,), "texts": 60}
    seen = {"tenant": "shop", "cluster": 1, "began_at": 1_000.0, "seen_at": 1_060.0, "novelty": 1}
    sighting = Sighting(**seen, **texts, **rates, **counts, false_alarms_per_day=0.001)
    (opened,) = IssueBook(store).publish("shop", [sighting])
    store.close()
    return opened.id


def test_a_suggestion_is_what_tells_the_issue_from_what_was_before(closedloop, issue, tmp_path):
    file = tmp_path / "suggestions.json"
    code, said = closedloop("rules", "suggest", "--issue", issue, "--json", file)
    assert code == 0
    best = json.loads(file.read_text())["suggestions"][0]
    assert best["condition"] in said
    assert (best["recall"], best["precision"]) == (1.0, 1.0)
    assert closedloop("rules", "suggest", "--issue", 99)[0] == 3


def test_a_preview_tells_what_is_matched_and_whose_it_is(closedloop, issue, tmp_path):
    file = tmp_path / "preview.json"
    words = ("rules", "preview", "Coupon fails", "--tenant", "shop")
    code, said = closedloop(*words, "--issue", issue, "--json", file)
    assert code == 0
    assert "coupon AND fails matches 80 of 680 texts, 20 of them not of issue" in said
    assert "issue  my [coupon] fails" in said
    assert "other  another coupon fails" in said
    assert json.loads(file.read_text())["outside"] == 20
    assert "matches 80 of 680 texts\n" in closedloop(*words)[1]
    assert "matches 0 of" in closedloop(*words, "--channel", "web")[1]


def test_what_cannot_be_previewed_is_explained(closedloop, issue):
    code, said = closedloop("rules", "preview", "coupon", "--tenant", "bank")
    assert (code, "There are some of: shop" in said) == (3, True)
    assert closedloop("rules", "preview", "NOT coupon", "--tenant", "shop")[0] == 2

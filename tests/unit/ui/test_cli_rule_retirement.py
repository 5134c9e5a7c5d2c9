"""``closedloop rules proposals`` from evidence in the lake to a retired rule."""

import hashlib
import json
from datetime import UTC, datetime

import pytest

from closedloop.core.settings import Settings
from closedloop.core.store import Store
from closedloop.data.event import Event, Kind, new_event_id, to_table
from closedloop.data.lake import Lake
from closedloop.defence.rules.rule import Act, RuleDraft
from closedloop.defence.rules.rule_book import RuleBook
from closedloop.models.reference import ModelRef
from closedloop.models.registry import Registry

MODEL = "shop.intent.main"


@pytest.fixture
def rule(tmp_path):
    """A rule whose traffic the champion answers as it does."""
    settings = Settings(home=tmp_path / "home")
    store = Store.open(settings.store_url)
    draft = RuleDraft(
        tenant="shop", name="night", condition="coupon", act=Act.INTENT, value="outage"
    )
    rule = RuleBook(store).add(draft)
    store.close()
    registry = Registry(settings.registry_url, settings.artifacts_url)
    file = tmp_path / "trained.skops"
    file.write_bytes(b"one")
    ref = ModelRef.parse(MODEL)
    registry.register(ref, file, hashlib.sha256(b"one").hexdigest(), {})
    registry.promote(ref, 1)
    asked = {"shadow_model": MODEL, "shadow_version": "1", "shadow_confidence": "0.9"}
    events = [
        Event(
            event_id=new_event_id(),
            ts=datetime.now(UTC),
            tenant="shop",
            kind=Kind.PREDICTION,
            text=f"coupon {n}",
            rule_id=rule.id,
            prediction="outage",
            attributes=asked | {"shadow_prediction": "outage"},
        )
        for n in range(60)
    ]
    Lake(settings.lake_url).append("predictions", to_table(events))
    return rule


def test_a_rule_that_the_champion_has_learnt_is_proposed_and_retired(closedloop, rule, tmp_path):
    file = tmp_path / "proposals.json"
    code, said = closedloop("rules", "proposals", "--json", file)
    assert (code, "retire" in said, "100%, at least 94%" in said) == (0, True, True)
    found = json.loads(file.read_text())
    assert found["proposals"] == [rule.id]
    assert (found["evidence"][0]["texts"], found["evidence"][0]["means"]) == (60, "outage")
    assert (
        "is retired: shop.intent.main version 1 answers 60 of 60"
        in closedloop("rules", "proposals", "--accept", rule.id[:8])[1]
    )
    assert "60 of 60 different texts" in closedloop("rules", "history", rule.id[:8])[1]
    assert "rules.retire" in closedloop("audit", "list")[1]
    assert closedloop("rules", "proposals", "--accept", rule.id[:8])[0] == 3


def test_without_evidence_nothing_is_proposed(closedloop):
    assert "No champion has answered" in closedloop("rules", "proposals")[1]

"""What serving leaves of a rule's traffic is the evidence on which the rule is retired."""

import time
from dataclasses import replace

import pytest

from closedloop.core.store import Store
from closedloop.data.drain import drain_to_lake
from closedloop.data.lake import Lake
from closedloop.defence.rules.retirement import RetirementPolicy, proposals, weigh
from closedloop.defence.rules.retirement_evidence import labels, rule_answers
from closedloop.defence.rules.rule import Act, RuleDraft
from closedloop.defence.rules.rule_book import RuleBook
from closedloop.models.model_version import Champion
from closedloop.models.reference import ModelRef
from closedloop.models.trial import Stage, Trial
from closedloop.serve.catalog import Catalog
from closedloop.serve.rule_follower import RuleFollower

from .conftest import DESK

LEARNT = RuleDraft(
    tenant="shop", name="money", condition="refund* OR money", act=Act.INTENT, value="refund"
)
TEXTS = ["refund please", "refunds, please", "i want my money back", "money back please"]
POLICY = RetirementPolicy(least_texts=4, least_agreement=0.5, least_confidence=0.3)


@pytest.fixture
def evidence(desk, tmp_path):
    """Returns a function that adds a rule, asks as it is told, and weighs what that left."""
    store = Store.open(f"sqlite:///{tmp_path / 'store.db'}")
    book, lake = RuleBook(store), Lake(str(tmp_path / "lake"))
    desk.service.rules = RuleFollower(book.since)

    def weighed(ask, *, draft=LEARNT, version=3):
        book.add(draft)
        desk.service.rules.look()
        ask()
        assert desk.events()
        drain_to_lake(desk.log, lake)
        rules = book.all()
        answers = rule_answers(lake, rules, now=time.time(), days=1)
        return weigh(rules, answers, labels(lake), {DESK: version}, policy=POLICY)

    yield weighed
    store.close()


def predict(desk):
    return lambda: desk.post(f"/v1/models/{DESK}:predict", {"texts": TEXTS})


def test_predictions_under_a_rule_show_that_the_model_has_learnt_it(desk, evidence):
    (found,) = evidence(predict(desk))
    assert (found.model, found.texts, found.agreeing, found.missing) == (DESK, 4, 4, "")
    assert [each.rule.name for each in proposals([found])] == ["money"]


def test_turns_that_a_rule_decides_show_it_too(desk, evidence):
    (found,) = evidence(lambda: [desk.post("/v1/turn", {"text": text}) for text in TEXTS])
    assert (found.texts, found.agreeing, found.missing) == (4, 4, "")


def test_a_model_that_answers_otherwise_keeps_the_rule(desk, evidence):
    (found,) = evidence(predict(desk), draft=replace(LEARNT, value="coupon"))
    assert (found.texts, found.agreeing) == (4, 0)
    assert proposals([found]) == []


def test_what_a_version_shows_in_shadow_counts_once_it_is_champion(desk, evidence):
    champion = Champion(ref=ModelRef.parse(DESK), version=3, path="/m", sha256="")
    trial = Trial(candidate=replace(champion, version=4), stage=Stage.SHADOW)
    desk.host.apply(Catalog.of([champion], [trial])).result(10)

    def ask():
        predict(desk)()
        ends = time.monotonic() + 20
        while len(desk.events()) < len(TEXTS):  # written once the other version has answered
            assert time.monotonic() < ends

    (found,) = evidence(ask, version=4)
    assert (found.version, found.texts, found.agreeing) == (4, 4, 4)

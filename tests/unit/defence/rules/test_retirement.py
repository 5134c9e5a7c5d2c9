from dataclasses import replace

import polars as pl
import pytest

from closedloop.core.errors import Conflict, NotFound
from closedloop.core.store import Store
from closedloop.defence.rules.retirement import (
    RetirementPolicy,
    accept,
    chosen,
    proposals,
    weigh,
)
from closedloop.defence.rules.rule import Act, RuleDraft
from closedloop.defence.rules.rule_book import RuleBook

MODEL, OTHER = "shop.svm.intent", "shop.svm.mood"
DRAFT = RuleDraft(
    tenant="shop", name="night", condition="coupon fails", act=Act.INTENT, value="outage"
)
SAID = replace(DRAFT, act=Act.ANSWER, value="At it.")


@pytest.fixture
def book(tmp_path):
    store = Store.open(f"sqlite:///{tmp_path / 'store.db'}")
    yield RuleBook(store)
    store.close()


def answers(rule, right=50, wrong=0, *, model=MODEL, version=2, confidence=0.9, label="outage"):
    rows = [(f"coupon fails {n}", label) for n in range(right)]
    rows += [(f"coupon fails now {n}", "greeting") for n in range(wrong)]
    return pl.DataFrame(
        {
            "rule_id": [rule.id for _ in rows],
            "model": [model for _ in rows],
            "version": [version for _ in rows],
            "text": [text for text, _ in rows],
            "answer": [answer for _, answer in rows],
            "confidence": [confidence for _ in rows],
            "times": [3 for _ in rows],
        }
    )


def labelled(*rows):
    schema = {"model": pl.String, "text": pl.String, "label": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def found(rule, frame, labels=None, **champions):
    labels = labelled() if labels is None else labels
    return weigh([rule], frame, labels, {MODEL: 2, OTHER: 1} | champions)


def test_a_rule_that_the_champion_has_learnt_is_proposed(book):
    rule = book.add(DRAFT)
    (proposal,) = proposals(found(rule, answers(rule)))
    assert (proposal.rule, proposal.model, proposal.version) == (rule, MODEL, 2)
    assert (proposal.texts, proposal.agreement.value) == (50, 1.0)
    assert 0.92 < proposal.agreement.low < 0.94
    assert "50 of 50 different texts" in proposal.reason
    assert "150 times" in proposal.reason


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"right": 39}, "39 of 40 different texts"),
        ({"right": 46, "wrong": 4}, "it agrees on 92% of them, at least 81%; 90% is needed"),
        ({"confidence": 0.4}, "it agrees on 0%"),
        ({"label": "Outage"}, "it agrees on 0%"),
    ],
)
def test_what_is_missing_is_told(book, changes, missing):
    rule = book.add(DRAFT)
    weighed = found(rule, answers(rule, **changes))
    assert missing in weighed[0].missing
    assert proposals(weighed) == []


def test_only_the_present_champion_counts(book):
    rule = book.add(DRAFT)
    frame = pl.concat([answers(rule, version=1), answers(rule, right=3, version=2)])
    assert found(rule, frame)[0].texts == 3
    assert found(rule, answers(rule, version=1)) == []


def test_a_text_that_comes_again_and_again_counts_once(book):
    rule = book.add(DRAFT)
    once = answers(rule, right=1)
    shouted = once.with_columns(pl.col("text").str.to_uppercase() + "  ")
    assert found(rule, pl.concat([once, shouted]))[0].texts == 1
    # Where one of its forms is answered otherwise, the model has not learnt it.
    other = shouted.with_columns(pl.lit("greeting").alias("answer"))
    assert found(rule, pl.concat([once, other]))[0].agreeing == 0


def test_texts_that_the_model_was_trained_on_are_told(book):
    rule = book.add(DRAFT)
    labels = labelled(
        (MODEL, "Coupon  fails 1", "outage"), (OTHER, "coupon fails 2", "x"), (MODEL, "hello", "y")
    )
    (proposal,) = proposals(found(rule, answers(rule), labels))
    assert proposal.evidence[0].trained_on == 1
    assert "1 of them it was trained on" in proposal.reason


def test_every_model_that_gets_its_traffic_must_have_learnt_it(book):
    rule = book.add(DRAFT)
    mood = answers(rule, right=10, model=OTHER, version=1, label="angry")
    weighed = found(rule, pl.concat([answers(rule), mood]))
    assert [each.model for each in weighed] == [MODEL, OTHER]
    assert proposals(weighed) == []
    rare = answers(rule, right=2, model=OTHER, version=1, label="angry")
    assert len(proposals(found(rule, pl.concat([answers(rule), rare])))) == 1


def test_what_a_rule_that_says_a_text_stands_for_is_told_by_labels(book):
    rule = book.add(SAID)
    (none,) = found(rule, answers(rule))
    assert "no labelled texts" in none.missing
    few = [(MODEL, f"my coupon fails {n}", "outage") for n in range(4)]
    assert "no labelled texts" in found(rule, answers(rule), labelled(*few))[0].missing
    beside = [(MODEL, "where is my parcel", "delivery")] * 9
    enough = labelled(*few, (MODEL, "coupon fails again", "outage"), *beside)
    (proposal,) = proposals(found(rule, answers(rule), enough))
    assert proposal.evidence[0].means == "outage"
    mixed = labelled(*few, *[(MODEL, f"coupon fails so {n}", "refund") for n in range(4)])
    assert "no labelled texts" in found(rule, answers(rule), mixed)[0].missing
    others = labelled(*[("bank" + each[0][4:], *each[1:]) for each in enough.iter_rows()])
    assert "no labelled texts" in found(rule, answers(rule), others)[0].missing


def test_a_rule_of_all_tenants_is_told_by_each_models_labels(book):
    rule = book.add(replace(SAID, tenant="*", channels=("web",)))
    labels = labelled(*[(MODEL, f"coupon fails {n}", "outage") for n in range(5)])
    assert found(rule, answers(rule), labels)[0].means == "outage"


def test_rules_that_do_not_decide_are_not_proposed(book):
    dry = book.add(replace(DRAFT, dry_run=True))
    gone = book.retire(book.add(DRAFT).id, "done")
    for rule in (dry, gone):
        assert found(rule, answers(rule)) == []


def test_an_accepted_proposal_retires_the_rule_with_its_evidence(book):
    rule = book.add(DRAFT)
    every = proposals(found(rule, answers(rule)))
    retired = accept(book, chosen(every, rule.id[:6]), who="ann")
    assert (retired.retired, retired.changed_by) == (every[0].reason, "ann")
    with pytest.raises(Conflict, match="retired already"):
        accept(book, every[0], who="bob")
    for name in ("nope", ""):
        with pytest.raises(NotFound, match="proposals are about"):
            chosen(every, name)


def test_a_stricter_policy_asks_for_more(book):
    rule = book.add(DRAFT)
    policy = RetirementPolicy(least_agreement=0.95)
    weighed = weigh([rule], answers(rule), labelled(), {MODEL: 2}, policy=policy)
    assert "95% is needed" in weighed[0].missing

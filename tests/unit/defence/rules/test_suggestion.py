import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from closedloop.data.simulate.dialogues import simulate_turns
from closedloop.data.simulate.scenario import Burst, Scenario
from closedloop.defence.rules.expression import MAX_TERMS, parse, terms
from closedloop.defence.rules.rule import Act, Rule
from closedloop.defence.rules.rule_set import RuleSet
from closedloop.defence.rules.suggestion import suggest
from closedloop.defence.rules.suggestion_terms import candidate_terms

USUAL = ["where is my order", "my coupon please", "cancel the order", "it fails to load"] * 25


def matched(condition, texts):
    rule = Rule(
        id="r",
        revision=1,
        created_at=0.0,
        changed_at=0.0,
        tenant="shop",
        name="r",
        condition=condition,
        act=Act.HAND_OVER,
    )
    rules = RuleSet([rule])
    return sum(bool(rules.apply(text, tenant="shop")) for text in texts)


def written(texts, usual=USUAL):
    return [each.condition for each in suggest(texts, usual)]


def test_a_word_that_only_the_issue_has_is_enough():
    assert written(["the warehouse is flooded", "flooded again", "is it flooded"] * 5) == [
        "flooded"
    ]


def test_words_that_others_use_too_are_joined():
    assert written(["my coupon fails", "coupon fails again"] * 10)[0] == "coupon AND fails"


def test_what_all_clauses_share_is_written_once():
    texts = ["my coupon fails", "coupon invalid", "the coupon is grey"] * 5
    usual = ["my coupon", "it fails", "invalid date", "a grey coat"] * 20
    [best, *_] = written(texts, usual)
    assert best.startswith("coupon AND (")
    assert best.count("coupon") == 1
    assert {"fails", "invalid", "grey"} <= {term.text for term in terms(parse(best))}


def test_one_word_in_several_forms_gets_an_asterisk():
    assert written(["coupons bad", "coupon bad"] * 5, ["bad day", "bad night"] * 30) == ["coupon*"]


def test_a_usual_meaning_is_excluded():
    texts = ["the app is down", "is it down", "all down again"] * 10
    usual = USUAL + ["where is my down jacket", "the down jacket is small"] * 10
    [best, *_] = suggest(texts, usual)
    assert (best.inside, best.outside) == (30, 0)
    assert "NOT" in best.condition or "is down" in best.condition


def test_chinese_is_cut_into_words():
    texts = ["零点券用不了", "我的零点券失效了", "零点券领不了怎么办"] * 5
    usual = ["我的券在哪里", "快递什么时候到", "这个用不了"] * 25
    assert written(texts, usual) == ["零点"]


def test_a_mix_of_languages_is_covered_by_both():
    texts = ["midnight coupon fails", "零点券用不了"] * 10
    best = suggest(texts, USUAL + ["我的券在哪里"] * 20)[0]
    assert best.recall == 1.0
    assert " OR " in best.condition


def test_function_words_alone_are_no_condition():
    texts = ["is it the", "so it is", "what is it"] * 5
    assert written(texts) == []


def test_masked_data_is_no_term():
    texts = ["call <PHONE> now", "my <PHONE> rings", "<PHONE>"] * 5
    found = {str(term) for term in candidate_terms([t.lower() for t in texts], least=2)}
    assert "phone" not in found
    assert "call" in found
    assert "call now" not in found  # what is masked stands between


def test_what_is_too_long_to_read_is_no_term():
    assert written([f"{'x' * 200} flooded"] * 5) == ["flooded"]


def test_an_issue_that_words_do_not_tell_gets_no_suggestion():
    assert suggest(USUAL[:40], USUAL) == []


def test_nothing_comes_of_nothing():
    assert suggest([], USUAL) == []
    assert suggest(["", " "], USUAL) == []
    assert written(["grey coupon"], []) != []


def test_the_figures_are_those_of_the_compiled_rules():
    random.seed(3)
    night = Burst(issue="promo_coupon_outage", start_s=60, duration_s=10_000, share=0.2)
    issue, usual = [], []
    for turn in simulate_turns(Scenario(seed=2, turns=2_000, bursts=(night,))):
        (issue if turn.burst else usual).append(turn.text)
    learnt, later = issue[:150], issue[150:]
    found = suggest(learnt, usual[:1_000])
    assert found
    for each in found:
        assert each.inside == matched(each.condition, learnt)
        assert each.outside == matched(each.condition, usual[:1_000])
        assert each.recall == pytest.approx(each.inside / len(learnt))
        assert each.precision == pytest.approx(each.inside / (each.inside + each.outside))
    # Texts that it has not seen: most of a burst's recall stays, and little else is hit.
    best = found[0].condition
    assert matched(best, later) / len(later) > 0.7 * found[0].recall
    assert matched(best, usual[1_000:]) / len(usual[1_000:]) < 0.01


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.text("ab 券零了*\"'<>", max_size=12), max_size=20),
    st.lists(st.text("ab 券零了*\"'<>", max_size=12), max_size=30),
)
def test_whatever_the_texts_a_suggestion_can_be_a_rule(inside, outside):
    found = suggest(inside, outside)
    assert found == suggest(inside, outside)
    assert len(found) <= 3
    for each in found:
        assert str(parse(each.condition)) == each.condition
        assert sum(1 for _ in terms(parse(each.condition))) <= MAX_TERMS
        assert each.inside == matched(each.condition, inside) > 0
        assert each.outside == matched(each.condition, outside)

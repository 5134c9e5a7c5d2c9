import pytest
from hypothesis import given
from hypothesis import strategies as st

from closedloop.core.errors import InputError
from closedloop.defence.rules.expression import holds, parse, terms
from closedloop.defence.rules.findings import Trouble, findings
from closedloop.defence.rules.rule import Act, Rule
from closedloop.defence.rules.term_index import TermIndex


def rule(name, condition, value="same", **more):
    values = {"tenant": "shop", "act": Act.INTENT, "revision": 1, "created_at": float(ord(name))}
    return Rule(
        **{"id": name, "name": name, "condition": condition, "value": value, **values, **more},
        changed_at=0.0,
    )


def told(*rules):
    return [(each.rule.name, each.trouble, each.by.name) for each in findings(rules)]


@pytest.mark.parametrize(
    ("first", "second", "trouble"),
    [
        ("coupon", "coupon", Trouble.DOUBLED),
        ("coupon OR refund", "refund OR coupon", Trouble.DOUBLED),
        ("coupon", "coupon fails", Trouble.SHADOWED),
        ("coupon OR refund", "coupon", Trouble.SHADOWED),
        ("优惠券", "新人优惠券", Trouble.SHADOWED),
        ("valid", '"not valid"', Trouble.SHADOWED),
        ("coupon*", "coupons", Trouble.SHADOWED),
        ("a NOT b", "a NOT b NOT c", Trouble.SHADOWED),
        ('a NOT "x b"', "a NOT b", Trouble.SHADOWED),
        ("coupon fails", "coupon", None),
        ("a NOT b", "a", None),
        ("a NOT b", 'a NOT "x b"', None),
        ("art", "cart", None),
        ("coupon", "coupon*", None),
    ],
)
def test_what_another_rule_covers_is_told(first, second, trouble):
    expected = [("b", trouble, "a")] if trouble else []
    assert told(rule("a", first), rule("b", second)) == expected


def test_another_act_at_the_same_priority_is_a_conflict_else_a_shadow():
    assert told(rule("a", "x"), rule("b", "x y", "other")) == [("b", Trouble.CONFLICT, "a")]
    first = rule("a", "x", priority=1)
    assert told(first, rule("b", "x y", "other")) == [("b", Trouble.SHADOWED, "a")]
    assert told(rule("a", "x"), rule("b", "x y", "other", priority=1)) == []


@pytest.mark.parametrize(
    "first",
    [
        {"tenant": "other"},
        {"channels": ("app",)},
        {"expires_at": 50.0},
        {"dry_run": True},
        {"retired": "done"},
    ],
)
def test_a_rule_that_does_not_reach_as_far_covers_nothing(first):
    assert told(rule("a", "x", **first), rule("b", "x")) == []


def test_a_rule_of_all_tenants_that_goes_first_covers():
    everywhere = rule("a", "x", tenant="*", priority=1)
    assert told(everywhere, rule("b", "x")) == [("b", Trouble.DOUBLED, "a")]


def test_a_finding_is_a_sentence_that_names_both():
    [found] = findings([rule("a", "x"), rule("b", "x y", "other")])
    assert "“b” never decides: “a”" in str(found)


WORDS = ["a", "b", "c", "ab", "优", "优惠", "a b"]
CONDITIONS = st.lists(
    st.sampled_from([*WORDS, "a*", "AND", "OR", "NOT", "(", ")"]), min_size=1, max_size=8
).map(lambda words: " ".join(f'"{word}"' if " " in word else word for word in words))


def is_condition(text):
    try:
        parse(text)
    except InputError:
        return False
    return True


@given(
    CONDITIONS.filter(is_condition),
    CONDITIONS.filter(is_condition),
    st.lists(st.sampled_from([*WORDS, "ax"]), max_size=5).map(" ".join),
)
def test_no_text_is_the_covered_rules_alone(first, second, text):
    pair = [rule("a", first), rule("b", second)]
    found = TermIndex(term for each in pair for term in terms(each.expression)).found_in(text)
    if told(*pair) and holds(pair[1].expression, found.__contains__):
        assert holds(pair[0].expression, found.__contains__)

import pytest
from hypothesis import given
from hypothesis import strategies as st

from closedloop.core.errors import InputError
from closedloop.defence.rules.expression import holds, parse, terms
from closedloop.defence.rules.rule import Act, Rule, RuleDraft
from closedloop.defence.rules.rule_set import RuleSet, triggers
from closedloop.defence.rules.term_index import TermIndex

NOW = 1_000.0


def rule(condition, name="", **more):
    number = name or condition
    values = {
        "tenant": "shop",
        "act": Act.INTENT,
        "value": f"intent of {condition}",
        "created_at": NOW,
        "changed_at": NOW,
        "revision": 1,
    }
    return Rule(**{"id": number, "name": number, "condition": condition, **values, **more})


def ids(hits):
    decides = hits.decides.id if hits.decides else None
    return decides, [dry.id for dry in hits.dry_runs]


def apply(rules, text, *, tenant="shop", channel=None, now=NOW):
    return ids(RuleSet(rules, clock=lambda: now).apply(text, tenant=tenant, channel=channel))


def test_the_rule_whose_condition_holds_decides():
    rules = [rule("coupon AND fails"), rule("refund")]
    assert apply(rules, "My COUPON fails") == ("coupon AND fails", [])
    assert apply(rules, "refund me") == ("refund", [])
    assert apply(rules, "coupon") == (None, [])


def test_priority_then_the_tenants_own_then_the_older_goes_first():
    low = rule("coupon", "low", priority=-1)
    common = rule("coupon", "common", tenant="*", created_at=NOW - 9)
    older = rule("coupon", "older", created_at=NOW - 5)
    newer = rule("coupon", "newer", created_at=NOW - 1)
    urgent = rule("coupon", "urgent", tenant="*", priority=5)
    everything = [low, common, newer, older, urgent]
    for expected in ("urgent", "older", "newer", "common", "low"):
        assert apply(everything, "coupon") == (expected, [])
        everything = [each for each in everything if each.id != expected]


def test_a_rule_stays_with_its_tenant_and_its_channels():
    own = rule("coupon", "own")
    app = rule("coupon", "app", tenant="*", channels=("app", "web"))
    assert apply([own, app], "coupon", tenant="other") == (None, [])
    assert apply([own, app], "coupon", tenant="other", channel="app") == ("app", [])
    assert apply([own, app], "coupon", tenant="other", channel="phone") == (None, [])
    assert apply([own, app], "coupon", channel="app") == ("own", [])


def test_what_has_expired_or_retired_does_not_apply():
    short = rule("coupon", "short", expires_at=NOW + 60, priority=1)
    gone = rule("coupon", "gone", retired="learnt", priority=2)
    rules = [short, gone, rule("coupon", "long")]
    assert apply(rules, "coupon") == ("short", [])
    assert apply(rules, "coupon", now=NOW + 60) == ("long", [])


def test_a_dry_run_is_told_and_decides_nothing():
    rules = [rule("coupon", "dry", dry_run=True, priority=9), rule("coupon", "real")]
    assert apply(rules, "coupon") == ("real", ["dry"])
    assert apply(rules[:1], "coupon") == (None, ["dry"])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": " "}, "name"),
        ({"name": "n" * 121}, "121 characters"),
        ({"tenant": ""}, "no tenant"),
        ({"priority": 1_001}, "priority 1001"),
        ({"value": ""}, "intent"),
        ({"act": Act.ANSWER, "value": "x" * 2_001}, "answer"),
        ({"condition": "NOT a"}, "none of its terms"),
    ],
)
def test_a_draft_that_cannot_be_a_rule_is_explained(changes, said):
    values = {"tenant": "shop", "name": "夜 coupon", "condition": "a", "value": "x"}
    draft = RuleDraft(**{"act": Act.INTENT, **values, **changes})
    with pytest.raises(InputError, match=said):
        draft.checked()


WORDS = [*"abcdefgh", "a b", "b c"]
CONDITIONS = st.lists(
    st.sampled_from([*WORDS, "AND", "OR", "NOT", "(", ")"]), min_size=1, max_size=9
).map(lambda words: " ".join(f'"{word}"' if " " in word else word for word in words))


def read(condition):
    try:
        return parse(condition)
    except InputError:
        return None


@given(
    st.lists(CONDITIONS.filter(read), max_size=8, unique=True),
    st.lists(st.sampled_from("abcdefghx"), max_size=6).map(" ".join),
)
def test_the_index_finds_what_asking_every_rule_finds(conditions, text):
    rules = [rule(condition) for condition in conditions]
    found = TermIndex(term for each in rules for term in terms(each.expression)).found_in(text)
    expected = [each for each in rules if holds(each.expression, found.__contains__)]
    assert apply(rules, text)[0] == min(
        (each.id for each in expected), default=None, key=lambda i: (NOW, i)
    )


@given(CONDITIONS.filter(read), st.sets(st.sampled_from(WORDS)))
def test_one_trigger_at_least_is_wherever_a_condition_holds(condition, there):
    expression = read(condition)
    needed = triggers(expression)
    assert needed
    if holds(expression, lambda term: term.text in there):
        assert {term.text for term in needed} & there


def test_a_condition_of_too_many_clauses_is_asked_itself():
    words = [" OR ".join(f"{letter}{n}" for n in range(4)) for letter in "abcd"]
    long = rule(" AND ".join(f"({each})" for each in words), "long")
    assert long.clauses is None
    rules = [long, rule("a0", "short", priority=-1)]
    assert apply(rules, "a0 b1 c2 d3") == ("long", [])
    assert apply(rules, "a0 b1 c2") == ("short", [])


def test_a_common_word_of_many_rules_brings_up_the_one_that_has_all_its_words():
    rules = [rule(f"coupon AND shop{n} NOT refund", str(n)) for n in range(3_000)]
    assert apply(rules, "coupon of shop2999") == ("2999", [])
    assert apply(rules, "coupon of shop2999, refund") == (None, [])
    assert len(RuleSet(rules)) == 3_000

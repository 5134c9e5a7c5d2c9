import pytest
from hypothesis import given
from hypothesis import strategies as st

from closedloop.defence.rules.clauses import clauses
from closedloop.defence.rules.expression import All, Any, Not, Term, holds, parse

TERMS = [Term(letter) for letter in "abcde"]
trees = st.recursive(
    st.sampled_from(TERMS),
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(lambda parts: All(tuple(parts)), st.lists(inner, min_size=2, max_size=3)),
        st.builds(lambda parts: Any(tuple(parts)), st.lists(inner, min_size=2, max_size=3)),
    ),
    max_leaves=10,
)


@given(trees, st.sets(st.sampled_from(TERMS)))
def test_one_clause_holds_exactly_where_the_condition_does(tree, there):
    found = clauses(tree)
    if found is None:
        return
    by_clause = any(c.required <= there and c.excluded.isdisjoint(there) for c in found)
    assert by_clause == holds(tree, there.__contains__)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [("a OR a AND b", ["a"]), ("a AND NOT a OR b", ["b"]), ("a AND (b OR c)", ["a b", "a c"])],
)
def test_what_adds_nothing_is_left_out(condition, expected):
    written = [
        " ".join(sorted(term.text for term in c.required)) for c in clauses(parse(condition))
    ]
    assert written == expected

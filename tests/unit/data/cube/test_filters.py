import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from closedloop.core.errors import InputError
from closedloop.data.cube.filters import (
    EVERYTHING,
    And,
    Contains,
    In,
    IsNull,
    Not,
    Or,
    Prefix,
    Range,
    conjuncts,
    from_json,
    to_expression,
    to_json,
)

ROWS = pl.DataFrame({"merchant": ["m1", "m2", None, "商家一"], "version": [1, 2, 3, None]})

conditions = st.one_of(
    st.builds(In, field=st.just("merchant"), values=st.tuples(st.sampled_from(["m1", "商家一"]))),
    st.builds(Prefix, field=st.just("merchant"), prefix=st.sampled_from(["m", "商", ""])),
    st.builds(Contains, field=st.just("merchant"), part=st.sampled_from(["M1", "家", "%"])),
    st.builds(IsNull, field=st.sampled_from(["merchant", "version"])),
    st.builds(Range, field=st.just("version"), low=st.integers(0, 3), high=st.none()),
)
trees = st.recursive(
    conditions,
    lambda inner: st.one_of(
        st.builds(lambda parts: And(all_of=tuple(parts)), st.lists(inner, max_size=3)),
        st.builds(lambda parts: Or(any_of=tuple(parts)), st.lists(inner, max_size=3)),
        st.builds(lambda part: Not(part=part), inner),
    ),
    max_leaves=12,
)


def holds(tree, row):
    """The tree's meaning, spelled out."""
    match tree:
        case And(all_of=parts):
            return all(holds(part, row) for part in parts)
        case Or(any_of=parts):
            return any(holds(part, row) for part in parts)
        case Not(part=part):
            return not holds(part, row)
    value = row[tree.field]
    match tree:
        case IsNull():
            return value is None
        case _ if value is None:
            return False
        case In(values=values):
            return value in values
        case Prefix(prefix=prefix):
            return value.startswith(prefix)
        case Contains(part=part):
            return part.lower() in value.lower()
        case Range(low=low, high=high):
            return (low is None or value >= low) and (high is None or value <= high)


@given(trees)
def test_an_expression_selects_what_the_tree_says_and_is_never_null(tree):
    selected = ROWS.select(to_expression(tree).alias("x")).with_columns(
        pl.when(ROWS.height > 0).then(pl.col("x")).alias("x")
    )
    found = selected["x"].to_list() * (ROWS.height // selected.height)
    assert found == [holds(tree, row) for row in ROWS.to_dicts()]


@given(trees)
def test_a_tree_survives_json(tree):
    assert from_json(to_json(tree)) == tree


@given(trees)
def test_conjuncts_hold_together_exactly_where_the_tree_does(tree):
    rows = ROWS.to_dicts()
    assert [holds(tree, r) for r in rows] == [
        all(holds(part, r) for part in conjuncts(tree)) for r in rows
    ]


def test_nothing_asked_is_everything():
    assert ROWS.filter(to_expression(EVERYTHING)).height == ROWS.height


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        {"in": {"field": "merchant"}},
        {"in": {"field": 3, "values": []}},
        {"like": {"field": "merchant"}},
        {"and": [], "or": []},
        {"range": {"field": "version", "lowest": 1}},
    ],
)
def test_what_is_not_a_filter_is_refused_and_shown(value):
    with pytest.raises(InputError, match="not a filter"):
        from_json(value)


def test_nesting_without_end_is_refused():
    value = {"null": {"field": "merchant"}}
    for _ in range(200):
        value = {"not": value}
    with pytest.raises(InputError, match="not a filter"):
        from_json(value)

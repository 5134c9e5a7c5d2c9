import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from closedloop.core.errors import InputError
from closedloop.data.cube.declaration import DEFAULT
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
    to_expression,
)
from closedloop.ui.app.explore_draft import (
    Condition,
    Group,
    Kind,
    Op,
    added,
    find,
    kinds,
    new_key,
    put,
    removed,
    walk,
)
from closedloop.ui.app.explore_draft_filter import from_filter, incomplete, to_filter

FIELDS = kinds(DEFAULT)
NAMES = ["a", "b", "退款", None]
FRAME = pl.DataFrame(
    [
        {
            "intent": NAMES[i % 4],
            "merchant": NAMES[(i // 4) % 4],
            "hour": i % 24,
            "confidence": None if i % 5 == 0 else i % 10 / 10,
            "bad": i % 3 == 0,
        }
        for i in range(240)
    ]
)
texts = st.sampled_from(["intent", "merchant"])
values = st.sampled_from(["a", "b", "退款"])
leaves = st.one_of(
    st.builds(
        lambda f, v: In(field=f, values=tuple(v)), texts, st.lists(values, max_size=2, unique=True)
    ),
    st.builds(lambda f, v: Prefix(field=f, prefix=v), texts, values),
    st.builds(lambda f, v: Contains(field=f, part=v), texts, values),
    st.builds(lambda f: IsNull(field=f), texts),
    st.builds(lambda v: In(field="bad", values=(v,)), st.booleans()),
    st.builds(lambda v: In(field="hour", values=(v,)), st.integers(0, 23)),
    st.builds(
        lambda low, high: Range(field="confidence", low=low, high=high),
        st.sampled_from([None, 0.2, 0.5]),
        st.sampled_from([None, 0.4, 0.8]),
    ),
    st.sampled_from([And(), Or()]),
)
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(lambda p: And(all_of=tuple(p)), st.lists(inner, max_size=3)),
        st.builds(lambda p: Or(any_of=tuple(p)), st.lists(inner, max_size=3)),
        st.builds(lambda p: Not(part=p), inner),
    ),
    max_leaves=10,
)


def selected(tree):
    return FRAME.filter(to_expression(tree))


@given(tree=trees)
@settings(max_examples=300)
def test_a_filter_survives_the_form(tree):
    refused = ""
    try:
        draft = from_filter(tree, FIELDS)
    except InputError as error:
        refused = error.message
    if refused:
        assert "nested deeper" in refused or selected(tree).is_empty()
        return
    assert selected(to_filter(draft, FIELDS)).equals(selected(tree))
    keys = [part.key for part, _ in walk(draft)]
    assert len(keys) == len(set(keys))


def test_fields_have_kinds():
    assert FIELDS["intent"] is Kind.TEXT
    assert FIELDS["hour"] is FIELDS["version"] is FIELDS["latency_ms"] is Kind.NUMBER
    assert FIELDS["bad"] is Kind.FLAG
    assert FIELDS["day"] is Kind.DAY
    assert "attributes" not in FIELDS
    assert next(iter(FIELDS)) == "month"


def test_building_a_nested_group_by_hand():
    root = added(Group(key=0), 0, Condition(key=1, field="language", values=("zh",)))
    root = added(root, 0, Group(key=2, any_of=True))
    assert to_filter(root, FIELDS) == And(all_of=(In(field="language", values=("zh",)),))
    root = added(root, 2, Condition(key=new_key(root), field="bad", values=("yes",)))
    root = added(root, 2, Condition(key=new_key(root), field="hour", op=Op.FROM_TO))
    root = put(root, Condition(key=4, field="hour", op=Op.FROM_TO, values=("9", "")))
    assert to_filter(root, FIELDS) == And(
        all_of=(
            In(field="language", values=("zh",)),
            Or(any_of=(In(field="bad", values=(True,)), Range(field="hour", low=9))),
        )
    )
    assert find(root, 4).field == "hour"
    assert find(removed(root, 2), 4) is None
    assert to_filter(removed(root, 0), FIELDS) == EVERYTHING


def test_what_is_incomplete_is_left_out():
    parts = (
        Condition(key=1, field="intent"),
        Condition(key=2, field="intent", op=Op.STARTS, values=("",)),
        Condition(key=3, field="hour", op=Op.FROM_TO, values=("", "")),
        Group(key=4, negated=True, parts=(Condition(key=5, field="intent"),)),
    )
    root = Group(key=0, parts=parts)
    assert to_filter(root, FIELDS) == EVERYTHING
    assert incomplete(root) == 4
    assert incomplete(added(root, 0, Condition(key=9, field="intent", op=Op.EMPTY))) == 4


def test_a_text_where_a_number_should_be_is_named():
    root = Group(key=0, parts=(Condition(key=1, field="hour", values=("noon",)),))
    with pytest.raises(InputError, match="'noon' is no number"):
        to_filter(root, FIELDS)


def test_sql_habits_become_flat_groups():
    nested = And(
        all_of=(
            And(all_of=(In(field="intent", values=("a",)), In(field="bad", values=(True,)))),
            Not(part=IsNull(field="merchant")),
        )
    )
    root = from_filter(nested, FIELDS)
    assert [part.op for part in root.parts] == [Op.IS, Op.IS, Op.NOT_EMPTY]


@pytest.mark.parametrize("tree", [Or(), In(field="intent", values=()), Not(part=And())])
def test_a_filter_that_selects_nothing_is_said(tree):
    with pytest.raises(InputError, match="selects nothing"):
        from_filter(tree, FIELDS)


def test_a_field_and_a_depth_that_the_form_has_not():
    with pytest.raises(InputError, match="no field 'colour'"):
        from_filter(In(field="colour", values=("red",)), FIELDS)
    tree = In(field="intent", values=("a",))
    for level in range(6):
        other = In(field="hour", values=(level,))
        tree = (Or(any_of=(other, tree)), And(all_of=(other, tree)))[level % 2]
    with pytest.raises(InputError, match="deeper than 5"):
        from_filter(tree, FIELDS)

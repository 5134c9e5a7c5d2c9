from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given, settings
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
    to_expression,
)
from closedloop.ui.filter_text import from_sql, in_sql, in_words

NAMES = ["alpha", "A'B", "退款", "100%", "ab", None]
FRAME = pl.DataFrame(
    [
        {
            "day": f"2026-10-0{1 + i % 7}",
            "hour": i % 24,
            "intent": NAMES[i % 6],
            "merchant": NAMES[(i // 6) % 6],
            "confidence": None if i % 5 == 0 else i % 10 / 10,
            "bad": i % 3 == 0,
            "ts": datetime(2026, 10, 1, tzinfo=UTC),
        }
        for i in range(180)
    ]
)
values = st.sampled_from([name for name in NAMES if name])
texts = st.sampled_from(["intent", "merchant"])
leaves = st.one_of(
    st.builds(
        lambda f, v: In(field=f, values=tuple(v)), texts, st.lists(values, max_size=3, unique=True)
    ),
    st.builds(lambda f, v: Prefix(field=f, prefix=v), texts, values),
    st.builds(lambda f: Contains(field=f, part="A"), texts),
    st.builds(lambda f: IsNull(field=f), st.sampled_from(["intent", "confidence"])),
    st.builds(lambda v: In(field="bad", values=(v,)), st.booleans()),
    st.builds(lambda v: In(field="hour", values=(v,)), st.integers(0, 23)),
    st.builds(
        lambda low, high: Range(field="confidence", low=low, high=high),
        st.one_of(st.none(), st.sampled_from([0.2, 0.5])),
        st.one_of(st.none(), st.sampled_from([0.4, 0.8])),
    ),
    st.just(Range(field="day", low="2026-10-02", high="2026-10-04")),
)
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(lambda p: And(all_of=tuple(p)), st.lists(inner, max_size=3)),
        st.builds(lambda p: Or(any_of=tuple(p)), st.lists(inner, max_size=3)),
        st.builds(lambda p: Not(part=p), inner),
    ),
    max_leaves=8,
)


@given(tree=trees)
@settings(max_examples=200)
def test_what_is_written_as_sql_selects_the_same_rows(tree):
    again = from_sql(in_sql(tree))
    assert FRAME.filter(to_expression(again)).equals(FRAME.filter(to_expression(tree)))


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        (EVERYTHING, "every turn"),
        (Or(), "no turn"),
        (In(field="intent", values=("a", "b", "c")), "intent is a, b or c"),
        (In(field="bad", values=(True,)), "bad is yes"),
        (Not(part=In(field="intent", values=("退款",))), "intent is not 退款"),
        (In(field="m", values=tuple("abcdefgh")), "m is a, b, c, d, e, f or one of 2 more"),
        (Range(field="day", low="2026-10-01"), "day is at least 2026-10-01"),
        (
            And(
                all_of=(
                    In(field="language", values=("zh",)),
                    Or(any_of=(IsNull(field="merchant"), Prefix(field="product", prefix="p1"))),
                    Not(part=And(all_of=(In(field="bad", values=(False,)),))),
                )
            ),
            "language is zh and (merchant is empty or product starts with p1) and not (bad is no)",
        ),
    ],
)
def test_a_filter_in_plain_words(tree, words):
    assert in_words(tree) == words


@pytest.mark.parametrize("text", ["", "  ", "WHERE ", "where language = 'zh'", "language = 'zh';"])
def test_conditions_as_people_paste_them(text):
    expected = In(field="language", values=("zh",)) if "zh" in text else EVERYTHING
    assert from_sql(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("language = ", "not understood"),
        ("language = 'zh' LIMIT 5", "more than a condition"),
        ("language = 'zh' ORDER BY turns", "more than a condition"),
        ("language = 'zh'; DROP TABLE task", "not understood"),
        ("intent LIKE '%a%b%'", "are in the subset"),
    ],
)
def test_what_is_no_condition_is_refused_in_words(text, said):
    with pytest.raises(InputError, match=said):
        from_sql(text)


def test_a_wildcard_that_sql_cannot_write_is_named():
    with pytest.raises(InputError, match="50%"):
        in_sql(Contains(field="text", part="50%"))

import pytest
from hypothesis import given
from hypothesis import strategies as st

from closedloop.core.errors import InputError
from closedloop.defence.rules.expression import (
    MAX_TERMS,
    All,
    Any,
    Not,
    Term,
    holds,
    parse,
    terms,
)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("coupon", Term("coupon")),
        ("Coupon*", Term("coupon", is_prefix=True)),
        ('"Not   valid"', Term("not valid")),
        ('"not val"*', Term("not val", is_prefix=True)),
        ("优惠券", Term("优惠券")),
        ("a b", All((Term("a"), Term("b")))),
        ("a AND b AND c", All((Term("a"), Term("b"), Term("c")))),
        ("a OR b AND c", Any((Term("a"), All((Term("b"), Term("c")))))),
        ("(a OR b) c", All((Any((Term("a"), Term("b"))), Term("c")))),
        ("a NOT b", All((Term("a"), Not(Term("b"))))),
        ("a NOT NOT b", All((Term("a"), Term("b")))),
        ("a NOT (b OR c)", All((Term("a"), Not(Any((Term("b"), Term("c"))))))),
        ("and or not", All((Term("and"), Term("or"), Term("not")))),
        ("“ＡＢＣ　def”", Term("abc def")),
        ("（优惠券 OR 红包）AND 失效", All((Any((Term("优惠券"), Term("红包"))), Term("失效")))),
        ("a a", Term("a")),
    ],
)
def test_a_condition_is_read(written, meant):
    read = parse(written)
    assert read == (All((meant,)) if written == "a a" else meant)
    assert parse(str(read)) == parse(str(parse(str(read))))


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("(a", "not closed"),
        ("a)", r"unexpected \)"),
        ("a AND", "end is missing"),
        ("AND a", "keyword is missing before AND"),
        ("a OR OR b", "keyword is missing before OR"),
        ('"a', "quotation mark"),
        ("NOT a", "none of its terms"),
        ("a OR NOT b", "none of its terms"),
        ("!!!", "no letter and no digit"),
        ('""', "no letter and no digit"),
        ("x" * 101, "101 characters"),
        (" ".join(f"w{n}" for n in range(MAX_TERMS + 1)), "51 terms"),
        ("(" * 30 + "a" + ")" * 30, "too deep"),
        ("a " * 1_001, "2,002 characters"),
    ],
)
def test_a_condition_that_cannot_be_is_explained(written, said):
    with pytest.raises(InputError, match=said) as refused:
        parse(written)
    assert refused.value.remedy


words = st.builds(
    Term, st.sampled_from(["a", "b c", "优惠券", "and", "x1"]), is_prefix=st.booleans()
)
trees = st.recursive(
    words,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(lambda parts: All(tuple(parts)), st.lists(inner, min_size=2, max_size=3)),
        st.builds(lambda parts: Any(tuple(parts)), st.lists(inner, min_size=2, max_size=3)),
    ),
    max_leaves=12,
)


@given(trees, st.sets(words))
def test_what_is_written_means_what_was_read(tree, there):
    if holds(tree, lambda _: False):
        return  # no condition of a rule
    again = parse(str(tree))
    assert holds(again, there.__contains__) == holds(tree, there.__contains__)
    assert set(terms(again)) <= set(terms(tree))

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from closedloop.defence.rules.expression import Term
from closedloop.defence.rules.term_index import TermIndex


@pytest.mark.parametrize(
    ("term", "text", "found"),
    [
        (Term("art"), "cart", False),
        (Term("art"), "an art", True),
        (Term("art"), "art-house", True),
        (Term("art"), "artist", False),
        (Term("art", is_prefix=True), "artist", True),
        (Term("art", is_prefix=True), "cart", False),
        (Term("not valid"), "it is not valid!", True),
        (Term("12"), "no 123", False),
        (Term("优惠券"), "我的优惠券失效了", True),
        (Term("vip"), "我是vip会员", True),
        (Term("vip"), "我是vips会员", False),
        (Term("カード"), "このカードは", True),
        (Term("карта"), "картах", False),
        (Term("카드"), "카드가", True),
        (Term("c++"), "c++ and c", True),
        (Term("cafe\u0301"), "cafe\u0301 s", True),
        (Term("cafe"), "cafe\u0301", False),
    ],
)
def test_a_term_is_found_as_a_word_where_words_are_apart(term, text, found):
    assert (term in TermIndex([term]).found_in(text)) == found


def test_every_place_is_told():
    index = TermIndex([Term("a"), Term("a b"), Term("b")])
    assert set(index.spans("a b a")) == {
        (Term("a"), 0, 1),
        (Term("a b"), 0, 3),
        (Term("b"), 2, 3),
        (Term("a"), 4, 5),
    }


def test_no_terms_are_found_nowhere():
    assert TermIndex([]).found_in("anything") == set()


@given(
    st.lists(st.text("ab 优", min_size=1, max_size=4).map(str.strip).filter(bool), min_size=1),
    st.text("ab 优", max_size=30),
)
def test_one_pass_finds_what_a_search_for_each_term_finds(texts, text):
    index = TermIndex(Term(each) for each in texts)
    for each in texts:
        start = r"(?<![ab])" if each[0] in "ab" else ""
        end = r"(?![ab])" if each[-1] in "ab" else ""
        expected = re.search(start + re.escape(each) + end, text) is not None
        assert (Term(each) in index.found_in(text)) == expected

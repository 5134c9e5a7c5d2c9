from hypothesis import given
from hypothesis import strategies as st

from closedloop.defence.terms import stream_terms


def test_words_and_pairs_of_han_characters_are_terms():
    assert stream_terms("My ORDER, my 优惠券") == ["my", "order", "优惠", "惠券"]


def test_full_width_and_plain_letters_are_the_same_term():
    assert stream_terms("ＯＲＤＥＲ") == stream_terms("order")


@given(st.text(max_size=300))
def test_terms_differ_and_are_bounded(text):
    terms = stream_terms(text, limit=16)
    assert len(terms) == len(set(terms)) <= 16
    assert all(terms)

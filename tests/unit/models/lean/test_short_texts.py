import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from closedloop.models.lean.analysis import Grams, Words
from closedloop.models.lean.short_texts import term_hashes

ANALYSERS = [
    Words(pattern=r"(?u)\b\w\w+\b", least=1, most=2),
    Words(pattern=r"\w+", least=2, most=3, stop=frozenset({"the", "的"})),
    Words(pattern=r"\w*", least=1, most=2),  # matches nothing at all, too
    Grams(least=2, most=4),
    Grams(least=1, most=3, lone_blanks=False),
    Grams(least=3, most=5, short_words_whole=False),
    Grams(least=2, most=3, within_words=False),
]
TEXTS = st.one_of(
    st.text(max_size=60),
    st.lists(
        st.sampled_from(["the", "coupon", "失效", "的", "x", "a" * 20, "\x00", "\ud800"]),
        max_size=12,
    ).map(" ".join),
)


@pytest.mark.parametrize("analyser", ANALYSERS)
@given(text=TEXTS)
def test_a_texts_terms_are_those_that_taking_it_apart_gives(analyser, text):
    apart = analyser.terms((text,)).hashes
    for _ in range(2):  # new words, then remembered ones
        assert np.array_equal(np.sort(term_hashes(analyser, text)), np.sort(apart))


def test_what_is_remembered_is_not_changed_by_who_sorts_the_hashes():
    analyser = Grams(least=2, most=4)
    first = term_hashes(analyser, "unforgettable").copy()
    term_hashes(analyser, "unforgettable").sort()
    assert np.array_equal(term_hashes(analyser, "unforgettable"), first)


def test_a_long_text_is_taken_apart_whole():
    analyser = Words(pattern=r"\w+", least=1, most=2)
    text = "my coupon fails " * 100
    apart = analyser.terms((text,)).hashes
    assert np.array_equal(np.sort(term_hashes(analyser, text)), np.sort(apart))

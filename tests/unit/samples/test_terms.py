"""TF-IDF by terms against scikit-learn's, which is the definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from closedloop.samples.terms import TermWeighter, character_terms, word_terms

TEXTS = ["where is my order", "my order is late late late", "退款到账了吗", "订单 late 没到", "!?"]


@pytest.mark.parametrize("analyse", [word_terms, character_terms])
def test_weights_equal_the_reference_implementation(analyse):
    ours = TermWeighter(analyse).fit(TEXTS)
    reference = TfidfVectorizer(analyzer=analyse, sublinear_tf=True, vocabulary=ours._index)
    expected = reference.fit_transform(TEXTS).toarray()
    np.testing.assert_allclose(ours.transform(TEXTS).toarray(), expected, atol=1e-5)


def test_character_grams_equal_the_reference_analyser():
    reference = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5)).build_analyzer()
    text = "late 订单 x"
    ours = [term for term in character_terms(text) if len(term) > 1]
    assert set(ours) == set(reference(text))


def test_vocabulary_keeps_the_terms_of_most_texts():
    weighter = TermWeighter(word_terms, max_terms=2).fit(["a b", "a b", "a c"])
    assert list(weighter._index) == ["a", "a b"]


def test_unknown_terms_and_empty_texts_give_empty_rows():
    weighter = TermWeighter(word_terms).fit(TEXTS)
    matrix = weighter.transform(["", "zzz"])
    assert matrix.shape == (2, len(weighter))
    assert matrix.nnz == 0


@settings(max_examples=40)
@given(st.lists(st.text(max_size=30), min_size=1, max_size=6))
def test_rows_have_unit_length_or_are_empty_and_survive_their_state(texts):
    weighter = TermWeighter(character_terms).fit(texts)
    matrix = weighter.transform(texts)
    lengths = np.sqrt(matrix.multiply(matrix).sum(axis=1)).A1 if matrix.shape[1] else np.zeros(0)
    assert all(abs(length - 1) < 1e-4 or length == 0 for length in lengths)
    again = TermWeighter.from_state(character_terms, weighter.state())
    if not any("\0" in text for text in texts):
        np.testing.assert_array_equal(again.transform(texts).toarray(), matrix.toarray())

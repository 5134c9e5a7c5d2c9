"""A lean model answers as the model that it was made of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression, RidgeClassifier, SGDClassifier
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.svm import LinearSVC

from closedloop.core.errors import InputError
from closedloop.models.lean.compiling import (
    PipelineProbabilities,
    check_equal,
    lean_of_classifier,
    lean_of_pipeline,
)
from closedloop.models.text_classifier import TextClassifier

TEXTS = [
    "Where is my parcel?",
    "my parcel is late, where is it",
    "I want my money back",
    "refund the order please",
    "Café crème: pay by card",
    "the card was refused",
    "我的包裹在哪里",
    "快递还没有到",
    "我要退款 谢谢",
    "退款到账了吗",
]
LABELS = ["delivery", "delivery", "refund", "refund", "pay", "pay", *["delivery"] * 2]
LABELS += ["refund", "refund"]
TRICKY = [
    "",
    " ",
    "a",
    "?!",
    "parcel parcel parcel",
    "我",
    "  my\t parcel \n is  late ",
    "ﬁne Straße İstanbul",
    "\ud800 parcel",
    "e\u0301 cafe\u0301",
    "x" * 9_000,
    "wher is my parcel 我要退款 pay",
]

VECTORISERS = {
    "words": TfidfVectorizer(),
    "pairs": TfidfVectorizer(ngram_range=(1, 3), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b"),
    "characters": TfidfVectorizer(analyzer="char", ngram_range=(1, 3)),
    "within words": TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True),
    "long grams": TfidfVectorizer(analyzer="char_wb", ngram_range=(4, 6), norm="l1"),
    "no accents": TfidfVectorizer(strip_accents="unicode", lowercase=False, use_idf=False),
    "stop words": TfidfVectorizer(stop_words=["my", "is"], ngram_range=(2, 2)),
    "counts": CountVectorizer(binary=True),
    "union": FeatureUnion(
        [
            ("words", TfidfVectorizer(ngram_range=(1, 2))),
            ("grams", make_pipeline(CountVectorizer(analyzer="char_wb"), TfidfTransformer())),
        ],
        transformer_weights={"words": 0.5},
    ),
}
CLASSIFIERS = [
    LogisticRegression(),
    LinearSVC(),
    RidgeClassifier(),
    SGDClassifier(loss="log_loss", random_state=0),
    SGDClassifier(random_state=0),
]


def fitted(*steps, labels=LABELS):
    return make_pipeline(*steps).fit(TEXTS, labels)


@pytest.mark.parametrize("name", VECTORISERS)
@pytest.mark.parametrize("classifier", CLASSIFIERS, ids=lambda c: f"{type(c).__name__} {c!r}"[:40])
def test_equals_the_pipeline(name, classifier):
    pipeline = fitted(VECTORISERS[name], classifier)
    check_equal(lean_of_pipeline(pipeline), PipelineProbabilities(pipeline), TEXTS + TRICKY)


@pytest.mark.parametrize("classifier", CLASSIFIERS, ids=lambda c: f"{type(c).__name__} {c!r}"[:40])
def test_equals_a_pipeline_of_two_classes(classifier):
    pipeline = fitted(TfidfVectorizer(), classifier, labels=["a", "b"] * 5)
    check_equal(lean_of_pipeline(pipeline), PipelineProbabilities(pipeline), TEXTS + TRICKY)


@pytest.fixture(scope="module")
def classifier():
    return TextClassifier().fit(TEXTS, LABELS)


def test_equals_the_platforms_classifier(classifier):
    check_equal(lean_of_classifier(classifier), classifier, TEXTS + TRICKY)


@pytest.fixture(scope="module")
def pair():
    pipeline = fitted(VECTORISERS["within words"], LogisticRegression())
    return lean_of_pipeline(pipeline), PipelineProbabilities(pipeline)


@given(texts=st.lists(st.text(max_size=60), min_size=1, max_size=5))
def test_equals_the_pipeline_on_any_text(pair, texts):
    check_equal(*pair, texts)


def test_a_batch_is_answered_as_its_texts_alone(pair):
    lean, _ = pair
    texts = (TEXTS + TRICKY) * 40
    alone = np.vstack([lean.probabilities([text]) for text in texts])
    assert np.abs(lean.probabilities(texts) - alone).max() < 1e-12


def test_names_the_likeliest_labels(pair):
    lean, pipeline = pair
    answer = lean.predict_many(["where is the parcel"], top=2)[0]
    assert answer.label == "delivery" == answer.top[0][0]
    assert len(answer.top) == 2
    assert answer.confidence == pytest.approx(
        pipeline.probabilities(["where is the parcel"]).max(), abs=1e-6
    )
    assert lean.predict_many([]) == []


def test_explains_by_the_terms_of_the_text():
    lean = lean_of_pipeline(fitted(TfidfVectorizer(), LogisticRegression()))
    text = "my parcel, the parcel and money"
    told = lean.explain(text, "delivery")
    assert told[0].term == "parcel"
    assert told[0].score > 0
    assert {"and"}.isdisjoint(each.term for each in told)
    column = lean.classes.index("delivery")
    total = sum(each.score for each in told) + lean.bias[column]
    assert total == pytest.approx(lean.scores([text])[0, column])


def test_a_difference_is_told_with_its_text(pair):
    lean, pipeline = pair
    changed = lean_of_pipeline(fitted(TfidfVectorizer(), LogisticRegression()))
    assert changed is not lean
    with pytest.raises(InputError, match=r"differs by .* on 'my parcel'"):
        check_equal(changed, pipeline, ["my parcel"])


@pytest.mark.parametrize(
    ("steps", "named"),
    [
        ((TfidfVectorizer(tokenizer=str.split, token_pattern=None), LogisticRegression()), "token"),
        ((TfidfVectorizer(analyzer=str.split), LogisticRegression()), "analyzer"),
        ((TfidfVectorizer(strip_accents="ascii"), LogisticRegression()), "strip_accents"),
    ],
)
def test_what_has_no_lean_form_is_named(steps, named):
    with pytest.raises(InputError, match=named):
        lean_of_pipeline(fitted(*steps))


def test_a_step_without_a_lean_form_is_named():
    from sklearn.naive_bayes import MultinomialNB

    with pytest.raises(InputError, match="MultinomialNB has no lean form"):
        lean_of_pipeline(fitted(TfidfVectorizer(), MultinomialNB()))
    with pytest.raises(InputError, match="no pipeline"):
        lean_of_pipeline(LogisticRegression())

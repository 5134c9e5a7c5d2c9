"""The models of the serving benchmark: tenants' intent classifiers, as scikit-learn pipelines."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline, make_union

from closedloop.data.simulate.dialogues import simulate_turns
from closedloop.data.simulate.scenario import Scenario

_TRAINED = 8
_TURNS = 2_000
_TEXTS = 600
_CLASSES = 20


def texts(seed: int) -> list[str]:
    """Return what customers write, English and Chinese, each text once."""
    turns = simulate_turns(Scenario(seed=seed, turns=_TURNS))
    return list(dict.fromkeys(turn.text for turn in turns if turn.text))


def pipelines(count: int, *, seed: int) -> dict[str, Pipeline]:
    """Return so many pipelines by model name, ``tNNNN.intent.main``.

    A few are trained on texts of their own; the others differ from one of them in each weight,
    as models trained on other days do: training thousands would show nothing more.
    """
    trained = [_trained(seed + n) for n in range(min(count, _TRAINED))]
    rng = np.random.default_rng(seed)
    return {f"t{n:04}.intent.main": _like(trained[n % len(trained)], rng) for n in range(count)}


def _trained(seed: int) -> Pipeline:
    rng = np.random.default_rng(seed)
    own = texts(seed)[:_TEXTS]
    # Labels that hang together with the words, as intents do.
    words = sorted({word for text in own for word in text.split()})
    meaning = dict(zip(words, rng.normal(size=(len(words), _CLASSES)), strict=True))
    labels = [
        f"intent-{np.sum([meaning[word] for word in text.split()], axis=0).argmax():02}"
        for text in own
    ]
    vectoriser = make_union(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True),
    )
    return make_pipeline(vectoriser, LogisticRegression(C=10)).fit(own, labels)


def _like(pipeline: Pipeline, rng: np.random.Generator) -> Pipeline:
    vectoriser, classifier = (step for _, step in pipeline.steps)
    other: Any = copy.copy(classifier)
    other.coef_ = classifier.coef_ * rng.normal(1.0, 0.05, classifier.coef_.shape)
    return make_pipeline(vectoriser, other)

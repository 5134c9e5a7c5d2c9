"""Trained models brought into the form that serving holds, and proof that both answer alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from closedloop.core.errors import InputError
from closedloop.models.lean.analysis import Analyser, Grams, Preparation, Words
from closedloop.models.lean.hashing import hashes_of
from closedloop.models.lean.model import LeanModel, Link, Semantic
from closedloop.models.lean.surface import Floats, Planes, Surface
from closedloop.models.text_classifier import TextClassifier
from closedloop.samples.terms import LONGEST_GRAM, WORD

TOLERANCE = 1e-6
_REMEDY = (
    "Give a Pipeline of TfidfVectorizer or CountVectorizer (or a FeatureUnion of them) and a"
    " linear classifier of scikit-learn."
)


class Trained(Protocol):
    """A model as training left it."""

    def probabilities(self, texts: Sequence[str]) -> npt.NDArray[Any]:
        """Return probabilities, shape (n, classes)."""


def lean_of_classifier(model: TextClassifier) -> LeanModel:
    """Return the lean form of the platform's own classifier."""
    state = model.state()
    vectoriser, parameters = state["vectoriser"], model.parameters
    planes, directions = state["weights"], vectoriser["directions"]
    analysers: tuple[tuple[str, Analyser, float], ...] = (
        ("words", Words(pattern=WORD.pattern, most=2), parameters.words_weight),
        (
            "characters",
            Grams(least=1, most=LONGEST_GRAM, short_words_whole=False, lone_blanks=False),
            parameters.characters_weight,
        ),
    )
    surfaces, begin = [], 0
    for name, analyser, weight in analysers:
        terms = vectoriser[name]["terms"].tolist()
        end = begin + len(terms)
        if terms:
            surfaces.append(
                _surface(
                    terms,
                    preparation=Preparation.NORMAL,
                    analyser=analyser,
                    idf=vectoriser[name]["idf"],
                    planes=planes[begin:end] * np.float32(weight),
                    directions=directions[begin:end] if directions.shape[1] else None,
                    sublinear=True,
                )
            )
        begin = end
    latent_end = begin + directions.shape[1]
    centre = vectoriser["centre"]
    semantic = Semantic(
        centre=centre, planes=planes[latent_end:] * np.float32(parameters.semantic_weight)
    )
    return LeanModel(
        classes=model.classes,
        bias=np.asarray(state["bias"], dtype=np.float64),
        surfaces=tuple(surfaces),
        temperature=float(model.temperature),
        latent=planes[begin:latent_end] * np.float32(parameters.latent_weight)
        if directions.shape[1]
        else None,
        semantic=semantic if len(centre) else None,
    )


def lean_of_pipeline(pipeline: Any) -> LeanModel:
    """Return the lean form of a scikit-learn pipeline.

    Parameters
    ----------
    pipeline : sklearn.pipeline.Pipeline
        Fitted; term counts or TF-IDF, then a linear classifier.

    Raises
    ------
    InputError
        It holds a step that has no lean form; the message names it.
    """
    steps = [step for _, step in getattr(pipeline, "steps", [])]
    if len(steps) < 2:
        raise InputError(f"{type(pipeline).__name__} is no pipeline of two steps.", remedy=_REMEDY)
    *makers, classifier = steps
    planes, bias, link = _planes_of(classifier)
    surfaces, begin = [], 0
    for vectoriser, weigher, weight in _vectorisers(makers):
        terms = vectoriser.vocabulary_
        own = planes[begin : begin + len(terms)]
        begin += len(terms)
        surfaces.append(_surface_of(vectoriser, weigher, own * weight))
    if begin != len(planes):
        raise InputError(
            f"The classifier reads {len(planes)} features, the vectorisers make {begin}.",
            remedy="Fit the pipeline again, as a whole.",
        )
    return LeanModel(
        classes=tuple(str(name) for name in classifier.classes_),
        bias=bias,
        surfaces=tuple(surfaces),
        link=link,
    )


def check_equal(
    lean: LeanModel, trained: Trained, texts: Sequence[str], *, tolerance: float = TOLERANCE
) -> float:
    """Return the largest difference of a probability over texts.

    Raises
    ------
    InputError
        It is above the tolerance; the message names the text.
    """
    if not texts:
        return 0.0
    differences = np.abs(lean.probabilities(texts) - trained.probabilities(texts)).max(axis=1)
    worst = int(differences.argmax())
    if not differences[worst] <= tolerance:
        raise InputError(
            f"The lean form differs by {differences[worst]:.2g} from the trained model on"
            f" {texts[worst][:80]!r}.",
            remedy="Do not release it; report the pipeline, whose form is not covered.",
        )
    return float(differences[worst])


class PipelineProbabilities:
    """A scikit-learn pipeline seen as `Trained`; without probabilities, as softmax of scores."""

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline

    def probabilities(self, texts: Sequence[str]) -> Floats:
        """Return probabilities, shape (n, classes)."""
        if hasattr(self._pipeline, "predict_proba"):
            return np.asarray(self._pipeline.predict_proba(list(texts)))
        scores = np.asarray(self._pipeline.decision_function(list(texts)))
        if scores.ndim == 1:
            scores = np.stack([np.zeros_like(scores), scores], axis=1)
        likely = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(likely / likely.sum(axis=1, keepdims=True))


def _surface(
    terms: Sequence[str],
    *,
    preparation: Preparation,
    analyser: Analyser,
    idf: npt.NDArray[np.floating],
    planes: Planes,
    directions: npt.NDArray[np.float32] | None = None,
    **counting: Any,
) -> Surface:
    """Lay a vocabulary out by its hashes."""
    hashes = hashes_of(terms)
    order = np.argsort(hashes, kind="stable")
    hashes = hashes[order]
    same = np.flatnonzero(hashes[1:] == hashes[:-1])
    if len(same):
        pair = terms[order[same[0]]], terms[order[same[0] + 1]]
        raise InputError(
            f"The terms {pair[0]!r} and {pair[1]!r} have the same hash.",
            remedy="Train again on a text more or less; this happens once in 10^10 models.",
        )
    return Surface(
        preparation=preparation,
        analyser=analyser,
        hashes=hashes,
        idf=np.ascontiguousarray(idf[order]),
        planes=np.ascontiguousarray(planes[order], dtype=np.float32),
        directions=None if directions is None else np.ascontiguousarray(directions[order]),
        **counting,
    )


def _planes_of(classifier: Any) -> tuple[Floats, Floats, Link]:
    """Return planes (features, classes), bias and link of a linear classifier."""
    from sklearn.linear_model import LogisticRegression, RidgeClassifier, SGDClassifier
    from sklearn.svm import LinearSVC

    if not isinstance(classifier, LogisticRegression | LinearSVC | RidgeClassifier | SGDClassifier):
        raise InputError(f"{type(classifier).__name__} has no lean form.", remedy=_REMEDY)
    coefficients = classifier.coef_
    if sp.issparse(coefficients):
        coefficients = coefficients.toarray()
    planes = np.atleast_2d(np.asarray(coefficients, dtype=np.float64)).T
    bias = np.zeros(planes.shape[1]) + np.ravel(classifier.intercept_)
    if len(classifier.classes_) == 2:  # one plane tells two classes apart
        planes = np.hstack([np.zeros_like(planes), planes])
        return planes, np.concatenate([[0.0], bias]), Link.SOFTMAX
    each = isinstance(classifier, SGDClassifier) and hasattr(classifier, "predict_proba")
    return planes, bias, Link.EACH if each else Link.SOFTMAX


def _vectorisers(makers: Sequence[Any]) -> Iterator[tuple[Any, Any, float]]:
    """Yield each vectoriser with what weighs its counts, and its weight in a union."""
    from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
    from sklearn.pipeline import FeatureUnion, Pipeline

    first = makers[0]
    if isinstance(first, FeatureUnion) and len(makers) == 1:
        weights = first.transformer_weights or {}
        for name, part in first.transformer_list:
            inner = [step for _, step in part.steps] if isinstance(part, Pipeline) else [part]
            for vectoriser, weigher, weight in _vectorisers(inner):
                yield vectoriser, weigher, weight * weights.get(name, 1.0)
    elif isinstance(first, CountVectorizer) and len(makers) == 1:
        yield first, getattr(first, "_tfidf", None), 1.0  # TfidfVectorizer is one too
    elif (
        type(first) is CountVectorizer
        and len(makers) == 2
        and isinstance(makers[1], TfidfTransformer)
    ):
        yield first, makers[1], 1.0
    else:
        names = ", ".join(type(maker).__name__ for maker in makers)
        raise InputError(f"{names} has no lean form.", remedy=_REMEDY)


def _surface_of(vectoriser: Any, weigher: Any, planes: Floats) -> Surface:
    for name in ("tokenizer", "preprocessor"):
        if getattr(vectoriser, name) is not None:
            raise InputError(
                f"A vectoriser with its own {name} has no lean form.",
                remedy="Use token_pattern and lowercase, or prepare the texts beforehand.",
            )
    terms = sorted(vectoriser.vocabulary_, key=vectoriser.vocabulary_.__getitem__)
    weighs = weigher is not None
    return _surface(
        terms,
        preparation=_preparation(vectoriser),
        analyser=_analyser(vectoriser),
        idf=weigher.idf_ if weighs and weigher.use_idf else np.ones(len(terms)),
        planes=planes,
        sublinear=bool(weighs and weigher.sublinear_tf),
        binary=bool(vectoriser.binary),
        norm=(weigher.norm or "none") if weighs else "none",
    )


def _preparation(vectoriser: Any) -> Preparation:
    if vectoriser.strip_accents not in (None, "unicode"):
        raise InputError(
            f"strip_accents={vectoriser.strip_accents!r} has no lean form.",
            remedy="Use strip_accents='unicode' or None.",
        )
    if vectoriser.strip_accents:
        return Preparation.LOWER_UNACCENT if vectoriser.lowercase else Preparation.UNACCENT
    return Preparation.LOWER if vectoriser.lowercase else Preparation.NOTHING


def _analyser(vectoriser: Any) -> Analyser:
    least, most = vectoriser.ngram_range
    if vectoriser.analyzer == "word":
        stop = vectoriser.get_stop_words() or ()
        return Words(pattern=vectoriser.token_pattern, least=least, most=most, stop=frozenset(stop))
    if vectoriser.analyzer in ("char", "char_wb"):
        return Grams(least=least, most=most, within_words=vectoriser.analyzer == "char_wb")
    raise InputError(
        "A vectoriser with its own analyzer has no lean form.",
        remedy="Use analyzer 'word', 'char' or 'char_wb'.",
    )

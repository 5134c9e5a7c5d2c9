"""A linear text model in the form that serving holds: arrays, and the few steps between them.

It answers as the model that it was made of, to 1e-6 of a probability, in tens of microseconds:
scikit-learn's pipelines spend most of a single call on checks that matter for a corpus. It
needs neither scikit-learn nor any training code.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from closedloop.models.lean.analysis import Preparation
from closedloop.models.lean.short_texts import term_hashes
from closedloop.models.lean.surface import Floats, Planes, Surface
from closedloop.models.prediction import Prediction
from closedloop.samples.embedding import load_embedding

_CHUNK_CHARACTERS = 20_000
_TINY = 1e-9


class Link(StrEnum):
    """How scores become probabilities."""

    SOFTMAX = "softmax"
    EACH = "each"  # a sigmoid a class, scaled to sum to one (one-versus-rest)


@dataclass(frozen=True, kw_only=True, slots=True)
class Semantic:
    """The static embedding's part: planes over a text's mean vector, seen from a centre."""

    centre: npt.NDArray[np.float32]  # (dimensions,)
    planes: Planes  # (dimensions, classes)

    def scores(self, texts: Sequence[str]) -> Floats:
        """Score texts in normal form, shape (n, classes)."""
        seen = load_embedding().embed(texts).astype(np.float64) - self.centre
        return _unit(seen) @ self.planes


@dataclass(frozen=True, kw_only=True, slots=True)
class Contribution:
    """What one term of a text added to a label's score."""

    term: str
    score: float


class LeanModel:
    """Scores texts by term weights.

    Parameters
    ----------
    classes : tuple of str
    bias : ndarray of float64, shape (classes,)
    surfaces : tuple of Surface
        Vocabularies; their scores add up.
    link : Link
    temperature : float
        Scores are divided by it before a softmax.
    latent : ndarray, shape (dimensions, classes), optional
        Planes over the latent view, which the surfaces' directions make.
    semantic : Semantic, optional
    """

    linear_time: ClassVar[bool] = True  # in the length of the texts, whatever they say

    def __init__(
        self,
        *,
        classes: tuple[str, ...],
        bias: Floats,
        surfaces: tuple[Surface, ...],
        link: Link = Link.SOFTMAX,
        temperature: float = 1.0,
        latent: Planes | None = None,
        semantic: Semantic | None = None,
    ) -> None:
        self.classes = classes
        self.bias = bias
        self.surfaces = surfaces
        self.link = link
        self.temperature = temperature
        self.latent = latent
        self.semantic = semantic

    @property
    def size_bytes(self) -> int:
        """Bytes of its arrays."""
        arrays: list[npt.NDArray[np.generic] | None] = [self.bias, self.latent]
        if self.semantic is not None:
            arrays += [self.semantic.centre, self.semantic.planes]
        for surface in self.surfaces:
            arrays += [surface.hashes, surface.idf, surface.planes, surface.directions]
        return sum(array.nbytes for array in arrays if array is not None)

    @property
    def sees_terms_only(self) -> bool:
        """Whether the terms that `explain` tells are all that it sees of a text."""
        return self.latent is None and self.semantic is None

    def scores(self, texts: Sequence[str]) -> Floats:
        """Return what speaks for each class, shape (n, classes)."""
        if len(texts) == 1:
            return self._scores_of_one(texts[0])[np.newaxis]
        parts = [self._scores(chunk) for chunk in _chunks(texts)]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.classes)))

    def probabilities(self, texts: Sequence[str]) -> Floats:
        """Return probabilities, shape (n, classes), columns as ``classes``."""
        scores = self.scores(texts)
        if self.link is Link.EACH:
            likely = 1.0 / (1.0 + np.exp(-scores))
            return likely / np.maximum(likely.sum(axis=1, keepdims=True), np.finfo(float).tiny)
        scores /= self.temperature
        scores -= scores.max(axis=1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=1, keepdims=True)
        return scores

    def predict_many(self, texts: Sequence[str], *, top: int = 3) -> list[Prediction]:
        """Answer texts, each with its likeliest labels."""
        if not texts:
            return []
        probabilities = self.probabilities(texts)
        if len(texts) == 1:
            return [self._ranked(probabilities[0], top)]
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, : max(1, top)]
        likely = np.take_along_axis(probabilities, best, axis=1).tolist()
        classes = self.classes
        answers = []
        for order, confidences in zip(best.tolist(), likely, strict=True):
            ranked = tuple(zip([classes[i] for i in order], confidences, strict=True))
            answers.append(Prediction(label=ranked[0][0], confidence=ranked[0][1], top=ranked))
        return answers

    def explain(self, text: str, label: str, *, most: int = 10) -> list[Contribution]:
        """Return the terms that spoke for or against a label, the strongest first.

        Only the terms of the text themselves are told; what latent and semantic views add is
        not theirs alone.
        """
        column = self.classes.index(label)
        added: dict[str, float] = {}
        for surface in self.surfaces:
            terms = surface.analyser.terms(surface.preparation.of([text]))
            weights = surface.weigh(terms, 1)
            share = dict(
                zip(
                    weights.rows.tolist(),
                    (weights.values * surface.planes[weights.rows, column]).tolist(),
                    strict=True,
                )
            )
            rows, known = surface.find(terms)
            for i in np.flatnonzero(known).tolist():
                term = terms.joined[terms.starts[i] : terms.ends[i]]
                score = share.pop(int(rows[i]), None)  # a term counts once, wherever it stands
                if score is not None:
                    added[term] = added.get(term, 0.0) + score
        ranked = sorted(added.items(), key=lambda item: (-abs(item[1]), item[0]))
        return [Contribution(term=term, score=score) for term, score in ranked[:most]]

    def _ranked(self, probabilities: Floats, top: int) -> Prediction:
        order = (-probabilities).argsort(kind="stable")[: max(1, top)]
        classes = self.classes
        likely = probabilities[order].tolist()
        ranked = tuple(zip([classes[i] for i in order.tolist()], likely, strict=True))
        return Prediction(label=ranked[0][0], confidence=likely[0], top=ranked)

    def _scores_of_one(self, text: str) -> Floats:
        """Return scores of one text, shape (classes,): what a single request waits for."""
        scores = self.bias.copy()
        latent = None
        for surface in self.surfaces:
            prepared = surface.preparation.of_one(text)
            rows, values = surface.weigh_one(term_hashes(surface.analyser, prepared))
            scores += values @ surface.planes.take(rows, axis=0)
            if surface.directions is not None:
                seen = values @ surface.directions.take(rows, axis=0)
                latent = seen if latent is None else latent + seen
        if self.latent is not None and latent is not None:
            scores += (latent / max(math.sqrt(latent @ latent), _TINY)) @ self.latent
        if self.semantic is not None:
            scores += self.semantic.scores([Preparation.NORMAL.of_one(text)])[0]
        return scores

    def _scores(self, texts: Sequence[str]) -> Floats:
        scores = np.repeat(self.bias[np.newaxis], len(texts), axis=0)
        latent = None
        prepared: dict[Preparation, list[str]] = {}
        for surface in self.surfaces:
            if surface.preparation not in prepared:
                prepared[surface.preparation] = surface.preparation.of(texts)
            terms = surface.analyser.terms(prepared[surface.preparation])
            weights = surface.weigh(terms, len(texts))
            scores += weights.times(surface.planes)
            if surface.directions is not None:
                seen = weights.times(surface.directions)
                latent = seen if latent is None else latent + seen
        if self.latent is not None and latent is not None:
            scores += _unit(latent) @ self.latent
        if self.semantic is not None:
            scores += self.semantic.scores(Preparation.NORMAL.of(texts))
        return scores


def _unit(rows: Floats) -> Floats:
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    return rows / np.maximum(lengths, _TINY)[:, np.newaxis]


def _chunks(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Cut a batch so that no part's arrays grow large."""
    begin, size = 0, 0
    for i, text in enumerate(texts):
        if size and size + len(text) > _CHUNK_CHARACTERS:
            yield texts[begin:i]
            begin, size = i, 0
        size += len(text) + 1
    if begin < len(texts):
        yield texts[begin:]

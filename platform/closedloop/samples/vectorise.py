"""Texts as vectors, with one setting for every language.

Three views of a text, each cheap and none of them trained on labels:

* *surface*: TF-IDF of words and word pairs beside TF-IDF of character n-grams. A Han character
  counts as a word, so that Chinese needs no segmentation and a pair of them stands for a word;
* *latent*: the surface projected on the main directions of the unlabelled log (LSA), where
  texts meet that share no word but share company;
* *semantic*: a static embedding learned elsewhere, where it covers the language.

Fitted on the whole log: what a rare word is worth is known before anybody labels anything.

References
----------
Deerwester, S. et al. (1990). Indexing by latent semantic analysis. JASIS 41(6).
Halko, N., Martinsson, P.-G., Tropp, J. (2011). Finding structure with randomness. SIAM Rev. 53(2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from sklearn.decomposition import TruncatedSVD

from closedloop.core.errors import InputError
from closedloop.samples.embedding import load_embedding
from closedloop.samples.normal_form import normalise
from closedloop.samples.terms import TermWeighter, character_terms, word_terms

_MIN_COVERAGE = 0.25  # below it the semantic view is noise
_COVERAGE_SAMPLE = 2_000

FloatMatrix = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class TextViews:
    """The views of ``n`` texts; rows of each view have unit length (or are all zeros)."""

    words: sp.csr_matrix  # (n, word features)
    characters: sp.csr_matrix  # (n, character features)
    latent: FloatMatrix  # (n, latent dimensions)
    semantic: FloatMatrix  # (n, embedding dimensions), (n, 0) where the language is not covered

    def __len__(self) -> int:
        return int(self.words.shape[0])

    def rows(self, index: npt.NDArray[np.intp] | Sequence[int]) -> TextViews:
        """Return the views of some of the texts."""
        return TextViews(
            words=self.words[index],
            characters=self.characters[index],
            latent=self.latent[index],
            semantic=self.semantic[index],
        )

    def beside(self, other: TextViews) -> TextViews:
        """Return these texts' views with another's below them; both of one vectoriser."""
        return TextViews(
            words=sp.vstack([self.words, other.words], format="csr"),
            characters=sp.vstack([self.characters, other.characters], format="csr"),
            latent=np.vstack([self.latent, other.latent]),
            semantic=np.vstack([self.semantic, other.semantic]),
        )

    def dense(self) -> FloatMatrix:
        """Latent and semantic views side by side, at unit length: what clustering works on.

        Returns
        -------
        ndarray of float32, shape (n, dimensions)
        """
        return _unit(np.hstack([self.latent, self.semantic]))


class TextVectoriser:
    """Learns the three views from a log and shows any text in them.

    Parameters
    ----------
    latent_dimensions : int
        Directions of the latent view; fewer where the log has fewer texts.
    max_features : int
        Ceiling of each surface vocabulary, most frequent first.
    seed : int
        Of the randomised decomposition.

    Examples
    --------
    >>> texts = ["where is my order", "where is my parcel", "cancel my order", "退款到账了吗"]
    >>> views = TextVectoriser(latent_dimensions=2).fit(texts).transform(texts)
    >>> views.latent.shape
    (4, 2)
    """

    def __init__(
        self, *, latent_dimensions: int = 128, max_features: int = 60_000, seed: int = 0
    ) -> None:
        self.latent_dimensions = latent_dimensions
        self.seed = seed
        self._words = TermWeighter(word_terms, max_terms=max_features)
        self._characters = TermWeighter(character_terms, max_terms=max_features)

    def fit(self, texts: Sequence[str]) -> TextVectoriser:
        """Learn vocabularies, word weights and latent directions from unlabelled texts.

        Raises
        ------
        InputError
            When no text holds a letter or a digit.
        """
        texts = [normalise(text) for text in texts]
        self._words.fit(texts)
        self._characters.fit(texts)
        if not len(self._words):
            raise InputError(
                f"None of the {len(texts)} texts holds a word.",
                remedy="Check which column is mapped to text.",
            )
        surface = sp.hstack(
            [self._words.transform(texts), self._characters.transform(texts)], format="csr"
        )
        dimensions = min(self.latent_dimensions, min(surface.shape) - 1)
        if dimensions < 1:
            self._directions = np.zeros((surface.shape[1], 0), dtype=np.float32)
        else:
            svd = TruncatedSVD(dimensions, n_iter=3, random_state=self.seed).fit(surface)
            # (features, dimensions): a product with one text then reads only its own rows
            self._directions = np.ascontiguousarray(svd.components_.T, dtype=np.float32)
        self._centre = self._semantic_centre(texts)
        return self

    def transform(self, texts: Sequence[str]) -> TextViews:
        """Show texts in the learned views."""
        texts = [normalise(text) for text in texts]
        words = self._words.transform(texts)
        characters = self._characters.transform(texts)
        border = words.shape[1]
        latent = words @ self._directions[:border] + characters @ self._directions[border:]
        if len(self._centre):
            semantic = _unit(load_embedding().embed(texts) - self._centre)
        else:
            semantic = np.zeros((len(texts), 0), dtype=np.float32)
        return TextViews(
            words=words, characters=characters, latent=_unit(latent), semantic=semantic
        )

    def _semantic_centre(self, texts: Sequence[str]) -> FloatMatrix:
        """Mean of the log's embeddings; empty where the table does not cover the language."""
        sample = texts[:: max(1, len(texts) // _COVERAGE_SAMPLE)]
        embedding = load_embedding()
        if embedding.coverage(sample) < _MIN_COVERAGE:
            return np.zeros(0, dtype=np.float32)
        return np.asarray(embedding.embed(texts).mean(axis=0), dtype=np.float32)

    def state(self) -> dict[str, Any]:
        """Return what was learned as plain arrays, for a model file."""
        return {
            "words": self._words.state(),
            "characters": self._characters.state(),
            "directions": self._directions,
            "centre": self._centre,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> TextVectoriser:
        """Rebuild a vectoriser from :meth:`state`."""
        vectoriser = cls(latent_dimensions=state["directions"].shape[1])
        vectoriser._words = TermWeighter.from_state(word_terms, state["words"])
        vectoriser._characters = TermWeighter.from_state(character_terms, state["characters"])
        vectoriser._directions = state["directions"]
        vectoriser._centre = state["centre"]
        return vectoriser


def _unit(matrix: npt.NDArray[Any]) -> FloatMatrix:
    norms = np.linalg.norm(matrix, axis=1, keepdims=True) if matrix.size else 1.0
    return np.asarray(matrix / np.maximum(norms, 1e-9), dtype=np.float32)

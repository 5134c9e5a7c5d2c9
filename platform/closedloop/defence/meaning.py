"""What terms mean, from a static embedding, where it knows them.

Two texts about one thing need not share a word. The table of `samples.embedding` is read at the
first 64 of its dimensions, for which it was trained as well (its loss was summed over prefixes).
A term that falls into single characters or bytes, as Chinese does, has no meaning here and is
judged by its form alone.

References
----------
Kusupati, A. et al. (2022). Matryoshka representation learning. NeurIPS.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from closedloop.samples.embedding import StaticEmbedding, load_embedding

DIMENSIONS = 64
_LEAST_PIECE = 1.2  # characters; a term in single characters has no meaning of its own
_MOST_TERMS = 100_000

Vectors = npt.NDArray[np.float32]


class TermMeaning:
    """Vectors of terms, remembered while they are in use."""

    def __init__(self) -> None:
        self._rows: dict[str, int] = {}
        self._table: Vectors = np.zeros((0, DIMENSIONS), dtype=np.float32)

    def vectors(self, terms: Sequence[str]) -> Vectors:
        """Return a unit vector for each term, all zeros where the table does not know it.

        Returns
        -------
        ndarray of float32, shape (terms, DIMENSIONS)
        """
        fresh = [term for term in terms if term not in self._rows]
        if fresh:
            if len(self._rows) + len(fresh) > _MOST_TERMS:
                self._rows, fresh = {}, list(dict.fromkeys(terms))
                self._table = self._table[:0]
            for term in fresh:
                self._rows[term] = len(self._rows)
            self._table = np.vstack([self._table, _embedded(load_embedding(), fresh)])
        return self._table[[self._rows[term] for term in terms]]


def _embedded(embedding: StaticEmbedding, terms: list[str]) -> Vectors:
    counts = embedding.counts(terms)
    pieces = np.asarray(counts.sum(axis=1)).ravel()
    weak = counts @ embedding.weak.astype(np.float32)
    lengths = np.asarray([len(term) for term in terms], dtype=np.float32)
    known = (pieces > 0) & (weak == 0) & (lengths >= _LEAST_PIECE * pieces)
    vectors = counts @ embedding.table[:, :DIMENSIONS]
    norms = np.linalg.norm(vectors, axis=1)
    vectors /= np.maximum(norms, 1e-9)[:, None]
    vectors[~known] = 0.0
    return np.asarray(vectors, dtype=np.float32)

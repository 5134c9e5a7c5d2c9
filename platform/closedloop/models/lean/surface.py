"""TF-IDF of one kind of term, and the planes that score it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from closedloop.models.lean.analysis import Analyser, Preparation, Terms
from closedloop.models.lean.hashing import Hashes

Floats = npt.NDArray[np.float64]
_T = TypeVar("_T", np.uint64, np.intp)
Planes = npt.NDArray[np.float32] | Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class Weights:
    """How often each known term is in each text, weighed: a sparse matrix by its entries.

    Entries are in the order of texts; those of text ``i`` are ``bounds[i]:bounds[i + 1]``.
    """

    rows: npt.NDArray[np.intp]  # of the vocabulary
    values: Floats
    bounds: npt.NDArray[np.intp]

    def times(self, matrix: Planes) -> Floats:
        """Return the product with a dense matrix (vocabulary, n): shape (texts, n)."""
        product = np.zeros((len(self.bounds) - 1, matrix.shape[1]))
        bounds = self.bounds.tolist()
        # Text by text: the rows that a text needs fit the cache, those of a batch do not.
        for i in range(len(product)):
            begin, end = bounds[i], bounds[i + 1]
            if end > begin:
                product[i] = self.values[begin:end] @ matrix[self.rows[begin:end]]
        return product


@dataclass(frozen=True, kw_only=True, slots=True)
class Surface:
    """One vocabulary with its weights.

    Parameters
    ----------
    hashes : ndarray of uint64, shape (terms,)
        Of the vocabulary, ascending; every other array has its rows in this order.
    idf : ndarray of float, shape (terms,)
    planes : ndarray of float, shape (terms, classes)
        What one unit of a term adds to the score of each class.
    directions : ndarray of float32, shape (terms, dimensions), optional
        The term's place in the latent view.
    sublinear : bool
        Whether a term counts ``1 + log(n)`` instead of ``n``.
    binary : bool
        Whether a term counts once, however often it comes.
    norm : str
        ``l2``, ``l1`` or ``none``: length that a text's weights are scaled to.
    """

    preparation: Preparation
    analyser: Analyser
    hashes: Hashes
    idf: npt.NDArray[np.floating]
    planes: Planes
    directions: npt.NDArray[np.float32] | None = None
    sublinear: bool = False
    binary: bool = False
    norm: str = "l2"

    @property
    def vocabulary(self) -> int:
        """Number of terms."""
        return len(self.hashes)

    def find(self, terms: Terms) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
        """Return the row of each term and whether it has one; rows of others mean nothing."""
        rows = np.searchsorted(self.hashes, terms.hashes)
        np.minimum(rows, self.vocabulary - 1, out=rows)
        return rows, self.hashes[rows] == terms.hashes

    def weigh(self, terms: Terms, texts: int) -> Weights:
        """Weigh the terms of so many texts."""
        if texts == 1 or terms.documents is None:
            rows, values = self.weigh_one(terms.hashes.copy())
            return Weights(rows=rows, values=values, bounds=np.array([0, len(rows)]))
        rows, known = self.find(terms)
        # One number for text and term: equal terms of a text lie together when sorted.
        place, counts = self._counted(terms.documents[known] * self.vocabulary + rows[known])
        documents, rows = np.divmod(place, self.vocabulary)
        values = counts * self.idf[rows]
        if self.norm != "none":
            parts = values * values if self.norm == "l2" else np.abs(values)
            lengths = np.bincount(documents, weights=parts, minlength=texts)
            if self.norm == "l2":
                lengths = np.sqrt(lengths)
            values /= lengths[documents]
        bounds = np.searchsorted(documents, np.arange(texts + 1))
        return Weights(rows=rows, values=values, bounds=bounds)

    def weigh_one(self, hashes: Hashes) -> tuple[npt.NDArray[np.intp], Floats]:
        """Weigh the terms of one text by their hashes, which are put in order on the way.

        Returns
        -------
        rows : ndarray of int
            Of the vocabulary, ascending.
        values : ndarray of float
            Their weights.
        """
        # In order, each is looked up close to the one before.
        places, counts = self._counted(hashes)
        rows = self.hashes.searchsorted(places)
        known = self.hashes.take(rows, mode="clip") == places
        rows = rows[known]
        values = counts[known] * self.idf.take(rows)
        if len(values) and self.norm == "l2":
            values /= math.sqrt(values.dot(values))
        elif len(values) and self.norm == "l1":
            values /= np.abs(values).sum()
        return rows, values

    def _counted(self, places: npt.NDArray[_T]) -> tuple[npt.NDArray[_T], Floats]:
        """Return the distinct places, ascending, and what each counts; `places` is put in order."""
        places.sort()
        begins = np.empty(len(places), dtype=bool)
        begins[:1] = True
        np.not_equal(places[1:], places[:-1], out=begins[1:])
        first = begins.nonzero()[0]
        if len(first) == len(places):
            return places, np.ones(len(places))
        if self.binary:
            return places[first], np.ones(len(first))
        counts = np.empty(len(first))
        np.subtract(first[1:], first[:-1], out=counts[:-1])
        counts[-1] = len(places) - first[-1]
        if self.sublinear:
            np.log(counts, out=counts)
            counts += 1.0
        return places[first], counts

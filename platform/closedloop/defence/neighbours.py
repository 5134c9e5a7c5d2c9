"""The graph of micro-clusters: each is linked to those it resembles most.

Vectors are TF-IDF with the frequencies of now, since what a rare word is worth is known better
late than early. Those that share terms are compared by meaning as well. The weight of a link
stands for the links of the texts that the two stand for; repeats count less and less.

References
----------
von Luxburg, U. (2007). A tutorial on spectral clustering (nearest-neighbour graphs).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from closedloop.defence.communities import Graph
from closedloop.defence.meaning import TermMeaning
from closedloop.defence.micro_cluster import MicroCluster

_FLOOR = 0.1  # a smaller cosine is chance: one common word
_CANDIDATES = 2  # by form, for each link that is chosen by form and meaning
# Texts that are nearly equal say little more about what belongs together than a few of them
# would: the size of a micro-cluster grows with the logarithm from about this many on.
_REPEATS = 6.0
_BLOCK = 1_000

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Linking:
    """How micro-clusters are linked."""

    # Links that a micro-cluster gives; it may be given more.
    neighbours: int
    # Micro-clusters that a term leads to, the strongest.
    postings: int
    # Part of the meaning in a similarity, in [0, 1]; the rest is the form's.
    meaning: float


def neighbour_graph(
    micros: Sequence[MicroCluster],
    frequency: Mapping[str, float],
    mass: float,
    unit: float,
    linking: Linking,
    meaning: TermMeaning,
) -> Graph:
    """Link each micro-cluster to its nearest.

    Parameters
    ----------
    frequency, mass
        Weight of the texts that hold a term, and of all texts.
    unit : float
        Weight of one text of now.

    Returns
    -------
    Graph
        Nodes in the order of `micros`.
    """
    sizes = [_REPEATS * math.log1p(micro.mass / (unit * _REPEATS)) for micro in micros]
    roots = np.sqrt(np.asarray(sizes))
    terms, matrix = _vectors(micros, frequency, mass)
    index = _champions(matrix, linking.postings).T.tocsr()
    meanings = _meanings(matrix, meaning.vectors(terms)) if linking.meaning else None
    # What is weak in form may still be near in form and meaning together.
    floor = _FLOOR if meanings is None else 0.5 * _FLOOR
    given: list[tuple[_Floats, _Ints, _Ints]] = []
    for begin in range(0, len(micros), _BLOCK):
        rows, columns, cosines = _pairs(matrix[begin : begin + _BLOCK] @ index, begin, floor)
        if meanings is not None:
            best = _best(rows, cosines, _CANDIDATES * linking.neighbours)
            rows, columns, cosines = rows[best], columns[best], cosines[best]
            cosines = _blended(rows, columns, cosines, meanings, linking.meaning)
            near = np.flatnonzero(cosines > _FLOOR)
            rows, columns, cosines = rows[near], columns[near], cosines[near]
        best = _best(rows, cosines, linking.neighbours)
        rows, columns = rows[best], columns[best]
        weights = cosines[best] * roots[rows] * roots[columns]
        given.append((weights, rows, columns))
    loops = [
        _cosine_within(micro) * size * min(linking.neighbours, max(0.0, size - 1.0))
        for micro, size in zip(micros, sizes, strict=True)
    ]
    return Graph(links=_symmetric(given, len(micros)), loops=np.asarray(loops))


def _symmetric(given: list[tuple[_Floats, _Ints, _Ints]], count: int) -> sp.csr_matrix:
    """Sum what each end gives to the other."""
    if not given:
        return sp.csr_matrix((count, count))
    weights, rows, columns = (np.concatenate(parts) for parts in zip(*given, strict=True))
    links = sp.csr_matrix((weights, (rows, columns)), shape=(count, count))
    links = (links + links.T).tocsr()
    links.sort_indices()
    return links


def _cosine_within(micro: MicroCluster) -> float:
    """Mean cosine of two of a micro-cluster's own texts."""
    pairs = micro.mass * micro.mass - micro.own
    if micro.texts < 2 or pairs <= 0:
        return 0.0
    return min(1.0, max(0.0, (micro.square - micro.own) / pairs))


def _pairs(block: sp.csr_matrix, begin: int, floor: float) -> tuple[_Ints, _Ints, _Floats]:
    rows = np.repeat(np.arange(begin, begin + block.shape[0]), np.diff(block.indptr))
    near = (block.data > floor) & (block.indices != rows)
    return rows[near], block.indices[near].astype(np.int64), block.data[near]


def _best(rows: _Ints, cosines: _Floats, count: int) -> _Ints:
    """Return places of the largest cosines of each row; of equals, those that came first."""
    if not len(rows):
        return np.zeros(0, dtype=np.int64)
    order = np.argsort(4.0 * rows - cosines, kind="stable")  # a row's cosines lie in [-1, 1]
    ordered = rows[order]
    first = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    place = np.arange(len(order)) - np.repeat(first, np.diff(np.r_[first, len(order)]))
    return np.asarray(order[place < count])


def _blended(
    rows: _Ints,
    columns: _Ints,
    cosines: _Floats,
    meanings: npt.NDArray[np.float32],
    share: float,
) -> _Floats:
    """Mix the cosines of form with those of meaning, where both ends have one."""
    known = np.any(meanings != 0.0, axis=1)
    both = np.flatnonzero(known[rows] & known[columns])
    meant = np.einsum("ij,ij->i", meanings[rows[both]], meanings[columns[both]])
    blended = cosines.copy()
    blended[both] = (1.0 - share) * cosines[both] + share * meant
    return blended


def _meanings(matrix: sp.csr_matrix, terms: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return each micro-cluster's meaning: its weighed terms', without what all have in common."""
    vectors = np.asarray(matrix @ terms, dtype=np.float64)
    known = np.any(vectors != 0.0, axis=1)
    if known.any():
        vectors[known] /= np.linalg.norm(vectors[known], axis=1)[:, None]
        vectors[known] -= vectors[known].mean(axis=0)
        norms = np.linalg.norm(vectors[known], axis=1)
        vectors[known] /= np.maximum(norms, 1e-9)[:, None]
    return vectors.astype(np.float32)


def _vectors(
    micros: Sequence[MicroCluster], frequency: Mapping[str, float], mass: float
) -> tuple[list[str], sp.csr_matrix]:
    columns: dict[str, int] = {}
    indices: list[int] = []
    data: list[float] = []
    indptr = [0]
    for micro in micros:
        indices += [columns.setdefault(term, len(columns)) for term in micro.terms]
        data += micro.terms.values()
        indptr.append(len(indices))
    terms = list(columns)
    if not terms:
        return terms, sp.csr_matrix((len(micros), 0))
    rarity = np.asarray([math.log(1.0 + mass / frequency.get(term, mass)) for term in terms])
    matrix = sp.csr_matrix(
        (np.asarray(data) * rarity[indices], indices, indptr), shape=(len(micros), len(terms))
    )
    norms = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    matrix.data /= np.repeat(np.maximum(norms, 1e-300), np.diff(matrix.indptr))
    matrix.sort_indices()
    return terms, matrix


def _champions(matrix: sp.csr_matrix, count: int) -> sp.csr_matrix:
    """Keep the strongest entries of each column."""
    columns = matrix.tocsc()
    for column in np.flatnonzero(np.diff(columns.indptr) > count).tolist():
        span = slice(columns.indptr[column], columns.indptr[column + 1])
        values = columns.data[span]
        weak = np.lexsort((columns.indices[span], -values))[count:]
        values[weak] = 0.0
    columns.eliminate_zeros()
    return columns.tocsr()

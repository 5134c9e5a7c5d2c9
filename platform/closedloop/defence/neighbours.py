"""The graph of micro-clusters: each is linked to those it resembles most.

Vectors are TF-IDF with the frequencies of now, since what a rare word is worth is known better
late than early. Those that share terms are compared by meaning as well. The weight of a link
stands for the links of the texts that the two stand for; repeats count less and less.

References
----------
von Luxburg, U. (2007). A tutorial on spectral clustering (nearest-neighbour graphs).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from numba import njit

from closedloop.defence.communities import Graph
from closedloop.defence.meaning import TermMeaning
from closedloop.defence.micro_clusters import MicroClusters
from closedloop.defence.micro_search import FLOOR
from closedloop.defence.micro_table import MASS, OWN, SQUARE, TEXTS, Floats, Ints, Small

# Texts that are nearly equal say little more about what belongs together than a few of them
# would: the size of a micro-cluster grows with the logarithm from about this many on.
_REPEATS = 6.0
_CANDIDATES = 2  # by form, for each link that is chosen by form and meaning

_Vectors = npt.NDArray[np.float32]


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
    micros: MicroClusters, unit: float, linking: Linking, meaning: TermMeaning
) -> Graph:
    """Link each micro-cluster to its nearest.

    Parameters
    ----------
    unit : float
        Weight of one text of now.

    Returns
    -------
    Graph
        Nodes in the order of the ids.
    """
    slots = micros.slots()
    count = len(slots)
    if not count:
        return Graph(links=sp.csr_matrix((0, 0)), loops=np.zeros(0))
    figures = micros.table.figures[slots]
    sizes = _REPEATS * np.log1p(figures[:, MASS] / (unit * _REPEATS))
    numbers, matrix = _vectors(micros, slots)
    index = _champions(matrix, linking.postings)
    if linking.meaning:
        names = micros.names
        vectors = meaning.vectors([names[number] for number in numbers.tolist()])
        meanings = _meanings(matrix, vectors)
    else:
        meanings = np.zeros((count, 1), dtype=np.float32)
    columns, cosines, ends = _nearest(
        *(matrix.indptr, matrix.indices, matrix.data),
        *(index.indptr, index.indices, index.data),
        meanings,
        np.any(meanings != 0.0, axis=1),
        linking.meaning,
        linking.neighbours,
    )
    roots = np.sqrt(sizes)
    weights = cosines * np.repeat(roots, np.diff(ends)) * roots[columns]
    links = sp.csr_matrix((weights, columns, ends), shape=(count, count))
    links = (links + links.T).tocsr()
    links.sort_indices()
    repeats = np.clip(sizes - 1.0, 0.0, linking.neighbours)
    texts = micros.table.counts[slots, TEXTS]
    return Graph(links=links, loops=_cosines_within(figures, texts) * sizes * repeats)


def _cosines_within(figures: Floats, texts: Ints) -> Floats:
    """Mean cosine of two of a micro-cluster's own texts."""
    pairs = figures[:, MASS] ** 2 - figures[:, OWN]
    some = (texts > 1) & (pairs > 0)
    cosines = np.zeros(len(figures))
    np.divide(figures[:, SQUARE] - figures[:, OWN], pairs, out=cosines, where=some)
    return np.clip(cosines, 0.0, 1.0)


def _vectors(micros: MicroClusters, slots: Ints) -> tuple[Ints, sp.csr_matrix]:
    """Return the numbers of the terms in use, and unit vectors over them."""
    ends, terms, data = micros.held(slots)
    used = np.zeros(len(micros.names), dtype=bool)
    used[terms] = True
    numbers = np.flatnonzero(used)
    columns = np.cumsum(used) - 1
    frequency = micros.table.frequency[numbers]
    rarity = np.log1p(micros.mass / frequency)
    indices = columns[terms]
    data = data * rarity[indices]
    rows = np.repeat(np.arange(len(slots)), np.diff(ends))
    norms = np.sqrt(np.bincount(rows, weights=data * data, minlength=len(slots)))
    data /= np.maximum(norms, 1e-300)[rows]
    matrix = sp.csr_matrix((data, indices, ends), shape=(len(slots), len(numbers)))
    matrix.sort_indices()
    return numbers, matrix


def _champions(matrix: sp.csr_matrix, count: int) -> sp.csc_matrix:
    """Return the matrix by columns, with the strongest entries of each."""
    columns = matrix.tocsc()
    for column in np.flatnonzero(np.diff(columns.indptr) > count).tolist():
        span = slice(columns.indptr[column], columns.indptr[column + 1])
        values = columns.data[span]
        values[np.argsort(-values, kind="stable")[count:]] = 0.0
    columns.eliminate_zeros()
    return columns


def _meanings(matrix: sp.csr_matrix, terms: _Vectors) -> _Vectors:
    """Return each micro-cluster's meaning: its weighed terms', without what all have in common."""
    vectors = np.asarray(matrix @ terms, dtype=np.float64)
    known = np.any(vectors != 0.0, axis=1)
    if known.any():
        vectors[known] /= np.linalg.norm(vectors[known], axis=1)[:, None]
        vectors[known] -= vectors[known].mean(axis=0)
        norms = np.linalg.norm(vectors[known], axis=1)
        vectors[known] /= np.maximum(norms, 1e-9)[:, None]
    return vectors.astype(np.float32)


@njit(cache=True)
def _nearest(
    ends: Ints,
    terms: Ints,
    data: Floats,
    index_ends: Ints,
    index_rows: Ints,
    index_data: Floats,
    meanings: _Vectors,
    known: npt.NDArray[np.bool_],
    share: float,
    most: int,
) -> tuple[Small, Floats, Small]:
    """Return each row's nearest rows and their cosines, and where each row's end."""
    rows = len(ends) - 1
    # What is weak in form may still be near in form and meaning together.
    floor = 0.5 * FLOOR if share > 0.0 else FLOOR
    wide = _CANDIDATES * most if share > 0.0 else most
    products, touched = np.zeros(rows), np.empty(rows, dtype=np.int64)
    near, cosines = np.empty(wide, dtype=np.int64), np.empty(wide)
    best, best_cosines = np.empty(most, dtype=np.int64), np.empty(most)
    columns, values = np.empty(rows * most, dtype=np.int32), np.empty(rows * most)
    found_ends = np.zeros(rows + 1, dtype=np.int32)
    count = 0
    for row in range(rows):
        found = 0
        for at in range(ends[row], ends[row + 1]):
            term = terms[at]
            for place in range(index_ends[term], index_ends[term + 1]):
                other = index_rows[place]
                if products[other] == 0.0:
                    touched[found] = other
                    found += 1
                products[other] += data[at] * index_data[place]
        kept = 0
        for i in range(found):
            other = touched[i]
            if products[other] > floor and other != row:
                kept = _insert(near, cosines, kept, other, products[other])
            products[other] = 0.0
        chosen = 0
        for i in range(kept):
            other, cosine = near[i], cosines[i]
            if known[row] and known[other]:
                cosine = (1.0 - share) * cosine + share * _product(meanings[row], meanings[other])
            if cosine > FLOOR:
                chosen = _insert(best, best_cosines, chosen, other, cosine)
        for i in range(chosen):
            columns[count], values[count] = best[i], best_cosines[i]
            count += 1
        found_ends[row + 1] = count
    return columns[:count], values[:count], found_ends


@njit(cache=True)
def _product(one: _Vectors, other: _Vectors) -> float:
    """Product of two vectors, in four sums that a processor takes side by side."""
    a = b = c = d = np.float32(0.0)
    for i in range(0, len(one) - 3, 4):
        a += one[i] * other[i]
        b += one[i + 1] * other[i + 1]
        c += one[i + 2] * other[i + 2]
        d += one[i + 3] * other[i + 3]
    return float((a + b) + (c + d))


@njit(cache=True)
def _insert(near: Ints, cosines: Floats, kept: int, one: int, cosine: float) -> int:
    """Put one into a list with the nearest first; of equals, the one that came first stays."""
    most = len(near)
    if kept == most and cosine <= cosines[most - 1]:
        return kept
    spot = min(kept, most - 1)
    while spot > 0 and cosines[spot - 1] < cosine:
        near[spot], cosines[spot] = near[spot - 1], cosines[spot - 1]
        spot -= 1
    near[spot], cosines[spot] = one, cosine
    return min(kept + 1, most)

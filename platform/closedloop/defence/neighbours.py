"""The graph of micro-clusters: each is linked to those it resembles most.

Vectors are TF-IDF with the frequencies of now, since what a rare word is worth is known better
late than early. The weight of a link stands for the links of the texts that the two stand for.

References
----------
von Luxburg, U. (2007). A tutorial on spectral clustering (nearest-neighbour graphs).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from closedloop.defence.communities import Graph
from closedloop.defence.micro_clusters import MicroCluster

_FLOOR = 0.1  # a smaller cosine is chance: one common word
_BLOCK = 1_000


def neighbour_graph(
    micros: Sequence[MicroCluster],
    frequency: Mapping[str, float],
    mass: float,
    *,
    neighbours: int,
    postings: int,
) -> Graph:
    """Link each micro-cluster to its nearest.

    Parameters
    ----------
    frequency, mass
        Weight of the texts that hold a term, and of all texts.
    neighbours : int
        Links that a micro-cluster gives; it may be given more.
    postings : int
        Micro-clusters that a term leads to, the strongest.

    Returns
    -------
    Graph
        Nodes in the order of `micros`.
    """
    matrix = _vectors(micros, frequency, mass)
    index = _champions(matrix, postings).T.tocsr()
    mass_unit = max((micro.mass for micro in micros), default=1.0)
    sizes = np.asarray([micro.mass for micro in micros]) / mass_unit
    edges: list[dict[int, float]] = [{} for _ in micros]
    for begin in range(0, len(micros), _BLOCK):
        block = matrix[begin : begin + _BLOCK] @ index
        for row in range(block.shape[0]):
            node = begin + row
            span = slice(block.indptr[row], block.indptr[row + 1])
            for other, cosine in _nearest(block.indices[span], block.data[span], node, neighbours):
                weight = cosine * math.sqrt(sizes[node] * sizes[other])
                edges[node][other] = edges[node].get(other, 0.0) + weight
                edges[other][node] = edges[other].get(node, 0.0) + weight
    loops = [_within(micro, neighbours) / mass_unit for micro in micros]
    return Graph(edges=edges, loops=loops)


def _within(micro: MicroCluster, neighbours: int) -> float:
    """Weight of the links among a micro-cluster's own texts."""
    pairs = micro.mass * micro.mass - micro.own
    if micro.texts < 2 or pairs <= 0:
        return 0.0
    cosine = max(0.0, (micro.square - micro.own) / pairs)
    return cosine * micro.mass * min(neighbours, micro.texts - 1)


def _nearest(
    indices: npt.NDArray[np.int32], cosines: npt.NDArray[np.float64], node: int, count: int
) -> list[tuple[int, float]]:
    near = (cosines > _FLOOR) & (indices != node)
    indices, cosines = indices[near], cosines[near]
    if len(indices) > count:
        order = np.lexsort((indices, -cosines))[:count]
        indices, cosines = indices[order], cosines[order]
    return list(zip(indices.tolist(), cosines.tolist(), strict=True))


def _vectors(
    micros: Sequence[MicroCluster], frequency: Mapping[str, float], mass: float
) -> sp.csr_matrix:
    columns: dict[str, int] = {}
    indices: list[int] = []
    data: list[float] = []
    indptr = [0]
    for micro in micros:
        for term, weight in micro.terms.items():
            indices.append(columns.setdefault(term, len(columns)))
            data.append(weight)
        indptr.append(len(indices))
    if not columns:
        return sp.csr_matrix((len(micros), 1))
    rarity = np.asarray([math.log(1.0 + mass / frequency.get(t, mass)) for t in columns])
    matrix = sp.csr_matrix(
        (np.asarray(data) * rarity[indices], indices, indptr), shape=(len(micros), len(columns))
    )
    norms = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    matrix.data /= np.repeat(np.maximum(norms, 1e-300), np.diff(matrix.indptr))
    matrix.sort_indices()
    return matrix


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

"""Communities of a weighted graph by modularity, with a fixed order and thus a fixed result.

A partition is good where the weight within its groups exceeds what the nodes' degrees alone
explain. That judges a group against the whole graph, so no number of groups and no threshold of
similarity has to be known, and a hub that resembles everything draws nothing to itself.

References
----------
Newman, M., Girvan, M. (2004). Finding and evaluating community structure in networks.
Reichardt, J., Bornholdt, S. (2006). Statistical mechanics of community detection (resolution).
Blondel, V. et al. (2008). Fast unfolding of communities in large networks (the method).
Traag, V., Waltman, L., van Eck, N. (2019). From Louvain to Leiden (queue of nodes to visit).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from numba import njit

_LEAST_GAIN = 1e-9

_Labels = npt.NDArray[np.int64]
_Weights = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Graph:
    """An undirected weighted graph of nodes 0, 1, …"""

    # (nodes, nodes), symmetric, nothing on the diagonal.
    links: sp.csr_matrix
    # (nodes,) weight within a node, counted once; a node may stand for many.
    loops: npt.NDArray[np.float64]

    @property
    def degrees(self) -> npt.NDArray[np.float64]:
        """Weight of the links of each node, (nodes,)."""
        return np.asarray(self.links.sum(axis=1)).ravel() + 2.0 * self.loops


def communities(graph: Graph, *, resolution: float, rounds: int = 2) -> list[int]:
    """Group the nodes of a graph.

    Parameters
    ----------
    resolution : float
        Above 1, smaller groups than classical modularity's.
    rounds : int
        How often nodes may leave the groups that the round before made.

    Returns
    -------
    list of int
        Node to group, groups numbered 0, 1, … by their first node.
    """
    count = len(graph.loops)
    labels = np.arange(count)
    for _ in range(rounds if count else 0):
        before = labels
        labels = _level(graph, labels, resolution)
        if np.array_equal(labels, before):
            break
    found: list[int] = labels.tolist()
    return found


def _level(graph: Graph, labels: _Labels, resolution: float) -> _Labels:
    links = graph.links
    degrees = graph.degrees
    total = float(degrees.sum())
    if total:
        # Those with few links first: they have the least choice.
        order = np.argsort(np.diff(links.indptr), kind="stable")
        labels = labels.copy()
        _move(links.indptr, links.indices, links.data, degrees, order, labels, resolution / total)
    moved = _renumbered(labels)
    count = int(moved.max()) + 1
    if count == len(moved):
        return moved
    above = _level(_contracted(graph, moved, count), np.arange(count), resolution)
    return above[moved]


@njit(cache=True)
def _move(
    ends: _Labels,
    others: _Labels,
    weights: _Weights,
    degrees: _Weights,
    order: _Labels,
    labels: _Labels,
    share: float,
) -> None:
    """Move single nodes while the modularity grows."""
    count = len(labels)
    whole = np.zeros(count)
    for node in range(count):
        whole[labels[node]] += degrees[node]
    links, near = np.zeros(count), np.empty(count, dtype=np.int64)
    waiting, queued = order.copy(), np.ones(count, dtype=np.bool_)  # a ring
    first, length = 0, count
    visits = 40 * count  # a bound that is not met in practice
    while length and visits:
        visits -= 1
        node = waiting[first]
        first = (first + 1) % count
        length -= 1
        queued[node] = False
        found = 0
        for at in range(ends[node], ends[node + 1]):
            label = labels[others[at]]
            if links[label] == 0.0:
                near[found] = label
                found += 1
            links[label] += weights[at]
        home = labels[node]
        expected = share * degrees[node]
        whole[home] -= degrees[node]
        best, best_gain = home, links[home] - expected * whole[home] + _LEAST_GAIN
        for i in range(found):
            gain = links[near[i]] - expected * whole[near[i]]
            if gain > best_gain:
                best, best_gain = near[i], gain
            links[near[i]] = 0.0
        whole[best] += degrees[node]
        if best != home:
            labels[node] = best
            for at in range(ends[node], ends[node + 1]):
                other = others[at]
                if labels[other] != best and not queued[other]:
                    queued[other] = True
                    waiting[(first + length) % count] = other
                    length += 1


def _contracted(graph: Graph, labels: _Labels, count: int) -> Graph:
    """Make each group a node."""
    ends = np.arange(len(labels) + 1)
    member = sp.csr_matrix((np.ones(len(labels)), labels, ends), shape=(len(labels), count))
    links = (member.T @ graph.links @ member).tocsr()
    loops = member.T @ graph.loops + 0.5 * links.diagonal()
    links.setdiag(0.0)
    links.eliminate_zeros()
    links.sort_indices()
    return Graph(links=links, loops=loops)


@njit(cache=True)
def _renumbered(labels: _Labels) -> _Labels:
    """Number the labels by their first node."""
    numbers = np.full(len(labels), -1, dtype=np.int64)
    found = np.empty(len(labels), dtype=np.int64)
    count = 0
    for node in range(len(labels)):
        if numbers[labels[node]] < 0:
            numbers[labels[node]] = count
            count += 1
        found[node] = numbers[labels[node]]
    return found

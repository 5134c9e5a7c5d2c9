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

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

_LEAST_GAIN = 1e-9


@dataclass(frozen=True, kw_only=True, slots=True)
class Graph:
    """An undirected weighted graph of nodes 0, 1, …"""

    # (nodes, nodes), symmetric, nothing on the diagonal.
    links: sp.csr_matrix
    # (nodes,) weight within a node, counted once; a node may stand for many.
    loops: npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Rows:
    """A graph as dictionaries, which single moves read faster than a matrix."""

    edges: Sequence[dict[int, float]]
    loops: Sequence[float]


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
    labels = list(range(len(graph.loops)))
    rows = _rows(graph)
    for _ in range(rounds):
        before = labels
        labels = _level(graph, rows, labels, resolution)
        if labels == before:
            break
    return labels


def _level(graph: Graph, rows: _Rows, labels: list[int], resolution: float) -> list[int]:
    moved = _moved(rows, labels, resolution)
    count = max(moved, default=-1) + 1
    if count == len(moved):
        return moved
    small = _contracted(graph, moved, count)
    above = _level(small, _rows(small), list(range(count)), resolution)
    return [above[label] for label in moved]


def _moved(rows: _Rows, labels: list[int], resolution: float) -> list[int]:
    """Move single nodes while the modularity grows."""
    edges = rows.edges
    degrees = [sum(row.values()) + 2.0 * loop for row, loop in zip(edges, rows.loops, strict=True)]
    total = sum(degrees)
    if not total:
        return _renumbered(labels)
    labels = list(labels)
    weight = [0.0] * len(edges)
    for node, label in enumerate(labels):
        weight[label] += degrees[node]
    share = resolution / total
    # Those with few links first: they have the least choice.
    waiting = deque(sorted(range(len(edges)), key=lambda node: (len(edges[node]), node)))
    queued = [True] * len(edges)
    visits = 40 * len(edges)  # a bound that is not met in practice
    while waiting and visits:
        visits -= 1
        node = waiting.popleft()
        queued[node] = False
        links: defaultdict[int, float] = defaultdict(float)
        for other, w in edges[node].items():
            links[labels[other]] += w
        home = labels[node]
        expected = share * degrees[node]
        weight[home] -= degrees[node]
        best, best_gain = home, links.get(home, 0.0) - expected * weight[home]
        best_gain += _LEAST_GAIN
        for label, w in links.items():
            gain = w - expected * weight[label]
            if gain > best_gain:
                best, best_gain = label, gain
        weight[best] += degrees[node]
        if best != home:
            labels[node] = best
            for other in edges[node]:
                if labels[other] != best and not queued[other]:
                    queued[other] = True
                    waiting.append(other)
    return _renumbered(labels)


def _contracted(graph: Graph, labels: list[int], count: int) -> Graph:
    """Make each group a node."""
    ends = np.arange(len(labels) + 1)
    member = sp.csr_matrix((np.ones(len(labels)), labels, ends), shape=(len(labels), count))
    links = (member.T @ graph.links @ member).tocsr()
    loops = member.T @ graph.loops + 0.5 * links.diagonal()
    off = links.tocoo()
    between = off.row != off.col
    links = sp.csr_matrix(
        (off.data[between], (off.row[between], off.col[between])), shape=(count, count)
    )
    links.sort_indices()
    return Graph(links=links, loops=loops)


def _rows(graph: Graph) -> _Rows:
    ends = graph.links.indptr.tolist()
    others, weights = graph.links.indices.tolist(), graph.links.data.tolist()
    edges = [dict(zip(others[a:b], weights[a:b], strict=True)) for a, b in pairwise(ends)]
    return _Rows(edges=edges, loops=graph.loops.tolist())


def _renumbered(labels: list[int]) -> list[int]:
    numbers: dict[int, int] = {}
    return [numbers.setdefault(label, len(numbers)) for label in labels]

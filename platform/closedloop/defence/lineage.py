"""Who a cluster is, while its texts are grouped anew again and again.

A group goes on under the name of the cluster that most of its weight had before, so that names
outlive refreshes, restarts and small exchanges. Where two clusters become one, the lighter part's
name leads to the other from then on; where one falls apart, the lighter parts get new names and
remember where they came from.

References
----------
Spiliopoulou, M. et al. (2006). MONIC: modeling and monitoring cluster transitions. KDD.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice


class Transition(StrEnum):
    """What happened to a cluster."""

    MERGED = "merged"
    SPLIT = "split"


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One transition: `cluster` merged into `other`, or split off from it."""

    kind: Transition
    cluster: int
    other: int


class Lineage:
    """Names of clusters, and which micro-clusters each holds.

    Parameters
    ----------
    limit : int
        Merges, and departed micro-clusters, that are remembered; the oldest are forgotten first.
    """

    def __init__(self, *, limit: int) -> None:
        self.limit = limit
        self.next_id = 0
        # Micro-cluster to its cluster.
        self.homes: dict[int, int] = {}
        # Cluster to the one that it merged into.
        self.successors: dict[int, int] = {}
        # Departed micro-cluster to its last cluster.
        self.departed: dict[int, int] = {}
        # Cluster to the one that it split off from.
        self.parents: dict[int, int] = {}

    def found(self) -> int:
        """Return the name of a new cluster."""
        self.next_id += 1
        return self.next_id - 1

    def place(self, micro: int, beside: int | None) -> int:
        """Put a new micro-cluster into the cluster of another, or into one of its own."""
        home = self.found() if beside is None else self.homes[beside]
        self.homes[micro] = home
        return home

    def depart(self, micros: Iterable[int]) -> None:
        """Micro-clusters are gone; what was said of them stays known."""
        for micro in micros:
            self.departed[micro] = self.homes.pop(micro)
        _bound(self.departed, self.limit)

    def resolve(self, cluster: int) -> int:
        """Follow merges to the cluster that is called so today."""
        successors = self.successors
        while (following := successors.get(cluster)) is not None:
            cluster = following
        return cluster

    def cluster_of(self, micro: int) -> int | None:
        """Return today's cluster of a micro-cluster, departed or not; None if it is forgotten."""
        home = self.homes.get(micro)
        if home is not None:
            return home
        home = self.departed.get(micro)
        return None if home is None else self.resolve(home)

    def regroup(
        self, groups: Sequence[Sequence[int]], mass: Mapping[int, float]
    ) -> tuple[Change, ...]:
        """Give groups of micro-clusters the names of the clusters they continue.

        Parameters
        ----------
        groups : sequence of sequences of int
            Each live micro-cluster in one of them.
        mass : mapping
            Micro-cluster to its weight.

        Returns
        -------
        tuple of Change
        """
        shared: dict[tuple[int, int], float] = {}
        for number, group in enumerate(groups):
            for micro in group:
                key = (self.homes[micro], number)
                shared[key] = shared.get(key, 0.0) + mass[micro]
        ordered = sorted(shared, key=lambda key: (-shared[key], key))
        names: dict[int, int] = {}
        kept: set[int] = set()
        for old, number in ordered:
            if number not in names and old not in kept:
                names[number] = old
                kept.add(old)
        changes: list[Change] = []
        for old, number in ordered:  # the heaviest part of each comes first
            if number not in names:
                names[number] = self.found()
                self.parents[names[number]] = old
                changes.append(Change(kind=Transition.SPLIT, cluster=names[number], other=old))
        for old, number in ordered:
            if old not in kept:
                kept.add(old)
                self.successors[old] = names[number]
                changes.append(Change(kind=Transition.MERGED, cluster=old, other=names[number]))
        for number, group in enumerate(groups):
            for micro in group:
                self.homes[micro] = names[number]
        _bound(self.successors, self.limit)
        _bound(self.parents, self.limit)
        return tuple(changes)


def _bound(memory: dict[int, int], limit: int) -> None:
    """Forget the oldest entries."""
    for key in list(islice(memory, max(0, len(memory) - limit))):
        del memory[key]

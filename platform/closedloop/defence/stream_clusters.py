"""Clusters of a stream of short texts: one pass, bounded memory, names that last.

Two phases. Online, each text joins a micro-cluster of near equals (`micro_clusters`). Now and
then, and when asked, the micro-clusters are grouped: each is linked to its nearest
(`neighbours`), and the communities of that graph are the clusters (`communities`), which keep
their names from one grouping to the next (`lineage`). Texts are not kept; a text's cluster is
that of its micro-cluster, today.

References
----------
Aggarwal, C. et al. (2003). A framework for clustering evolving data streams. VLDB (two phases).
Carnein, M., Assenmacher, D., Trautmann, H. (2017). textClust.
Yin, J. et al. (2018). Model-based clustering of short text streams (MStream). KDD (the task).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from closedloop.core.errors import InputError
from closedloop.defence.communities import Graph, communities
from closedloop.defence.lineage import Change, Lineage
from closedloop.defence.meaning import TermMeaning
from closedloop.defence.micro_clusters import MicroClusters
from closedloop.defence.micro_table import MASS, SEEN, TEXTS, Ints
from closedloop.defence.neighbours import Linking, neighbour_graph
from closedloop.defence.terms import stream_terms


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamSettings:
    """How a stream is clustered; one setting fits streams of all the languages and sizes tried.

    Raises
    ------
    InputError
        A figure is out of its range.
    """

    # Time after which a text weighs half; in the unit of `at`, texts where no time is given.
    half_life: float = 50_000.0
    # Most micro-clusters in memory, some 5 kB each with the index.
    micro_clusters: int = 10_000
    # Cosine from which a text joins a micro-cluster.
    similarity: float = 0.7
    # Nearest micro-clusters that each is linked to.
    neighbours: int = 25
    # Higher for more and smaller clusters.
    resolution: float = 5.0
    # Part of the meaning in how alike two micro-clusters are; the rest is their words'.
    meaning: float = 0.3
    # Micro-clusters that a term leads to.
    postings: int = 64
    # Terms that a micro-cluster keeps.
    terms: int = 64
    # Texts for each micro-cluster between two groupings; a grouping's cost is shared by them.
    patience: float = 4.0
    # Merges and departed micro-clusters that are remembered.
    memory: int = 200_000

    def __post_init__(self) -> None:
        whole = (self.micro_clusters, self.neighbours, self.postings, self.terms, self.memory)
        if min(whole) < 1 or not 0 < self.similarity < 1:
            raise InputError(
                f"These settings cannot cluster a stream: {self}.",
                remedy="Give counts of 1 or more and a similarity between 0 and 1.",
            )
        if not 0 <= self.meaning <= 1 or not (
            self.half_life > 0 and self.resolution > 0 and self.patience > 0
        ):
            raise InputError(
                f"These settings cannot cluster a stream: {self}.",
                remedy="Give half-life, resolution and patience above 0, meaning from 0 to 1.",
            )


class Placement(NamedTuple):
    """Where a text went: its micro-cluster for good, and the cluster of that as of now."""

    micro: int
    cluster: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """A cluster as of now."""

    id: int
    # Weight of its texts, in texts of now.
    weight: float
    # Texts that its live micro-clusters took in, without decay.
    texts: int
    # Time of its last text.
    seen: float
    # Heaviest terms, those that are rare elsewhere first.
    terms: tuple[str, ...]
    micros: tuple[int, ...]


_LEAST_INTERVAL = 500  # texts
_LINK_POSTINGS = 256  # where all are linked at once, a term may lead to more


class StreamClusters:
    """Clusters a stream; equal streams give equal clusters, restarts in between or not.

    Parameters
    ----------
    settings : StreamSettings

    Examples
    --------
    >>> stream = StreamClusters()
    >>> for text in ("coupon does not work", "my coupon does not work", "where is my parcel"):
    ...     placed = stream.add(text)
    >>> [cluster.texts for cluster in stream.clusters()]
    [2, 1]
    """

    def __init__(self, settings: StreamSettings | None = None) -> None:
        self.settings = settings = settings or StreamSettings()
        self.micros = MicroClusters(
            similarity=settings.similarity,
            half_life=settings.half_life,
            limit=settings.micro_clusters,
            postings=settings.postings,
            terms=settings.terms,
            # A grouping can part what was put together, so half of what it asks is enough.
            chance=0.5 * settings.resolution,
        )
        self._linking = Linking(
            neighbours=settings.neighbours, postings=_LINK_POSTINGS, meaning=settings.meaning
        )
        self._meaning = TermMeaning()
        self.lineage = Lineage(limit=settings.memory)
        self.texts = 0
        self.now = 0.0
        self.waited = 0

    def add(self, text: str, at: float | None = None) -> Placement:
        """Cluster one text.

        Parameters
        ----------
        at : float, optional
            Its time; without it, how many texts came before.

        Raises
        ------
        InputError
            The time is no finite number.
        """
        at = float(self.texts) if at is None else at
        if not math.isfinite(at):
            raise InputError(f"The time {at} is no time.", remedy="Give seconds, or nothing.")
        self.texts += 1
        self.now = max(self.now, at)
        if self.micros.needs_grouping:
            self.refresh()
        landing = self.micros.add(stream_terms(text) or [""], at)
        lineage = self.lineage
        if landing.removed:
            lineage.depart(landing.removed)
        if landing.new:
            lineage.place(landing.micro, None if landing.nearest < 0 else landing.nearest)
        self.waited += 1
        if self.waited >= _LEAST_INTERVAL and self.waited >= self.settings.patience * len(
            self.micros
        ):
            self.refresh()
        return Placement(micro=landing.micro, cluster=lineage.homes[landing.micro])

    def add_all(self, texts: Iterable[str]) -> list[Placement]:
        """Cluster texts in their order."""
        return [self.add(text) for text in texts]

    def refresh(self) -> tuple[Change, ...]:
        """Group the micro-clusters anew.

        Returns
        -------
        tuple of Change
            Clusters that merged or split.
        """
        self.waited = 0
        self.lineage.depart(self.micros.forget(self.now))
        ids = list(self.micros.places)
        labels = communities(self._graph(), resolution=self.settings.resolution)
        groups: list[list[int]] = [[] for _ in range(max(labels, default=-1) + 1)]
        for micro, label in zip(ids, labels, strict=True):
            groups[label].append(micro)
        self.micros.settle(labels)
        slots = self.micros.slots()
        mass = dict(zip(ids, self.micros.table.figures[slots, MASS].tolist(), strict=True))
        return self.lineage.regroup(groups, mass)

    def _graph(self) -> Graph:
        unit = 1.0 / self._per_text()
        return neighbour_graph(self.micros, unit, self._linking, self._meaning)

    def cluster_of(self, placement: Placement) -> int:
        """Return the cluster that a text of the past belongs to today."""
        home = self.lineage.cluster_of(placement.micro)
        return self.lineage.resolve(placement.cluster) if home is None else home

    def clusters(self, *, terms: int = 8) -> list[Cluster]:
        """Return the clusters as of now, the heaviest first."""
        homes = self.lineage.homes
        members: dict[int, list[int]] = {}
        for micro in self.micros.places:
            members.setdefault(homes[micro], []).append(micro)
        rows = {name: row for row, name in enumerate(members)}
        slots = self.micros.slots()
        labels = np.array([rows[homes[micro]] for micro in self.micros.places], dtype=np.int64)
        table, count = self.micros.table, len(members)
        weights = np.bincount(labels, table.figures[slots, MASS], count) * self._per_text()
        texts, seen = np.zeros(count, dtype=np.int64), np.full(count, -np.inf)
        np.add.at(texts, labels, table.counts[slots, TEXTS])
        np.maximum.at(seen, labels, table.figures[slots, SEEN])
        leading = self._leading(slots, labels, count, terms)
        found = [
            Cluster(
                id=name,
                weight=float(weights[row]),
                texts=int(texts[row]),
                seen=float(seen[row]),
                terms=leading[row],
                micros=tuple(members[name]),
            )
            for name, row in rows.items()
        ]
        return sorted(found, key=lambda cluster: (-cluster.weight, cluster.id))

    def _leading(self, slots: Ints, labels: Ints, count: int, most: int) -> list[tuple[str, ...]]:
        """Return each group's heaviest terms, those that are rare elsewhere first."""
        micros = self.micros
        ends, terms, weights = micros.held(slots)
        rows = np.repeat(labels, np.diff(ends))
        sums = sp.csr_matrix((weights, (rows, terms)), shape=(count, len(micros.names)))
        sums.data *= np.log1p(micros.mass / micros.table.frequency[sums.indices])
        found: list[tuple[str, ...]] = []
        for begin, end in pairwise(sums.indptr.tolist()):
            scores, numbers = sums.data[begin:end], sums.indices[begin:end]
            if len(scores) > most:
                strong = scores >= np.partition(scores, -most)[-most]
                scores, numbers = scores[strong], numbers[strong]
            named = [micros.names[number] for number in numbers.tolist()]
            ranked = sorted(zip((-scores).tolist(), named, strict=True))
            found.append(tuple(name for _, name in ranked[:most]))
        return found

    def _per_text(self) -> float:
        """Texts of now in a unit of weight."""
        return 2.0 ** ((self.micros.origin - self.now) / self.settings.half_life)

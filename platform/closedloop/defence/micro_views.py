"""Micro-clusters and frequencies of terms as mappings, read from the arrays when asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from closedloop.defence.micro_cluster import MicroCluster
from closedloop.defence.micro_table import HELD, MASS, OWN, SEEN, SQUARE, TEXTS

if TYPE_CHECKING:
    from closedloop.defence.micro_clusters import MicroClusters


class Micros(Mapping[int, MicroCluster]):
    """Micro-clusters by their ids."""

    def __init__(self, owner: MicroClusters) -> None:
        self._owner = owner

    def __len__(self) -> int:
        return len(self._owner.places)

    def __iter__(self) -> Iterator[int]:
        return iter(self._owner.places)

    def __getitem__(self, micro: int) -> MicroCluster:
        slot = self._owner.places[micro]
        table, names = self._owner.table, self._owner.names
        figures, count = table.figures[slot].tolist(), int(table.counts[slot, HELD])
        return MicroCluster(
            mass=figures[MASS],
            square=figures[SQUARE],
            own=figures[OWN],
            texts=int(table.counts[slot, TEXTS]),
            seen=figures[SEEN],
            terms=dict(
                zip(
                    [names[number] for number in table.held[slot, :count].tolist()],
                    table.weights[slot, :count].tolist(),
                    strict=True,
                )
            ),
        )


class Frequency(Mapping[str, float]):
    """Frequency of terms."""

    def __init__(self, owner: MicroClusters) -> None:
        self._owner = owner

    def __len__(self) -> int:
        return len(self._owner.numbers)

    def __iter__(self) -> Iterator[str]:
        return iter(self._owner.numbers)

    def __getitem__(self, term: str) -> float:
        return float(self._owner.table.frequency[self._owner.numbers[term]])

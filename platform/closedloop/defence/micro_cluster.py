"""One micro-cluster, and where a text landed among them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass(kw_only=True, slots=True)
class MicroCluster:
    """Sums over the texts of one micro-cluster; a text at the time of origin weighs 1."""

    # Weight of its texts.
    mass: float = 0.0
    # Squared length of the sum of its texts' unit vectors.
    square: float = 0.0
    # Sum of the squares of its texts' weights.
    own: float = 0.0
    # Texts, without decay.
    texts: int = 0
    # Time of the last text.
    seen: float = 0.0
    # Term to the weight of its texts that hold it.
    terms: dict[str, float] = field(default_factory=dict)


class Landing(NamedTuple):
    """Where a text went."""

    micro: int
    # Whether the text founded the micro-cluster.
    new: bool
    # Where it is new, one in the cluster that it belongs to, or -1 where it founds a cluster.
    nearest: int
    # Micro-clusters that made room.
    removed: tuple[int, ...]

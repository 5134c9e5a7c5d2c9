"""What a shard of the stream clusterer reports of itself."""

from __future__ import annotations

import os
from collections import deque
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardFigures:
    """How a shard stands."""

    process_id: int = 0
    tenants: int = 0
    tenants_held: int = 0  # in memory
    clusters: int = 0  # of tenants in memory
    events: int = 0  # read since it started
    texts: int = 0  # clustered since it started
    events_per_s: float = 0.0
    lag_events: int = 0
    # Since it last was at the end of the log: no event that it has not read is older.
    lag_s: float = 0.0
    memory_bytes: int = 0  # of its process
    checkpoints: int = 0
    checkpoint_s: float = 0.0  # the last one took
    missed: int = 0  # events that the log removed before they were read
    restarts: int = 0  # after a failure, within its process
    problem: str = ""  # what it last failed for, until it works again

    def to_json(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> ShardFigures:
        """Rebuild figures; what a release does not know is left out."""
        known = {each.name for each in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})


class Rate:
    """Events a second over the last seconds.

    Examples
    --------
    >>> rate = Rate(over_s=10.0)
    >>> for second in range(5):
    ...     rate.add(second * 100, at=float(second))
    >>> rate.per_s
    100.0
    """

    def __init__(self, *, over_s: float) -> None:
        self._over_s = over_s
        self._seen: deque[tuple[float, int]] = deque()

    def add(self, total: int, *, at: float) -> None:
        """Note how many there were in all at a time, in seconds."""
        self._seen.append((at, total))
        while len(self._seen) > 2 and self._seen[0][0] < at - self._over_s:
            self._seen.popleft()

    @property
    def per_s(self) -> float:
        """Events a second."""
        if len(self._seen) < 2 or self._seen[-1][0] <= self._seen[0][0]:
            return 0.0
        (begun, before), (ended, after) = self._seen[0], self._seen[-1]
        return (after - before) / (ended - begun)


def process_memory_bytes() -> int:
    """Return the memory that this process holds."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:  # no Linux: the most that it ever held
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return pages * os.sysconf("SC_PAGE_SIZE")

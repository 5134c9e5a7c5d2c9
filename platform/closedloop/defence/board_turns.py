"""Whose issues are looked at when: a look reads and changes nothing, so the clock may decide."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Looking:
    """How often a shard looks for issues."""

    # Part of the time that it may take, and most of it at once, in seconds.
    share: float = 0.1
    turn_s: float = 0.1
    # Between two looks at one tenant; ten times that where no text came.
    pause_s: float = 1.0
    # Time without texts for which a tenant's issues are still looked at.
    quiet_s: float = 3_600.0
    # Tenants of an earlier process that are looked at once.
    most_of_before: int = 500


class BoardTurns:
    """Gives tenants their turns.

    Parameters
    ----------
    looking : Looking
    latest : mapping
        Tenants of an earlier process, to the time of each one's last event.
    clock : callable
        Returns Unix seconds.
    """

    def __init__(
        self,
        looking: Looking,
        latest: Mapping[str, float],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._looking = looking
        self._clock = clock
        since = max(latest.values(), default=0.0) - looking.quiet_s
        newest = sorted(latest, key=lambda name: -latest[name])[: looking.most_of_before]
        self._changed = {name for name in newest if latest[name] >= since}
        self._looked: dict[str, float] = {}
        self._rests_until = 0.0

    def changed(self, tenant: str) -> None:
        """A text of a tenant came."""
        self._changed.add(tenant)

    @contextmanager
    def turn(self) -> Iterator[Iterator[str]]:
        """Yield the tenants that are due, as long as the turn lasts; then comes a rest."""
        begun = time.perf_counter()
        if begun < self._rests_until:
            yield iter(())
            return
        yield self._in_time(begun + self._looking.turn_s)
        spent_s = time.perf_counter() - begun
        self._rests_until = begun + spent_s / self._looking.share

    def looked(self, tenant: str, latest: float) -> float:
        """Note a look; return the time of events as of which rates are told.

        It is now where the tenant's traffic is of now, else the time of its last event.
        """
        now = self._clock()
        self._changed.discard(tenant)
        if 0 <= now - latest < self._looking.quiet_s:
            self._looked[tenant] = now
            return now
        self._looked.pop(tenant, None)  # until its next text
        return latest

    def _in_time(self, end: float) -> Iterator[str]:
        for name in self._due():
            yield name
            if time.perf_counter() >= end:
                return

    def _due(self) -> list[str]:
        """Return tenants whose issues may have changed, those not looked at longest first."""
        now, pause_s = self._clock(), self._looking.pause_s
        due = {
            name: at
            for name, at in self._looked.items()
            if now - at >= (pause_s if name in self._changed else 10 * pause_s)
        }
        due |= {name: 0.0 for name in self._changed if name not in self._looked}
        return sorted(due, key=lambda name: due[name])

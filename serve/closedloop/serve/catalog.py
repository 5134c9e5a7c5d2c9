"""What serving should hold: the champion of every model, and how that differs from before.

The digest of a catalog is its generation. It follows from the content alone, so a watcher that
restarts gives the same champions the same generation and no replica reloads anything.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from closedloop.models.registry import Champion


@dataclass(frozen=True, kw_only=True, slots=True)
class Catalog:
    """Every champion at one moment, by name."""

    champions: tuple[Champion, ...]
    digest: str

    @classmethod
    def of(cls, champions: Sequence[Champion]) -> Catalog:
        """Make the catalog of these champions, whatever their order.

        Examples
        --------
        >>> Catalog.of([]).digest == Catalog.of([]).digest
        True
        """
        ordered = tuple(sorted(champions, key=lambda champion: champion.ref))
        digest = hashlib.blake2b(digest_size=16)
        for champion in ordered:
            line = (str(champion.ref), str(champion.version), champion.path, champion.sha256)
            digest.update("\x1f".join(line).encode() + b"\x1e")
        return cls(champions=ordered, digest=digest.hexdigest())


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """What a host has to do to hold a catalog."""

    load: tuple[Champion, ...]
    unload: tuple[str, ...]


def difference(held: Mapping[str, Champion], catalog: Catalog) -> Difference:
    """Compare what is held, by model name, with what should be.

    A champion that moved comes before one that is new: somebody already asks for it.
    """
    wanted = {str(champion.ref): champion for champion in catalog.champions}
    moved = [c for name, c in wanted.items() if name in held and held[name] != c]
    new = [c for name, c in wanted.items() if name not in held]
    gone = [name for name in held if name not in wanted]
    return Difference(load=(*moved, *new), unload=tuple(gone))


class Champions(Protocol):
    """The part of the registry that the poller reads."""

    def champions(self) -> list[Champion]:
        """Return every champion."""

    def change_token(self) -> tuple[int, ...] | None:
        """Return a value that changes with the store, None where there is none."""


class CatalogPoller:
    """Reads the catalog, and spares the registry where its store has not changed.

    Parameters
    ----------
    full_every_s : float
        How long the store's change token may be trusted before the registry is asked anyway.
    """

    def __init__(
        self,
        registry: Champions,
        *,
        full_every_s: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._full_every_s = full_every_s
        self._clock = clock
        self._token: tuple[int, ...] | None = None
        self._read_at = float("-inf")
        self._catalog = Catalog.of([])

    def poll(self) -> Catalog:
        """Return the catalog of this moment.

        Raises
        ------
        EngineError
            The registry did not answer.
        """
        token = self._registry.change_token()
        fresh = self._clock() - self._read_at < self._full_every_s
        if token is not None and token == self._token and fresh:
            return self._catalog
        self._catalog = Catalog.of(self._registry.champions())
        # The token from before the read: a write during the read shows at the next poll.
        self._token = token
        self._read_at = self._clock()
        return self._catalog

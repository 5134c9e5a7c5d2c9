"""What serving should hold: champions, versions on trial, and how that differs from before.

The digest of a catalog is its generation. It follows from the content alone, so a watcher that
restarts gives the same champions and trials the same generation and no replica reloads anything.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from closedloop.models.model_version import Champion
from closedloop.models.reference import ModelRef
from closedloop.models.registry import Stages
from closedloop.models.trial import EndedTrial, Trial


@dataclass(frozen=True, kw_only=True, slots=True)
class Catalog:
    """Every champion, and what is on trial beside it, at one moment, by name."""

    champions: tuple[Champion, ...]
    digest: str
    trials: tuple[Trial, ...] = ()

    @classmethod
    def of(cls, champions: Iterable[Champion], trials: Iterable[Trial] = ()) -> Catalog:
        """Make the catalog of these champions and trials, whatever their order.

        Examples
        --------
        >>> Catalog.of([]).digest == Catalog.of([]).digest
        True
        """
        ordered = tuple(sorted(champions, key=lambda champion: champion.ref))
        digest = hashlib.blake2b(digest_size=16)
        for champion in ordered:
            digest.update("\x1f".join(_line(champion)).encode() + b"\x1e")
        on_trial = tuple(sorted(trials, key=lambda trial: trial.ref))
        for trial in on_trial:
            line = (*_line(trial.candidate), trial.stage, repr(trial.percent))
            digest.update("\x1f".join(line).encode() + b"\x1e")
        return cls(champions=ordered, trials=on_trial, digest=digest.hexdigest())


def _line(champion: Champion) -> tuple[str, ...]:
    return (str(champion.ref), str(champion.version), champion.path, champion.sha256)


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


class Aliases(Protocol):
    """The part of the registry that the poller needs."""

    def stages(self) -> Stages:
        """Return every champion and every trial."""

    def end_trial(
        self, ref: ModelRef, reason: str, *, version: int | None = None
    ) -> EndedTrial | None:
        """Take a model's trial away."""

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
        registry: Aliases,
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
        found = self._registry.stages()
        self._catalog = Catalog.of(found.champions, found.trials)
        # The token from before the read: a write during the read shows at the next poll.
        self._token = token
        self._read_at = self._clock()
        return self._catalog

    def roll_back(self, trial: Trial, reason: str) -> EndedTrial | None:
        """End a trial, unless somebody has put another version in its place.

        Raises
        ------
        EngineError
            The registry did not answer; the trial goes on until it does.
        NotFound
            The model is gone.
        """
        ended = self._registry.end_trial(trial.ref, reason, version=trial.version)
        self._token = None  # the next poll must ask
        self._read_at = float("-inf")
        return ended

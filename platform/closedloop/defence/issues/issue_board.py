"""Brings what the stream sees into the issue book, and raises alerts for what came onto it."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence

from closedloop.defence.issues.issue_book import IssueBook
from closedloop.defence.issues.sighting import Sighting

_FADE_AFTER_S = 86_400.0
_RAISE_PAUSE_S = 5.0  # of events: it reads a tenant's whole board
_FADE_PAUSE_S = 60.0  # of events


class IssueBoard:
    """The board that a shard tells.

    Parameters
    ----------
    book : IssueBook
    raise_for : callable
        Raises alerts for issues that are on the board, now and then, and at once where some came.
        It knows what it has told.
    fade_after_s : float
        Time without a text after which an issue that nobody touched is closed.
    """

    def __init__(
        self,
        book: IssueBook,
        *,
        raise_for: Callable[..., object] = lambda *_: None,
        fade_after_s: float = _FADE_AFTER_S,
    ) -> None:
        self._book = book
        self._raise_for = raise_for
        self._fade_after_s = fade_after_s
        self._faded: dict[str, float] = {}
        self._raised: dict[str, float] = {}

    def known(self, tenant: str) -> Collection[int]:
        """Return the clusters that are issues already."""
        return self._book.clusters(tenant)

    def parts(self, tenant: str) -> Mapping[int, int]:
        """Return the micro-clusters that people set apart, and the cluster each counts as."""
        return self._book.parts(tenant)

    def tell(self, tenant: str, sightings: Sequence[Sighting], *, now: float) -> None:
        """Publish what is seen at a time of events, in Unix seconds.

        Raises
        ------
        EngineError
            The store does not answer; telling the same again is safe.
        """
        came = self._book.publish(tenant, sightings)
        if came or now - self._raised.get(tenant, -math.inf) >= _RAISE_PAUSE_S:
            # All that are open: one may have grown, or a kill came between it and its alert.
            self._raise_for(*self._book.board(tenant=tenant))
            self._raised[tenant] = now
        if now - self._faded.get(tenant, -math.inf) >= _FADE_PAUSE_S:
            self._book.fade(tenant, quiet_since=now - self._fade_after_s)
            self._faded[tenant] = now

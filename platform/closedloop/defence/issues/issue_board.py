"""Brings what the stream sees into the issue book, and raises alerts for what came onto it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from closedloop.defence.issues.issue import Issue
from closedloop.defence.issues.issue_book import IssueBook
from closedloop.defence.issues.sighting import Sighting

_FADE_AFTER_S = 86_400.0
_FADE_PAUSE_S = 60.0  # of events; fading reads the whole board of a tenant


class IssueBoard:
    """The board that a shard tells.

    Parameters
    ----------
    book : IssueBook
    raise_for : callable
        Raises alerts for an issue that came onto the board; for the same one again, it must do
        nothing. A shard that was killed between the two calls it when it is back.
    fade_after_s : float
        Time without a text after which an issue that nobody touched is closed.
    """

    def __init__(
        self,
        book: IssueBook,
        *,
        raise_for: Callable[[Issue], object] = lambda _: None,
        fade_after_s: float = _FADE_AFTER_S,
    ) -> None:
        self._book = book
        self._raise_for = raise_for
        self._fade_after_s = fade_after_s
        self._faded: dict[str, float] = {}
        self._raised: set[str] = set()  # tenants whose open issues have their alerts

    def known(self, tenant: str) -> Collection[int]:
        """Return the clusters that are issues already."""
        return self._book.clusters(tenant)

    def tell(self, tenant: str, sightings: Sequence[Sighting], *, now: float) -> None:
        """Publish what is seen at a time of events, in Unix seconds.

        Raises
        ------
        EngineError
            The store does not answer; telling the same again is safe.
        """
        came = self._book.publish(tenant, sightings)
        if tenant not in self._raised:
            came = [*self._book.board(tenant=tenant)]
            self._raised.add(tenant)
        for issue in came:
            self._raise_for(issue)
        if now - self._faded.get(tenant, 0.0) >= _FADE_PAUSE_S:
            self._book.fade(tenant, quiet_since=now - self._fade_after_s)
            self._faded[tenant] = now

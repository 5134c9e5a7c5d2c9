"""One tenant's part of the stream: its clusters, what watches them, and what was told before."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from closedloop.data.event import Event
from closedloop.defence import cluster_state
from closedloop.defence.checkpoint import SavedTenant
from closedloop.defence.stream_clusters import Placement, StreamClusters, StreamSettings
from closedloop.defence.stream_texts import ToldTexts

if TYPE_CHECKING:
    from closedloop.defence.issues.sighting import Sighting


class Watch(Protocol):
    """Watches one tenant's clusters for issues; depends on what it sees and nothing else."""

    def see(self, event: Event, placement: Placement) -> None:
        """Take a text that was placed."""

    def heed(self, feedback: Event) -> None:
        """Take a thumb about a text seen."""

    def sightings(
        self,
        stream: StreamClusters,
        *,
        now: float,
        known: Collection[int] = (),
        parts: Mapping[int, int] | None = None,
    ) -> list[Sighting]:
        """Return what rises, and how the known ones stand; changes nothing."""


W = TypeVar("W", bound=Watch)


@dataclass(frozen=True, kw_only=True, slots=True)
class Watching(Generic[W]):
    """How watches are made, and kept over a restart."""

    new: Callable[[], W]
    dump: Callable[[W], bytes]
    load: Callable[[bytes], W]


class TenantStream(Generic[W]):
    """A tenant's clusters as they stand.

    Parameters
    ----------
    watching : Watching
    settings : StreamSettings, optional
        Of a new stream; one that was saved has its own.
    first_id : int
        Smallest id of a cluster and a micro-cluster of a new stream.
    saved : SavedTenant, optional
        What to go on from.
    """

    def __init__(
        self,
        watching: Watching[W],
        *,
        settings: StreamSettings | None = None,
        first_id: int = 0,
        saved: SavedTenant | None = None,
    ) -> None:
        self._watching = watching
        if saved is None:
            self.stream = StreamClusters(settings)
            self.stream.lineage.next_id = self.stream.micros.next_id = first_id
            self.watch = watching.new()
            self._told = ToldTexts()
            self.latest = 0.0
        else:
            self.stream = cluster_state.load(saved.stream)
            self.watch = watching.load(saved.watch)
            self._told = ToldTexts(saved.told)
            self.latest = saved.latest

    def take(self, event: Event) -> Placement | None:
        """Cluster an event's text; None where it was counted already."""
        if not self._told.is_new(event):
            return None
        at = event.ts.timestamp()
        self.latest = max(self.latest, at)
        placement = self.stream.add(event.text or "", at)
        self.watch.see(event, placement)
        return placement

    def heed(self, feedback: Event) -> None:
        """Hear a thumb, which may be about another event of the turn than the one counted."""
        self.watch.heed(replace(feedback, refers_to=self._told.counted_as(feedback)))

    def saved(self) -> SavedTenant:
        """Return what another process goes on from."""
        return SavedTenant(
            stream=cluster_state.dump(self.stream),
            watch=self._watching.dump(self.watch),
            told=tuple(self._told.items()),
            latest=self.latest,
        )

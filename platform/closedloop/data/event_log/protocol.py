"""What every event log does: an append-only record of events that any number of consumers read.

A log has one partition or several, each in an order of its own; the events of a dialogue share
a partition, so that they are read as they were appended. A consumer reads from a position, does
its work and commits the next position; after a crash it reads again from what it committed (at
least once). Whoever writes what it reads to another place drops there what came before, by
`event_id`, so that the effect is once (see `closedloop.data.drain`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple, Protocol

from closedloop.data.event import Event
from closedloop.data.event_log.codec import Encoded

# Partition → offset of the next event to read; a partition that is not named is read from its
# first event.
Position = Mapping[int, int]
START: Position = MappingProxyType({})


class Place(NamedTuple):
    """Where an event is in a log."""

    partition: int
    offset: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LoggedEvent:
    """An event and its place in the log."""

    partition: int
    offset: int
    event: Event


@dataclass(frozen=True, kw_only=True, slots=True)
class Unreadable:
    """A record that is no event: somebody else wrote it, or a release that knew more."""

    partition: int
    offset: int
    reason: str
    raw: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """What a read returned; each partition's events are in order."""

    events: tuple[LoggedEvent, ...]
    unreadable: tuple[Unreadable, ...] = ()
    # Where the next read goes on.
    next: Position

    def __bool__(self) -> bool:
        return bool(self.events or self.unreadable)


@dataclass(frozen=True, kw_only=True, slots=True)
class Appended:
    """What an append did: for each event its place, None for one that the log has already."""

    places: tuple[Place | None, ...]

    @property
    def new(self) -> int:
        """How many events were added."""
        return len(self.places) - self.duplicates

    @property
    def duplicates(self) -> int:
        """How many events the log knew, or were twice in the batch."""
        return self.places.count(None)


class EventLog(Protocol):
    """What every event log does; the contract suite in the tests spells it out."""

    @property
    def identity(self) -> str:
        """A name that no other log has, also not one made later in the same place."""

    def append(self, events: Sequence[Event]) -> Appended:
        """Store events durably, in order within each partition.

        Events whose `event_id` the log knows are left out. A log that many processes write
        without one authority knows those of its own process only.

        Raises
        ------
        EngineError
            Not all of them are known to be stored; appending the same batch again is safe.
        """

    def append_encoded(self, events: Sequence[Encoded]) -> Appended:
        """Do as `append` does with events that another process has encoded."""

    def read(self, position: Position, *, limit: int) -> Page:
        """Return up to ``limit`` events from ``position`` on; none at the log's end."""

    def get(self, event_id: str) -> Event | None:
        """Return the event with this id; None where the log does not have it at hand."""

    def end(self) -> Position:
        """Return the position behind every event that is in the log now."""

    def size(self) -> int:
        """Return how many events the log holds; old ones may have been removed."""

    def commit(self, consumer: str, position: Position) -> None:
        """Remember that ``consumer`` has done everything before ``position``."""

    def committed(self, consumer: str) -> Position:
        """Return the position from which ``consumer`` goes on; `START` for a new one."""

    def retain(self, retention: Retention) -> Retained:
        """Remove old events, or see to it that they are removed."""

    def close(self) -> None:
        """Give files and connections back."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Retention:
    """What a log keeps: events younger than an age, and no more than a size; None is no bound."""

    older_than_s: float | None = None
    max_bytes: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Retained:
    """What applying a retention did."""

    removed: int  # events
    kept: int  # events
    bytes_before: int
    bytes_after: int
    # Consumers that have not read what should go, so that it stayed.
    held_back_by: tuple[str, ...] = ()
    # Who removes what is too old, where it is not the caller; None where it was done.
    left_to: str | None = None

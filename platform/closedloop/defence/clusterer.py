"""One shard of the stream clusterer: reads the event log, clusters its slots' tenants.

All that changes clusters depends on events alone, and is saved with the position behind them
(`checkpoint`). Killed at any moment and opened again, a shard reads once more what came behind
its files, and ends as one that was never killed. The embedded log gives events in one order;
Kafka gives those of several partitions in an order that may differ when they are read again, so
that there each event counts once, and equal clusters are certain for one partition only.

What is new among the issues is told after its slot was saved: a reader never hears of a cluster
whose name a restart could give to another one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol

from closedloop.core.errors import Conflict
from closedloop.data.event_log.protocol import EventLog, Page, Position
from closedloop.defence.checkpoint import SlotFiles, farthest, least
from closedloop.defence.recent_traffic import RecentTraffic, RecentWriter
from closedloop.defence.slot import Slot
from closedloop.defence.slots import slot_of
from closedloop.defence.stream_clusters import StreamSettings
from closedloop.defence.tenant_stream import TenantStream, W, Watching

if TYPE_CHECKING:
    from closedloop.defence.issues.sighting import Sighting

CONSUMER = "clusterer"  # of the event log: all shards together


class Board(Protocol):
    """Where issues are shown; telling it the same again changes nothing."""

    def known(self, tenant: str) -> Collection[int]:
        """Return the clusters that are issues already."""

    def parts(self, tenant: str) -> Mapping[int, int]:
        """Return the micro-clusters that people set apart, and the cluster each counts as."""

    def tell(self, tenant: str, sightings: Sequence[Sighting], *, now: float) -> None:
        """Take what is seen of issues at a time of events, in Unix seconds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClustererSettings:
    """How a shard works; none of it changes what the clusters become."""

    page_events: int = 1_000
    # Events that are read again after a kill, at most; a checkpoint costs up to a second a
    # tenant with many micro-clusters.
    checkpoint_events: int = 50_000
    # Tenants in memory, and their micro-clusters, of some 20 kB each; others are loaded when an
    # event of theirs comes. One tenant is there whatever its size.
    most_tenants: int = 500
    most_micros: int = 60_000
    # Part of the time that looking for issues may take, and most of it at once.
    board_share: float = 0.1
    board_turn_s: float = 0.1
    # Between two looks at one tenant.
    board_pause_s: float = 1.0
    # Time without events for which a tenant's issues are still looked at.
    board_quiet_s: float = 3_600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ClustererCounts:
    """What a shard did and holds."""

    events: int  # read
    texts: int  # clustered
    missed: int  # events that the log removed before they were read
    unread: int  # events
    checkpoints: int
    checkpoint_s: float  # the last one took
    tenants: int
    tenants_held: int  # in memory
    clusters: int  # of those in memory


class Clusterer(Generic[W]):
    """A shard at work; one thread at a time.

    Parameters
    ----------
    log : EventLog
    files : SlotFiles
    shard : int
        Its number.
    slots : sequence of int
        Its slots.
    watching : Watching
        Makes what looks for issues.
    board : Board, optional
    recent : RecentTraffic, optional
        Keeps the texts of the last hour.
    held : callable
        Returns a context in which nobody can take this shard's place; raises `Conflict` where
        somebody has.
    clock : callable
        For what is told to readers, in Unix seconds.

    Raises
    ------
    Conflict
        The files are of another log, or the log has lost its end.
    InputError
        A file cannot be read.
    """

    def __init__(
        self,
        *,
        log: EventLog,
        files: SlotFiles,
        shard: int,
        slots: Sequence[int],
        watching: Watching[W],
        board: Board | None = None,
        recent: RecentTraffic | None = None,
        held: Callable[[], AbstractContextManager[object]] = nullcontext,
        settings: ClustererSettings | None = None,
        stream: StreamSettings | None = None,
        first_id: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._log = log
        self._files = files
        self._shard = shard
        self._board = board
        self._recent = RecentWriter(recent) if recent else None
        self._fenced = held
        self._settings = settings or ClustererSettings()
        self._clock = clock
        with held():
            files.sweep(slots)
        positions = files.positions()
        self._at: Position = least(positions[slot] for slot in slots)
        self._check_end(log.end())
        self._slots = {
            slot: Slot(
                slot,
                files=files,
                begins=positions[slot],
                watching=watching,
                settings=stream,
                first_id=first_id,
            )
            for slot in slots
        }
        self._begun = {slot: positions[slot] for slot in slots}
        self._events = self._texts = self._missed = self._checkpoints = 0
        self._since = 0  # events since the last checkpoint
        self.checkpoint_s = 0.0  # the last one took
        self._at_end = False
        self._told: dict[str, set[int]] = {}
        self._look_at: dict[str, float] = {}
        self._look_again = 0.0
        # Tenants to look at; one may have been saved, and its issues not told.
        self._fresh = self._of_late()

    @property
    def changed(self) -> int:
        """Events since the last checkpoint."""
        return self._since

    @property
    def due(self) -> bool:
        """Whether so many events came that a checkpoint should be made."""
        return self._since >= self._settings.checkpoint_events

    def step(self) -> int:
        """Take a page of events; return how many the log had, 0 at its end."""
        page = self._log.read(self._at, limit=self._settings.page_events)
        self._at_end = not page
        if not page:
            return 0
        self._count_missed(page)
        for logged in page.events:
            slot = self._slots.get(slot_of(logged.event.tenant))
            if slot is None:
                continue
            placement = slot.take(logged)
            if placement is not None:
                self._texts += 1
                self._fresh.add(logged.event.tenant)
                if self._recent:
                    self._recent.add(logged, placement)
        self._at = page.next
        read = len(page.events) + len(page.unreadable)
        self._events += read
        self._since += read
        return read

    def checkpoint(self) -> None:
        """Save what changed; from here a killed shard goes on.

        Raises
        ------
        Conflict
            Somebody has this shard's place.
        EngineError
            A file cannot be written, or the log or the store does not answer.
        """
        begun = time.perf_counter()
        self._flush_recent()
        for slot in self._slots.values():
            if slot.changed:
                self._save(slot)
        with self._fenced():
            self._files.write_position(self._shard, self._slots, self._at)
        # What other shards have not read must stay in the log, too.
        self._log.commit(CONSUMER, least(self._files.positions().values()))
        self._since = 0
        self._checkpoints += 1
        self._make_room()
        self.checkpoint_s = time.perf_counter() - begun

    def tell(self) -> None:
        """Look at tenants that are due and tell the board of their issues."""
        if self._board is None or time.perf_counter() < self._look_again:
            return
        begun = time.perf_counter()
        for name in self._to_look_at():
            self._look(name, self._board)
            if time.perf_counter() - begun >= self._settings.board_turn_s:
                break
        self._make_room()
        spent_s = time.perf_counter() - begun
        self._look_again = begun + spent_s / self._settings.board_share

    def flush_recent(self) -> None:
        """Write the texts that previews have not seen yet."""
        self._flush_recent()

    def counts(self) -> ClustererCounts:
        """Return what it did and holds; asks the log for its end where that is ahead."""
        end = {} if self._at_end else self._log.end()
        held = [tenant for slot in self._slots.values() for tenant in slot.held.values()]
        return ClustererCounts(
            events=self._events,
            texts=self._texts,
            missed=self._missed,
            unread=sum(max(0, end[p] - self._at.get(p, 0)) for p in end),
            checkpoints=self._checkpoints,
            checkpoint_s=self.checkpoint_s,
            tenants=sum(
                len(slot.tenants.keys() | slot.held.keys()) for slot in self._slots.values()
            ),
            tenants_held=len(held),
            clusters=sum(len(set(tenant.stream.lineage.homes.values())) for tenant in held),
        )

    def _save(self, slot: Slot[W]) -> None:
        made = slot.checkpoint(farthest(self._begun[slot.number], self._at))
        with self._fenced():
            slot.save(made)

    def _of_late(self) -> set[str]:
        latest = {n: at for slot in self._slots.values() for n, at in slot.tenants.items()}
        since = max(latest.values(), default=0.0) - self._settings.board_quiet_s
        newest = sorted(latest, key=lambda name: -latest[name])[: self._settings.most_tenants]
        return {name for name in newest if latest[name] >= since}

    def _to_look_at(self) -> list[str]:
        """Return tenants whose issues may have changed, those longest not looked at first."""
        now, settings = self._clock(), self._settings
        due = {
            name
            for name, at in self._look_at.items()
            if name in self._fresh or now - at >= 10 * settings.board_pause_s
        }
        due |= {name for name in self._fresh if name not in self._look_at}
        return sorted(
            (n for n in due if now - self._look_at.get(n, 0.0) >= settings.board_pause_s),
            key=lambda name: self._look_at.get(name, 0.0),
        )

    def _look(self, name: str, board: Board) -> None:
        slot = self._slots[slot_of(name)]
        tenant = slot.tenant(name)
        now = self._clock()
        self._look_at[name] = now
        self._fresh.discard(name)
        known, parts = board.known(name), board.parts(name)
        at = self._reading_time(tenant, now)
        found = tenant.watch.sightings(tenant.stream, now=at, known=known, parts=parts)
        if not 0 <= now - tenant.latest < self._settings.board_quiet_s:
            del self._look_at[name]  # until its next text
        if not found:
            return
        names = {each for sighting in found for each in (sighting.cluster, *sighting.absorbed)}
        if names - self._told.get(name, set()) and name in slot.changed:
            self._flush_recent()
            self._save(slot)
        with self._fenced():
            pass  # the board takes turns of its own, and hears the same twice
        board.tell(name, found, now=at)
        self._told[name] = names

    def _reading_time(self, tenant: TenantStream[W], now: float) -> float:
        """Return the time at which rates are looked at: now, where the traffic is of now."""
        live = 0 <= now - tenant.latest < self._settings.board_quiet_s
        return now if live else tenant.latest

    def _make_room(self) -> None:
        """Let go of tenants that were quiet longest, where those in memory are too many."""
        held = [
            (tenant.latest, name, slot, len(tenant.stream.micros.micros))
            for slot in self._slots.values()
            for name, tenant in slot.held.items()
        ]
        tenants, micros = len(held), sum(count for *_, count in held)
        most = self._settings
        for _, name, slot, count in sorted(held, key=lambda each: each[:2]):
            if tenants <= 1 or (tenants <= most.most_tenants and micros <= most.most_micros):
                return
            slot.let_go(name)
            tenants, micros = tenants - 1, micros - count

    def _flush_recent(self) -> None:
        if self._recent:
            self._recent.flush()

    def _count_missed(self, page: Page) -> None:
        first: dict[int, int] = {}
        places = [(each.partition, each.offset) for each in page.events]
        places += [(each.partition, each.offset) for each in page.unreadable]
        for partition, offset in places:
            first[partition] = min(offset, first.get(partition, offset))
        for partition, offset in first.items():
            asked = self._at.get(partition, 0)
            # A log that is read from its first event on may have lost others before.
            if asked and offset > asked:
                self._missed += offset - asked

    def _check_end(self, end: Position) -> None:
        beyond = [p for p, offset in self._at.items() if offset > end.get(p, 0)]
        if beyond:
            raise Conflict(
                f"The event log ends at {end.get(beyond[0], 0)} in its partition {beyond[0]}, and"
                f" its clusters are those of {self._at[beyond[0]]} events: it has lost its end.",
                remedy="Put the whole log back, or run 'closedloop defence rebuild'.",
            )

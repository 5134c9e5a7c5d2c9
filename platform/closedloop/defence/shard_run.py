"""A shard's life: opened from its files, fed from the log, opened anew where something fails.

What fails leaves half an event behind in memory. So a failure, like a kill, is answered by going
on from the files; only who was replaced ends.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace

from closedloop.core.errors import ClosedLoopError, first_line
from closedloop.core.settings import Settings
from closedloop.core.store import Store
from closedloop.data.event_log.opening import open_event_log
from closedloop.defence.checkpoint import SlotFiles
from closedloop.defence.clusterer import Board, Clusterer, ClustererSettings
from closedloop.defence.recent_traffic import RecentTraffic
from closedloop.defence.shard_figures import Rate, ShardFigures, process_memory_bytes
from closedloop.defence.shards import Place, Replaced, Shards
from closedloop.defence.slots import dealt
from closedloop.defence.stream_clusters import StreamSettings
from closedloop.defence.tenant_stream import Watching

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """How often a shard does what; in seconds."""

    idle_s: float = 0.2  # between two looks at a log that had nothing new
    checkpoint_s: float = 10.0  # from a change to its checkpoint, where few events come
    recent_s: float = 10.0  # between two writes of recent texts
    report_s: float = 2.0
    rate_s: float = 10.0  # over which the rate is told
    first_retry_s: float = 0.5
    last_retry_s: float = 30.0
    # A checkpoint waits for so many times what the last one took.
    checkpoint_rest: float = 5.0


class ShardRun:
    """Runs one shard until it is stopped or replaced.

    Parameters
    ----------
    settings : Settings
        Of the installation.
    shard, epoch : int
        Its number, and the dealing that it belongs to.
    watching : Watching
        Makes what looks for issues.
    board : callable, optional
        Makes the board from the metadata store.
    tell : callable, optional
        Receives figures whenever they are reported.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        shard: int,
        epoch: int,
        watching: Watching,
        board: Callable[[Store], Board] | None = None,
        work: ClustererSettings | None = None,
        stream: StreamSettings | None = None,
        pace: Pace | None = None,
        tell: Callable[[ShardFigures], None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._shard = shard
        self._epoch = epoch
        self._watching = watching
        self._board = board
        self._work = work
        self._stream = stream
        self._pace = pace or Pace()
        self._tell = tell
        self._stop = threading.Event()
        self.figures = ShardFigures(process_id=_own_id())

    def stop(self) -> None:
        """Ask it to save and end."""
        self._stop.set()

    def run(self) -> None:
        """Work until stopped or replaced; a failure is told, and then tried again."""
        pause_s = self._pace.first_retry_s
        while not self._stop.is_set():
            begun = time.monotonic()
            try:
                self._run_once()
            except Replaced as error:
                self.figures = replace(self.figures, problem=error.message)
                return
            except Exception as error:
                expected = isinstance(error, ClosedLoopError)
                logger.warning("shard %d failed: %s", self._shard, error, exc_info=not expected)
                told = str(error) if expected else f"{type(error).__name__}: {first_line(error)}"
                self.figures = replace(
                    self.figures, problem=told, restarts=self.figures.restarts + 1
                )
                self._tell(self.figures)
                if time.monotonic() - begun > self._pace.last_retry_s:
                    pause_s = self._pace.first_retry_s  # it had worked for a while
                self._stop.wait(pause_s)
                pause_s = min(2 * pause_s, self._pace.last_retry_s)

    def _run_once(self) -> None:
        with ExitStack() as ending:
            store = Store(self._settings.store_url)
            ending.callback(store.close)
            shards = Shards(store)
            place = shards.take(self._shard, epoch=self._epoch)
            try:
                log = open_event_log(self._settings.event_log_url)
                ending.callback(log.close)
                dealing = shards.dealing()
                folder = self._settings.defence_folder
                clusterer = Clusterer(
                    log=log,
                    files=SlotFiles(folder / "slots", log.identity),
                    shard=self._shard,
                    slots=dealt(dealing.shards)[self._shard],
                    watching=self._watching,
                    board=self._board(store) if self._board else None,
                    recent=RecentTraffic(folder / "recent"),
                    held=place.held,
                    settings=self._work,
                    stream=self._stream,
                    first_id=dealing.first_id,
                )
                self._feed(clusterer, place)
            except Replaced:
                raise
            except Exception as error:
                told = replace(self.figures, problem=str(error))
                with suppress(ClosedLoopError):  # the store may be what failed
                    place.report(told)
                raise

    def _feed(self, clusterer: Clusterer, place: Place) -> None:
        pace, clock = self._pace, time.monotonic
        rate = Rate(over_s=pace.rate_s)
        at_end = saved = flushed = clock()
        reported = 0.0
        while not self._stop.is_set():
            read = clusterer.step()
            now = clock()
            if not read:
                at_end = now
            if self._should_save(clusterer, now - saved):
                clusterer.checkpoint()
                saved = flushed = clock()
            elif now - flushed >= pace.recent_s:
                clusterer.flush_recent()
                flushed = now
            clusterer.tell()
            if clock() - reported >= pace.report_s:
                reported = clock()
                self._report(clusterer, place, rate, reported, reported - at_end)
            if not read:
                self._stop.wait(pace.idle_s)
        clusterer.checkpoint()
        self._report(clusterer, place, rate, clock(), clock() - at_end)

    def _should_save(self, clusterer: Clusterer, waited_s: float) -> bool:
        """Tell whether a checkpoint is due by events or by time; costly ones wait longer."""
        if waited_s < self._pace.checkpoint_rest * clusterer.checkpoint_s:
            return False
        return clusterer.due or (clusterer.changed > 0 and waited_s >= self._pace.checkpoint_s)

    def _report(
        self, clusterer: Clusterer, place: Place, rate: Rate, now: float, behind_s: float
    ) -> None:
        counts = clusterer.counts()
        rate.add(counts.events, at=now)
        self.figures = ShardFigures(
            process_id=self.figures.process_id,
            tenants=counts.tenants,
            tenants_held=counts.tenants_held,
            clusters=counts.clusters,
            events=counts.events,
            texts=counts.texts,
            events_per_s=round(rate.per_s, 1),
            lag_events=counts.unread,
            lag_s=round(behind_s, 3) if counts.unread else 0.0,
            memory_bytes=process_memory_bytes(),
            checkpoints=counts.checkpoints,
            checkpoint_s=round(counts.checkpoint_s, 4),
            missed=counts.missed,
            restarts=self.figures.restarts,
        )
        place.report(self.figures)
        self._tell(self.figures)


def _own_id() -> int:
    import os

    return os.getpid()

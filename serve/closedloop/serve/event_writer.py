"""Writes answered requests to the event log behind the requests' back.

A prediction waits here for some hundredths of a second, unless somebody waits for it to be on
disk: the log's transaction and fsync then cost a batch, not a request. The buffer is bounded:
when the log cannot keep up, `offer` and `store` refuse and the caller sheds load, so that
nothing answered is ever dropped. What is offered is written sooner or later; what is to be
stored is written or refused to its sender.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from closedloop.core.errors import EngineError, Overloaded
from closedloop.data.event import Event
from closedloop.data.event_log.protocol import EventLog, Place

logger = logging.getLogger(__name__)

_BATCH_EVENTS = 1_000
_RETRY_S = 0.5
_LINGER_S = 0.05


@dataclass(frozen=True, slots=True)
class _Parcel:
    """What one caller gave, written as a whole; somebody waits where there is a future."""

    events: tuple[Event, ...]
    stored: Future[tuple[Place | None, ...]] | None = None


class EventWriter:
    """A bounded buffer and the thread that empties it.

    Parameters
    ----------
    log : EventLog
        Where events go.
    capacity_events : int
        How many may wait.
    """

    def __init__(self, log: EventLog, *, capacity_events: int = 20_000) -> None:
        self._log = log
        self._capacity = capacity_events
        self._parcels: deque[_Parcel] = deque()
        self._waiting = 0
        self.written = 0  # events that the log took, those it had already among them
        self.refusals = 0  # times that there was no room
        self._awaited = 0  # parcels and flushes that somebody waits for
        self._changed = threading.Condition()
        self._closing = False
        self._problem: str | None = None
        self._thread = threading.Thread(target=self._run, name="event-writer", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Events not yet on disk."""
        return self._waiting

    @property
    def problem(self) -> str | None:
        """Why the last batch could not be written, None where it was."""
        return self._problem

    def check_room(self, events: int) -> None:
        """Raise Overloaded where so many events would not fit."""
        if self._closing or self._waiting + events > self._capacity:
            self.refusals += 1
            raise Overloaded(
                "Events come in faster than the event log takes them.",
                remedy="Send the request again after a second.",
            )

    def offer(self, events: Sequence[Event], *, admitted: bool = False) -> None:
        """Take events to be written, in order.

        Parameters
        ----------
        admitted : bool
            There was room when the request came and it has been answered since: they are
            taken even where the buffer has filled up meanwhile.

        Raises
        ------
        Overloaded
            The buffer is full or the writer is closed; none of them was taken.
        """
        self._take(_Parcel(tuple(events)), admitted=admitted)

    def store(self, events: Sequence[Event]) -> Future[tuple[Place | None, ...]]:
        """Take events to be written; the future tells each one's place once they are on disk.

        A place is None for an event that the log has already. The future fails with the error
        of the log, and the events are forgotten: whoever sent them sends them again.

        Raises
        ------
        Overloaded
            The buffer is full or the writer is closed; none of them was taken.
        """
        stored: Future[tuple[Place | None, ...]] = Future()
        # From here on nobody can cancel it: a client that went away does not undo a write.
        stored.set_running_or_notify_cancel()
        self._take(_Parcel(tuple(events), stored))
        return stored

    def _take(self, parcel: _Parcel, *, admitted: bool = False) -> None:
        with self._changed:
            if not admitted or self._closing:
                self.check_room(len(parcel.events))
            self._parcels.append(parcel)
            self._waiting += len(parcel.events)
            self._awaited += parcel.stored is not None
            if self._is_due() or len(self._parcels) == 1:
                self._changed.notify_all()

    def flush(self, timeout_s: float) -> bool:
        """Wait until nothing waits any more; tell whether that came about in time."""
        with self._changed:
            self._awaited += 1
            self._changed.notify_all()
            try:
                return self._changed.wait_for(lambda: not self._parcels, timeout_s)
            finally:
                self._awaited -= 1

    def close(self, timeout_s: float = 10.0) -> int:
        """Write what waits, end the thread and return how many events could not be written."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        with self._changed:
            for parcel in self._parcels:
                if parcel.stored is not None and not parcel.stored.done():
                    parcel.stored.set_exception(
                        EngineError("The service ended.", remedy="Send the events again.")
                    )
            if self._parcels:
                logger.error("%d events were lost at the end: %s", self.waiting, self._problem)
            return self._waiting

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._parcels or self._closing)
                if not self._parcels:
                    return
                self._changed.wait_for(self._is_due, _LINGER_S)
                batch = self._next_batch()
            try:
                self._write(batch)
            except EngineError as error:
                self._problem = str(error)
                logger.warning("%d events wait for the event log: %s", self.waiting, error)
                self._remove(batch, failed=error)
                if self._closing:
                    return
                time.sleep(_RETRY_S)  # nothing tells when a disk has room again
                continue
            self._problem = None
            self._remove(batch)

    def _is_due(self) -> bool:
        """Tell whether what waits should be written at once."""
        return self._awaited > 0 or self._waiting >= _BATCH_EVENTS or self._closing

    def _next_batch(self) -> list[_Parcel]:
        batch: list[_Parcel] = []
        size = 0
        for parcel in self._parcels:
            size += len(parcel.events)
            if batch and size > _BATCH_EVENTS:
                break
            batch.append(parcel)
        return batch

    def _remove(self, batch: list[_Parcel], *, failed: EngineError | None = None) -> None:
        """Take a batch out of the buffer; after a failure, what nobody waits for stays."""
        with self._changed:
            for parcel in batch:
                self._parcels.popleft()
                self._awaited -= parcel.stored is not None
            staying = [parcel for parcel in batch if failed and parcel.stored is None]
            self._parcels.extendleft(reversed(staying))
            self._waiting -= sum(len(p.events) for p in batch) - sum(len(p.events) for p in staying)
            self._changed.notify_all()
        for parcel in batch:
            if failed and parcel.stored is not None and not parcel.stored.done():
                parcel.stored.set_exception(failed)

    def _write(self, batch: list[_Parcel]) -> None:
        try:
            appended = self._log.append([event for parcel in batch for event in parcel.events])
        except EngineError:
            raise
        except Exception as error:  # one event must not hold up all others
            if len(batch) > 1:
                for parcel in batch:
                    self._write([parcel])
            elif batch[0].stored is not None:
                if not batch[0].stored.done():
                    batch[0].stored.set_exception(error)
            elif len(batch[0].events) > 1:
                self._write([_Parcel((event,)) for event in batch[0].events])
            else:
                event_id = batch[0].events[0].event_id
                logger.exception("event %s cannot be stored and is left out", event_id)
            return
        self.written += sum(len(parcel.events) for parcel in batch)
        begin = 0
        for parcel in batch:
            if parcel.stored is not None and not parcel.stored.done():
                parcel.stored.set_result(appended.places[begin : begin + len(parcel.events)])
            begin += len(parcel.events)

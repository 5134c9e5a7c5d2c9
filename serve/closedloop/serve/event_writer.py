"""Writes answered requests to the event log behind the requests' back.

A prediction waits here for milliseconds, until the batch before it is on disk; the log's fsync
then costs a batch, not a request. The buffer is bounded: when the log cannot keep up, `offer`
refuses and the caller sheds load, so that nothing answered is ever dropped.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence

from closedloop.core.errors import EngineError, Overloaded
from closedloop.data.event import Event
from closedloop.data.event_log.protocol import EventLog

logger = logging.getLogger(__name__)

_BATCH_EVENTS = 1_000
_RETRY_S = 0.5


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
        self._waiting: deque[Event] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._problem: str | None = None
        self._thread = threading.Thread(target=self._run, name="event-writer", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Events not yet on disk."""
        return len(self._waiting)

    @property
    def problem(self) -> str | None:
        """Why the last batch could not be written, None where it was."""
        return self._problem

    def check_room(self, events: int) -> None:
        """Raise Overloaded where so many events would not fit."""
        if self._closing or len(self._waiting) + events > self._capacity:
            raise Overloaded(
                "Answers come in faster than the event log takes them.",
                remedy="Send the request again after a second.",
            )

    def offer(self, events: Sequence[Event]) -> None:
        """Take events to be written, in order.

        Raises
        ------
        Overloaded
            The buffer is full or the writer is closed; none of them was taken.
        """
        with self._changed:
            self.check_room(len(events))
            self._waiting.extend(events)
            self._changed.notify_all()

    def flush(self, timeout_s: float) -> bool:
        """Wait until nothing waits any more; tell whether that came about in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting, timeout_s)

    def close(self, timeout_s: float = 10.0) -> int:
        """Write what waits, end the thread and return how many events could not be written."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        if self._waiting:
            logger.error("%d events were lost at the end: %s", self.waiting, self._problem)
        return len(self._waiting)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return
                batch = [self._waiting[i] for i in range(min(_BATCH_EVENTS, self.waiting))]
            try:
                self._write(batch)
            except EngineError as error:
                self._problem = str(error)
                logger.warning("%d events wait for the event log: %s", self.waiting, error)
                if self._closing:
                    return
                time.sleep(_RETRY_S)  # nothing tells when a disk has room again
                continue
            with self._changed:
                self._problem = None
                for _ in batch:
                    self._waiting.popleft()
                self._changed.notify_all()

    def _write(self, batch: list[Event]) -> None:
        try:
            self._log.append(batch)
        except EngineError:
            raise
        except Exception:  # one event that cannot be stored must not hold up all others
            if len(batch) == 1:
                logger.exception("event %s cannot be stored and is left out", batch[0].event_id)
                return
            for event in batch:
                self._write([event])

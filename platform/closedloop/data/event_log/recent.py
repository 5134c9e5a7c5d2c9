"""The newest events of a log, by id: what a look-up is answered from without an index."""

from __future__ import annotations

import threading
from collections import OrderedDict

from closedloop.data.event import Event
from closedloop.data.event_log.codec import decode


class RecentEvents:
    """A bounded map from event id to event; the oldest entry makes room. Safe for threads.

    Parameters
    ----------
    capacity : int
        Events at most; each takes about the bytes of its JSON.

    Examples
    --------
    >>> recent = RecentEvents(capacity=1)
    >>> recent.add("a", b"{}"); recent.add("b", b"{}")
    >>> "a" in recent, "b" in recent
    (False, True)
    """

    def __init__(self, *, capacity: int) -> None:
        self._capacity = capacity
        self._payloads: OrderedDict[str, bytes] = OrderedDict()
        self._turn = threading.Lock()

    def add(self, event_id: str, payload: bytes) -> None:
        """Remember an event's JSON."""
        with self._turn:
            self._payloads[event_id] = payload
            self._payloads.move_to_end(event_id)
            if len(self._payloads) > self._capacity:
                self._payloads.popitem(last=False)

    def __contains__(self, event_id: str) -> bool:
        with self._turn:
            return event_id in self._payloads

    def __len__(self) -> int:
        return len(self._payloads)

    def get(self, event_id: str) -> Event | None:
        """Return an event that is remembered."""
        with self._turn:
            payload = self._payloads.get(event_id)
        return None if payload is None else decode(payload)

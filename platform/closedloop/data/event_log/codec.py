"""An event as bytes of JSON: what each log stores, and other programs may write and read."""

from __future__ import annotations

import json

from closedloop.data.event import Event

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


def encode(event: Event) -> str:
    """Return an event as one line of JSON."""
    return _encode(event.to_record())


def decode(line: str | bytes) -> Event:
    """Return the event that `encode` wrote.

    Raises
    ------
    ValueError
        It is no event.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> from closedloop.data.event import Kind
    >>> event = Event(event_id="e", ts=datetime(2026, 1, 1, tzinfo=UTC), tenant="a", kind=Kind.TURN)
    >>> decode(encode(event)) == event
    True
    """
    try:
        return Event.from_record(json.loads(line))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"no event: {type(error).__name__}: {error}") from error

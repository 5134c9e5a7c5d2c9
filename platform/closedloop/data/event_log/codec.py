"""An event as bytes of JSON: what each log stores, and other programs may write and read."""

from __future__ import annotations

import json
from typing import NamedTuple

from closedloop.data.event import Event

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


class Encoded(NamedTuple):
    """An event as it is stored, with what a log must know of it without reading it."""

    event_id: str
    partition_key: str  # events with the same key stay in order
    payload: str


def encoded(event: Event) -> Encoded:
    """Return an event ready to be stored; its dialogue, else its user, is its partition key."""
    owner = event.dialogue_id or event.user_id or event.event_id
    return Encoded(event.event_id, f"{event.tenant}\x1f{owner}", encode(event))


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

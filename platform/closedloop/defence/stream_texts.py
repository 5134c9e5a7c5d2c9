"""Which events carry a user's text, and each text once.

A user's turn may leave several events: its own, where a client sends its log, and a prediction
of each model that was asked. They are known for the same by the first of these that holds:

====================================  ====================================================
the event has                         it is the same text as
====================================  ====================================================
``turn_first`` (attribute)            the event that it names: an earlier model of the turn
a dialogue and the number of a turn   an event of that dialogue, turn and text
``call_digest`` (attribute)           an event of that call, which may be repeated, and text
none of these                         an event with its id, which Kafka may give twice
====================================  ====================================================

What the assistant said (attribute ``role``) is no text of a user.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from closedloop.data.event import Event, Kind

TURN_FIRST = "turn_first"  # written by `closedloop.serve.turns`
_CALL_DIGEST = "call_digest"  # written by `closedloop.serve.stamp`
_KEPT = 2_048  # texts; what tells of the same turn comes within seconds, a thumb within minutes


def carries_text(event: Event) -> bool:
    """Tell whether an event says what a user said.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> at = datetime(2026, 1, 1, tzinfo=UTC)
    >>> event = Event(event_id="e", ts=at, tenant="shop", kind=Kind.TURN, text="where is it")
    >>> carries_text(event)
    True
    """
    if event.kind is Kind.FEEDBACK or not event.text:
        return False
    return event.attributes.get("role", "user") != "assistant"


class ToldTexts:
    """The last texts of one tenant, and under which event each was counted."""

    def __init__(self, told: Iterable[tuple[int, str]] = ()) -> None:
        self._told: dict[int, str] = dict(told)

    def is_new(self, event: Event) -> bool:
        """Tell whether an event's text has not been counted yet, and remember it."""
        first = event.attributes.get(TURN_FIRST)
        key = _key(event)
        known = first or self._told.get(key)
        if known is None:
            self._remember(key, event.event_id)
            return True
        if known != event.event_id:  # a thumb may be about this one
            self._remember(_number("id", event.event_id), known)
        return False

    def counted_as(self, feedback: Event) -> str | None:
        """Return the id of the event that counted for the text that a thumb is about."""
        about = feedback.refers_to
        if about is None:
            return None
        known = self._told.get(_number("id", about))
        if known is None and feedback.turn is not None:
            known = self._told.get(_key(feedback))
        return known or about

    def items(self) -> list[tuple[int, str]]:
        """Return what is remembered, oldest first, for the next process."""
        return list(self._told.items())

    def _remember(self, key: int, event_id: str) -> None:
        self._told[key] = event_id
        if len(self._told) > _KEPT:
            del self._told[next(iter(self._told))]


def _key(event: Event) -> int:
    text = event.text or ""
    if event.dialogue_id and event.turn is not None:
        return _number("turn", event.dialogue_id, str(event.turn), text)
    digest = event.attributes.get(_CALL_DIGEST)
    if digest and event.kind is not Kind.FEEDBACK:
        return _number("call", digest, text)
    return _number("id", event.event_id)


def _number(*parts: str) -> int:
    told = "\x1f".join(parts).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(told, digest_size=8).digest(), "big", signed=True)

"""The event: one record a turn, prediction, feedback or rule hit.

`SCHEMA` is the one definition; everything that stores or moves events is checked against it.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import pyarrow as pa


class Kind(StrEnum):
    """What an event tells."""

    TURN = "turn"
    PREDICTION = "prediction"
    FEEDBACK = "feedback"


SCHEMA = pa.schema(
    [
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("ts", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("tenant", pa.string(), nullable=False),
        pa.field("channel", pa.string()),
        pa.field("dialogue_id", pa.string()),
        pa.field("turn", pa.int32()),
        pa.field("user_id", pa.string()),  # pseudonym
        pa.field("kind", pa.string(), nullable=False),
        pa.field("text", pa.string()),  # masked
        pa.field("image_phash", pa.string()),
        pa.field("model", pa.string()),
        pa.field("model_version", pa.int32()),
        pa.field("prediction", pa.string()),
        pa.field("confidence", pa.float64()),
        pa.field("rule_id", pa.string()),
        pa.field("feedback", pa.string()),  # up, down
        pa.field("refers_to", pa.string()),  # feedback: the prediction's event_id
        pa.field("latency_ms", pa.float64()),
        pa.field("attributes", pa.map_(pa.string(), pa.string())),
    ]
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One event; the fields are those of `SCHEMA`."""

    event_id: str
    ts: datetime
    tenant: str
    kind: Kind
    channel: str | None = None
    dialogue_id: str | None = None
    turn: int | None = None
    user_id: str | None = None
    text: str | None = None
    image_phash: str | None = None
    model: str | None = None
    model_version: int | None = None
    prediction: str | None = None
    confidence: float | None = None
    rule_id: str | None = None
    feedback: str | None = None
    refers_to: str | None = None
    latency_ms: float | None = None
    attributes: dict[str, str] = field(default_factory=dict)

    def to_record(self) -> dict[str, Any]:
        """Return the event as JSON-ready values; ``ts`` in microseconds since the epoch."""
        record: dict[str, Any] = {}
        for name in _NAMES:
            value = getattr(self, name)
            if value is not None and value != {}:
                record[name] = value
        record["ts"] = to_micros(self.ts)
        record["kind"] = self.kind.value
        return record

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Event:
        """Rebuild an event from `to_record`."""
        return cls(**{**record, "ts": from_micros(record["ts"]), "kind": Kind(record["kind"])})


_NAMES = tuple(each.name for each in fields(Event))


def to_table(events: Iterable[Event]) -> pa.Table:
    """Return events as an Arrow table of `SCHEMA`, in their order."""
    columns: dict[str, list[Any]] = {name: [] for name in _NAMES}
    for event in events:
        for name in _NAMES:
            columns[name].append(getattr(event, name))
    columns["attributes"] = [sorted(value.items()) for value in columns["attributes"]]
    return pa.table({name: columns[name] for name in SCHEMA.names}, schema=SCHEMA)


def new_event_id(*, at: datetime | None = None) -> str:
    """Return a random UUIDv7 (RFC 9562): ordered by time, to the millisecond."""
    milliseconds = int((at.timestamp() if at else time.time()) * 1000)
    return _uuid7(milliseconds, os.urandom(10))


def derived_event_id(ts: datetime, *parts: str) -> str:
    """Return the UUIDv7 that the same content always gets, so that loading twice adds nothing."""
    digest = hashlib.blake2b("\x1f".join(parts).encode(), digest_size=10).digest()
    return _uuid7(int(ts.timestamp() * 1000), digest)


def to_micros(ts: datetime) -> int:
    """Return microseconds since the epoch; a time without a zone is taken as UTC."""
    aware = ts if ts.tzinfo else ts.replace(tzinfo=UTC)
    delta = aware - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def from_micros(micros: int) -> datetime:
    """Return the UTC time of microseconds since the epoch."""
    seconds, rest = divmod(micros, 1_000_000)
    return datetime.fromtimestamp(seconds, tz=UTC).replace(microsecond=rest)


def _uuid7(milliseconds: int, tail: bytes) -> str:
    time_hex, digits = f"{milliseconds & (2**48 - 1):012x}", tail.hex()
    variant = "89ab"[int(digits[4], 16) & 3]
    return f"{time_hex[:8]}-{time_hex[8:]}-7{digits[1:4]}-{variant}{digits[5:8]}-{digits[8:]}"

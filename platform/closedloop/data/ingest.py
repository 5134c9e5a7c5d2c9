"""From files of logs into the event log.

The door masks personal data and replaces user ids by pseudonyms, so that nothing behind it
ever holds them. Ids are derived from content: the same file again adds nothing.
"""

from __future__ import annotations

import gc
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from typing import Any

from closedloop.core.privacy import mask
from closedloop.core.pseudonyms import Pseudonyms
from closedloop.data.dead_letters import bury
from closedloop.data.event import Event, Kind, derived_event_id
from closedloop.data.event_log.protocol import EventLog
from closedloop.data.lake import Lake
from closedloop.data.log_file import LogFile, Refused, Row

MAX_TEXT_CHARS = 8_000
_BATCH_ROWS = 5_000
_COLLECT_OBJECTS = 50_000
# Columns that become filters of their own (`closedloop.data.interaction`).
_ATTRIBUTES = ("merchant", "product", "region")
_encode = json.JSONEncoder(ensure_ascii=False, default=str).encode
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

RowProgress = Callable[[int], None]  # called with the rows done so far


@dataclass(frozen=True, kw_only=True, slots=True)
class Ingested:
    """What loading a file did, in rows."""

    new: int
    duplicates: int
    refused: int


def ingest_file(
    file: LogFile,
    *,
    log: EventLog,
    lake: Lake,
    tenant: str,
    pseudonyms: Pseudonyms,
    progress: RowProgress = lambda _: None,
) -> Ingested:
    """Load a file of dialogue logs into the event log; refused rows go to dead letters.

    Raises
    ------
    LogFileError
        The file cannot be read at all; nothing was loaded.
    """
    now = datetime.now(UTC)
    seen: Counter[bytes] = Counter()
    new = duplicates = refused = done = 0
    rows = file.rows()
    with _few_collections():
        while batch := list(islice(rows, _BATCH_ROWS)):
            events: list[Event] = []
            dead: list[Refused] = []
            for row in batch:
                event = (
                    row
                    if isinstance(row, Refused)
                    else turn_from_row(row, tenant, pseudonyms, now, seen)
                )
                (dead if isinstance(event, Refused) else events).append(event)  # type: ignore[arg-type]
            appended = log.append(events)
            new += appended.new
            duplicates += appended.duplicates
            refused += len(dead)
            bury(
                lake,
                dead,
                source=file.path.name,
                tenant=tenant,
                pseudonyms=pseudonyms,
                at=now,
                user_key=file.user_column,
            )
            done += len(batch)
            progress(done)
    return Ingested(new=new, duplicates=duplicates, refused=refused)


@contextmanager
def _few_collections() -> Iterator[None]:
    """Let the garbage collector look less often in this block: rows and events have no cycles.

    It takes a sixth of the time else, looking at every object of a batch again and again.
    """
    before = gc.get_threshold()
    gc.set_threshold(max(before[0], _COLLECT_OBJECTS), *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def turn_from_row(
    row: Row, tenant: str, pseudonyms: Pseudonyms, now: datetime, seen: Counter[bytes]
) -> Event | Refused:
    """Take one row through the door: a masked turn with a pseudonym, or why it was refused."""
    values = row.values
    raw = _encode(values | row.extra)

    def refuse(reason: str) -> Refused:
        return Refused(line=row.line, reason=reason, raw=raw)

    try:
        content = hashlib.blake2b(raw.encode(), digest_size=16).digest()
    except UnicodeEncodeError:
        raw = raw.encode("utf-8", "replace").decode()
        return refuse("a text is no Unicode: it has half of a surrogate pair")
    text = values.get("text")
    if not isinstance(text, str) or not text.strip():
        return refuse(
            "the text is empty"
            if text in (None, "") or str(text).strip() == ""
            else f"the text is a {type(text).__name__}, not a string"
        )
    text = text.strip().replace("\x00", "")
    if len(text) > MAX_TEXT_CHARS:
        return refuse(f"the text has {len(text):,} characters; the limit is {MAX_TEXT_CHARS:,}")
    try:
        ts = _time(values.get("ts"))
        turn = None if values.get("turn") in (None, "") else int(values["turn"])
    except (ValueError, TypeError, OverflowError, OSError) as error:
        return refuse(f"a time or turn cannot be read: {error}")
    if ts is not None and (ts - now).total_seconds() > 86_400:
        return refuse(f"the time {ts.isoformat()} lies in the future")

    owner = str(values.get("tenant") or tenant)
    seen[content] += 1  # equal rows of one file are different turns
    user_id = values.get("user_id")
    return Event(
        event_id=derived_event_id(ts or _EPOCH, owner, content.hex(), str(seen[content])),
        ts=ts or now,
        tenant=owner,
        kind=Kind.TURN,
        channel=_text(values.get("channel")),
        dialogue_id=pseudonyms.of_dialogue(_text(values.get("dialogue_id")), tenant=owner),
        turn=turn,
        user_id=None if user_id in (None, "") else pseudonyms.of(str(user_id), tenant=owner),
        text=mask(text),
        attributes=_attributes(row.extra, values.get("label")),
    )


def _attributes(extra: dict[str, Any], label: Any) -> dict[str, str]:
    """Return what analysis knows by name among a file's other columns, and the label."""
    kept = {
        name: _mask_name(str(extra[name]))
        for name in _ATTRIBUTES
        if name in extra and extra[name] not in (None, "")
    }
    return kept if label in (None, "") else kept | {"label": str(label).strip()}


@lru_cache(maxsize=65_536)
def _mask_name(name: str) -> str:
    """Mask the name of a merchant or region; the same few come again and again."""
    return mask(name)


def _time(value: Any) -> datetime | None:
    if value in (None, ""):
        return None
    if isinstance(value, datetime):
        ts = value
    elif isinstance(value, int | float) or str(value).replace(".", "", 1).isdigit():
        number = float(value)
        ts = datetime.fromtimestamp(number / 1000 if number > 1e11 else number, tz=UTC)
    else:
        ts = datetime.fromisoformat(str(value))
    return (ts if ts.tzinfo else ts.replace(tzinfo=UTC)).astimezone(UTC)


def _text(value: Any) -> str | None:
    return None if value in (None, "") else str(value)

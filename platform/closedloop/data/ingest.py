"""From files of logs into the event log.

The door masks personal data and replaces user ids by pseudonyms, so that nothing behind it
ever holds them. Ids are derived from content: the same file again adds nothing.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import Any, cast

from closedloop.core.privacy import mask
from closedloop.core.pseudonyms import Pseudonyms
from closedloop.data.dead_letters import bury
from closedloop.data.door_workers import Door, DoorWorkers
from closedloop.data.event import Event, Kind, derived_event_id
from closedloop.data.event_log.codec import Encoded, encoded
from closedloop.data.event_log.protocol import EventLog
from closedloop.data.lake import Lake
from closedloop.data.log_file import LogFile, Refused, Row

MAX_TEXT_CHARS = 8_000
_BATCH_ROWS = 5_000
_COLLECT_OBJECTS = 50_000
# From here on, processes gain more than their start costs.
_LARGE_BYTES = 8_000_000
_MAX_WORKERS = 4
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
    workers: int = 0,
    progress: RowProgress = lambda _: None,
) -> Ingested:
    """Load a file of dialogue logs into the event log; refused rows go to dead letters.

    Parameters
    ----------
    file : LogFile
        What to load.
    log, lake : EventLog, Lake
        Where events go, and dead letters.
    tenant : str
        Whose rows they are, where a row does not say so itself.
    pseudonyms : Pseudonyms
        Takes the place of users' identities.
    workers : int
        Processes that take rows through the door beside this one. They take a second to start,
        and the program's main module must be one that can be imported.
    progress : callable
        Called with the rows done so far.

    Raises
    ------
    LogFileError
        The file cannot be read at all; nothing was loaded.
    EngineError
        The log or the lake failed; loading the file again adds what is missing.
    """
    now = datetime.now(UTC)
    seen: Counter[bytes] = Counter()
    new = duplicates = refused = done = 0
    with _few_collections(), _door(workers, tenant, pseudonyms, now) as door:
        for batch, made in door.through(_batches(file)):
            events: list[Encoded] = []
            dead: list[Refused] = []
            known = {each[0] for each in made if not isinstance(each, Refused)} & seen.keys()
            for row, each in zip(batch, made, strict=True):
                if isinstance(each, Refused):
                    dead.append(each)
                    continue
                content, event = each
                if content in known:  # the row was in an earlier batch too: its number is higher
                    again = turn_from_row(cast(Row, row), tenant, pseudonyms, now, seen)
                    event = encoded(cast(Event, again))
                else:
                    seen[content] += 1
                events.append(event)
            appended = log.append_encoded(events)
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


def ingest_workers(path: Path) -> int:
    """Return how many processes loading a file is worth: one a core, none for a small file."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    large = path.exists() and path.stat().st_size >= _LARGE_BYTES
    return min(cores or 1, _MAX_WORKERS) if large and (cores or 1) > 1 else 0


def _batches(file: LogFile) -> Iterator[list[Row | Refused]]:
    rows = file.rows()
    while batch := list(islice(rows, _BATCH_ROWS)):
        yield batch


def _door(workers: int, tenant: str, pseudonyms: Pseudonyms, now: datetime) -> Door:
    if not workers:
        return Door(partial(take_rows, tenant=tenant, pseudonyms=pseudonyms, now=now))
    take = partial(_take_packed, tenant=tenant, pseudonyms=pseudonyms, now=now)
    return DoorWorkers(workers, take, pack=_packed_rows, unpack=_unpacked)


def take_rows(
    rows: Sequence[Row | Refused], *, tenant: str, pseudonyms: Pseudonyms, now: datetime
) -> list[tuple[bytes, Encoded] | Refused]:
    """Take a batch through the door: each row's content hash and event, or why it was refused.

    Equal rows are numbered within the batch; the caller knows of other batches.
    """
    seen: Counter[bytes] = Counter()
    made: list[tuple[bytes, Encoded] | Refused] = []
    for row in rows:
        turn = row if isinstance(row, Refused) else _turn(row, tenant, pseudonyms, now, seen)
        made.append(turn if isinstance(turn, Refused) else (turn[0], encoded(turn[1])))
    return made


def _packed_rows(rows: Sequence[Row | Refused]) -> list[Any]:
    return [(row.line, row.values, row.extra) if type(row) is Row else row for row in rows]


def _take_packed(
    packed: Sequence[Any], *, tenant: str, pseudonyms: Pseudonyms, now: datetime
) -> tuple[list[Any], ...]:
    """Do as `take_rows` with what `_packed_rows` made; return columns."""
    rows = [
        row if type(row) is Refused else Row(line=row[0], values=row[1], extra=row[2])
        for row in packed
    ]
    made = take_rows(rows, tenant=tenant, pseudonyms=pseudonyms, now=now)
    passed = [each for each in made if type(each) is tuple]
    return (
        [None if type(each) is tuple else each for each in made],  # what was refused
        [content for content, _ in passed],
        [event.event_id for _, event in passed],
        [event.partition_key for _, event in passed],
        [event.payload for _, event in passed],
    )


def _unpacked(columns: tuple[list[Any], ...]) -> list[tuple[bytes, Encoded] | Refused]:
    refused, contents, *event = columns
    passed = zip(contents, map(Encoded, *event), strict=True)
    return [next(passed) if each is None else each for each in refused]


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
    made = _turn(row, tenant, pseudonyms, now, seen)
    return made if isinstance(made, Refused) else made[1]


def _turn(
    row: Row, tenant: str, pseudonyms: Pseudonyms, now: datetime, seen: Counter[bytes]
) -> tuple[bytes, Event] | Refused:
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
    turn_event = Event(
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
    return content, turn_event


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

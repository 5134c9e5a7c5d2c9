"""Replay: refused rows go through the door again, as they are kept or with corrections.

A letter becomes the same event however often it is replayed, for the event's id is made of the
letter's. So the order "append to the log, then mark the letter" is safe: a crash between the two
makes the next replay append what the log has already, which it leaves out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from closedloop.core.errors import EngineError, InputError
from closedloop.core.pseudonyms import Pseudonyms
from closedloop.data.dead_letters import USER_FIELD, DeadLetter
from closedloop.data.event import Event, derived_event_id
from closedloop.data.event_log.protocol import EventLog
from closedloop.data.ingest import turn_from_row
from closedloop.data.lake import Lake, named_failures
from closedloop.data.log_file import FIELDS, Refused, Row

_TABLE = "dead_letters"
_BATCH_LETTERS = 5_000
_ATTEMPTS = 5
_MARKS = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("replayed_at", pa.timestamp("us", tz="UTC")),
        pa.field("event_id", pa.string()),
    ]
)

LetterProgress = Callable[[int], None]  # called with the letters done so far


@dataclass(frozen=True, kw_only=True, slots=True)
class Replayed:
    """What a replay did, in letters."""

    # Events now that were none before.
    new: int
    # Events already, of a replay that died before it marked them.
    known: int
    # Refused again; the letters stay, with the new reason.
    refused: int


def replay(
    letters: Sequence[DeadLetter],
    *,
    log: EventLog,
    lake: Lake,
    pseudonyms: Pseudonyms,
    fixes: Mapping[str, str] | None = None,
    keys: Mapping[str, str] | None = None,
    progress: LetterProgress = lambda _: None,
) -> Replayed:
    """Send refused rows through the door again.

    Parameters
    ----------
    letters : sequence of DeadLetter
        Those that wait (`dead_letters`).
    log, lake : EventLog, Lake
        Where rows that pass go, and where the letters are.
    pseudonyms : Pseudonyms
        Brings users' names to the newest key.
    fixes : mapping of field → value
        Written over every one of these rows; an empty value takes a field away.
    keys : mapping of field → key
        Under which key of the row a field is, where the row has names of its own.

    Raises
    ------
    InputError
        A fix or key is for a field that rows do not have.
    EngineError
        The log or the lake failed; what passed before is marked, the rest waits.

    Examples
    --------
    >>> replay(dead_letters(lake), log=log, lake=lake, pseudonyms=names,
    ...        fixes={"ts": ""})                                       # doctest: +SKIP
    Replayed(new=12, known=0, refused=1)
    """
    fixes, keys = dict(fixes or {}), dict(keys or {})
    for name in (*fixes, *keys):
        if name not in FIELDS:
            raise InputError(
                f"There is no field {name!r} to correct.", remedy=f"Fields: {', '.join(FIELDS)}."
            )
    new = known = refused = 0
    for begin in range(0, len(letters), _BATCH_LETTERS):
        now = datetime.now(UTC)
        events: list[Event] = []
        marks: list[dict[str, Any]] = []
        for letter in letters[begin : begin + _BATCH_LETTERS]:
            outcome = _through_the_door(letter, pseudonyms, now, fixes, keys)
            if isinstance(outcome, Refused):
                refused += 1
                reason, at, event_id = outcome.reason, None, None
            else:
                events.append(outcome)
                reason, at, event_id = letter.reason, now, outcome.event_id
            marks.append(
                {"id": letter.id, "reason": reason, "replayed_at": at, "event_id": event_id}
            )
        appended = log.append(events)
        new += appended.new
        known += appended.duplicates
        _mark(lake, pa.Table.from_pylist(marks, schema=_MARKS))
        progress(begin + len(marks))
    return Replayed(new=new, known=known, refused=refused)


def _through_the_door(
    letter: DeadLetter,
    pseudonyms: Pseudonyms,
    now: datetime,
    fixes: Mapping[str, str],
    keys: Mapping[str, str],
) -> Event | Refused:
    kept = letter.fields()
    by_name = {field: kept.pop(key) for field, key in keys.items() if key in kept}
    values = {name: kept.pop(name) for name in FIELDS if name in kept} | by_name | dict(fixes)
    user = kept.pop(USER_FIELD, None)
    tenant = letter.tenant or "default"
    outcome = turn_from_row(
        Row(line=letter.line, values=values, extra=kept), tenant, pseudonyms, now, Counter()
    )
    if isinstance(outcome, Refused):
        return outcome
    if user is not None and outcome.user_id is None:
        outcome = replace(outcome, user_id=pseudonyms.renew(str(user), tenant=outcome.tenant))
    # Whatever is corrected, one letter is one event.
    return replace(outcome, event_id=derived_event_id(letter.ts, "dead letter", letter.id))


def _mark(lake: Lake, marks: pa.Table) -> None:
    """Write what became of letters, in one commit."""
    from deltalake.exceptions import CommitFailedError

    with named_failures(f"marking dead letters in {lake.url}"):
        for _ in range(_ATTEMPTS):
            opened = lake.open(_TABLE)
            if opened is None:
                return
            try:
                (
                    opened.merge(
                        marks,
                        # A letter that another replay has marked stays as that one left it.
                        predicate="letter.id = mark.id AND letter.replayed_at IS NULL",
                        source_alias="mark",
                        target_alias="letter",
                    )
                    .when_matched_update(
                        {name: f"mark.{name}" for name in ("reason", "replayed_at", "event_id")}
                    )
                    .execute()
                )
            except CommitFailedError:  # somebody else changed the table meanwhile
                continue
            return
    raise EngineError(
        f"Dead letters in {lake.url} are being changed by somebody else all the time.",
        remedy="Run the same command again; what passed is not loaded twice.",
    )

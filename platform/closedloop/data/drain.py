"""The drain: from the event log into the lake, so that each event is there once.

Three things see to that. Each Delta commit carries the offsets it reached, so that a batch read
again after a crash is left out. Two drains that meet write the same Delta transaction, and the
second one is refused. And an `event_id` that a batch has twice, or that its table has for the
days concerned, is dropped: Kafka takes an event twice where a client lost the acknowledgement,
and the embedded log forgets the ids that retention removed.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from closedloop.core.pseudonyms import KeyChain, Pseudonyms
from closedloop.data.dead_letters import bury
from closedloop.data.event import Event, Kind, to_table
from closedloop.data.event_log.codec import encode
from closedloop.data.event_log.protocol import EventLog, LoggedEvent, Page, Unreadable
from closedloop.data.lake import Lake, Progress, named_failures
from closedloop.data.log_file import Refused

if TYPE_CHECKING:
    from deltalake import DeltaTable

LAKE_CONSUMER = "lake"
_BATCH_EVENTS = 50_000
_TABLE_OF = {Kind.TURN: "turns", Kind.PREDICTION: "predictions", Kind.FEEDBACK: "feedback"}

EventProgress = Callable[[int], None]  # called with the events written so far


def drain_to_lake(log: EventLog, lake: Lake, *, progress: EventProgress = lambda _: None) -> int:
    """Write what the log has and the lake lacks; each event reaches the lake once.

    The place is committed to the log after the Delta commits. A crash between the two makes
    the next call read the same batch again, which the tables recognise. Records that are no
    events go to the dead letters.

    Parameters
    ----------
    log : EventLog
        Read from where its consumer ``lake`` stands.
    lake : Lake
        Gets turns, predictions, feedback and dead letters.

    Returns
    -------
    int
        Events written.

    Raises
    ------
    EngineError
        The log or the lake failed, or another drain was faster; call it again.

    Examples
    --------
    >>> drain_to_lake(log, lake), drain_to_lake(log, lake)  # doctest: +SKIP
    (12000, 0)
    """
    written = 0
    position = log.committed(LAKE_CONSUMER)
    while page := log.read(position, limit=_BATCH_EVENTS):
        written += _write(page, log.identity, lake)
        log.commit(LAKE_CONSUMER, page.next)
        position = page.next
        progress(written)
    return written


def _write(page: Page, identity: str, lake: Lake) -> int:
    """Write a page's events to their tables; return how many were new there."""
    written = 0
    refused = list(page.unreadable)
    for kind, table in _TABLE_OF.items():
        events = [logged for logged in page.events if logged.event.kind is kind]
        if not events:
            continue
        opened = lake.open(table)
        events = _beyond(events, identity, opened)
        if not events:
            continue
        rows, misfits = _as_table(events)
        refused += misfits
        rows = _unknown(rows, opened, table, lake)
        if rows.num_rows:
            lake.append(
                table,
                rows,
                progress=_progress(events, identity),
                after=opened.version() if opened else -1,
            )
            written += rows.num_rows
    if refused:
        _bury(refused, identity, lake)
    return written


def _beyond(
    events: list[LoggedEvent], identity: str, opened: DeltaTable | None
) -> list[LoggedEvent]:
    """Leave out what a table has reached already."""
    reached: dict[int, int] = {}
    for partition in {logged.partition for logged in events}:
        offset = opened.transaction_version(_writer(identity, partition)) if opened else None
        reached[partition] = -1 if offset is None else offset
    return [logged for logged in events if logged.offset > reached[logged.partition]]


def _progress(events: Sequence[LoggedEvent], identity: str) -> list[Progress]:
    last: dict[int, int] = {}
    for logged in events:
        last[logged.partition] = max(last.get(logged.partition, -1), logged.offset)
    return [
        Progress(writer=_writer(identity, partition), offset=offset)
        for partition, offset in sorted(last.items())
    ]


def _writer(identity: str, partition: int) -> str:
    return identity if partition == 0 else f"{identity}-{partition}"


def _as_table(events: Sequence[LoggedEvent]) -> tuple[pa.Table, list[Unreadable]]:
    """Return events as rows; one whose values do not fit must not hold up all others."""
    try:
        return to_table(logged.event for logged in events), []
    except (pa.ArrowException, TypeError, ValueError, OverflowError, AttributeError):
        fitting: list[Event] = []
        misfits: list[Unreadable] = []
        for logged in events:
            try:
                to_table([logged.event])
                fitting.append(logged.event)
            except (pa.ArrowException, TypeError, ValueError, OverflowError, AttributeError) as bad:
                misfits.append(
                    Unreadable(
                        partition=logged.partition,
                        offset=logged.offset,
                        reason=f"its values do not fit an event: {bad}",
                        raw=encode(logged.event),
                    )
                )
        return to_table(fitting), misfits


def _unknown(rows: pa.Table, opened: DeltaTable | None, table: str, lake: Lake) -> pa.Table:
    """Drop rows whose id came before in the batch or is in the table on the same day.

    Ids are read of those files only whose range of ids meets the batch's. Ids begin with their
    time (UUIDv7), so that new events meet no file and a batch that comes again meets its own.
    """
    first: dict[str, int] = {}
    for index, event_id in enumerate(rows["event_id"].to_pylist()):
        first.setdefault(event_id, index)
    if len(first) < rows.num_rows:
        rows = rows.take(list(first.values()))
    if opened is None or not rows.num_rows:
        return rows
    ids = rows["event_id"].combine_chunks()
    days = pa.table({"date": pc.strftime(rows["ts"], format="%Y-%m-%d"), "event_id": ids})
    ranges = days.group_by("date").aggregate([("event_id", "min"), ("event_id", "max")])
    conditions = [
        (ds.field("date") == each["date"])
        & (ds.field("event_id") >= each["event_id_min"])
        & (ds.field("event_id") <= each["event_id_max"])
        for each in ranges.to_pylist()
    ]
    with named_failures(f"looking for known events in the lake table {table} in {lake.url}"):
        found = opened.to_pyarrow_dataset().scanner(
            columns=["event_id"], filter=reduce(or_, conditions)
        )
        known = [
            batch["event_id"].filter(pc.is_in(batch["event_id"], value_set=ids))
            for batch in found.to_batches()
        ]
    known = [each for each in known if len(each)]
    if not known:
        return rows
    seen = pa.concat_arrays([each.cast(pa.string()) for each in known])
    return rows.filter(pc.invert(pc.is_in(ids, value_set=seen)))


def _bury(refused: Sequence[Unreadable], identity: str, lake: Lake) -> None:
    """Keep records that are no events. Whose they are is not to be told: the key is thrown away."""
    by_partition: dict[int, list[Refused]] = {}
    for each in refused:
        row = Refused(line=each.offset, reason=each.reason, raw=each.raw)
        by_partition.setdefault(each.partition, []).append(row)
    for partition, rows in by_partition.items():
        bury(
            lake,
            rows,
            source=f"event log {_writer(identity, partition)}",
            tenant="",
            pseudonyms=Pseudonyms(KeyChain(first=secrets.token_bytes(32))),
            at=datetime.now(UTC),
        )

"""One event of the lake by its id: for what the event log has let go already."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pyarrow.dataset as ds

from closedloop.data.event import SCHEMA, Event, Kind
from closedloop.data.lake import Lake, named_failures


def find_event(lake: Lake, table: str, event_id: str) -> Event | None:
    """Return an event of a table; None where there is none with this id.

    Reads the days around the time that the id names, and of those the files whose range of ids
    holds it.

    Parameters
    ----------
    lake, table : Lake, str
        Where.
    event_id : str
        A UUIDv7, as `closedloop.data.event.new_event_id` makes them.

    Raises
    ------
    EngineError
        The lake cannot be read.

    Examples
    --------
    >>> find_event(lake, "predictions", prediction_id)  # doctest: +SKIP
    """
    opened = lake.open(table)
    if opened is None:
        return None
    made = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=UUID(event_id).int >> 80)
    days = [
        (made + timedelta(days=offset)).strftime("%Y-%m-%d")
        for offset in (-1, 0, 1)  # a clock may be a little off around midnight
        if made.year < 9999
    ]
    wanted = ds.field("date").isin(days) & (ds.field("event_id") == event_id)
    with named_failures(f"looking an event up in the lake table {table} in {lake.url}"):
        rows = opened.to_pyarrow_dataset().to_table(columns=SCHEMA.names, filter=wanted)
    if not rows.num_rows:
        return None
    (row, *_) = rows.cast(SCHEMA).to_pylist()
    present = {k: v for k, v in row.items() if v is not None}
    attributes = dict(row["attributes"] or ())
    return Event(**{**present, "kind": Kind(row["kind"]), "attributes": attributes})

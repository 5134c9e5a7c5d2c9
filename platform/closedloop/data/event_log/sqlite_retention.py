"""Removing old events from the embedded log, never one that a consumer has yet to read."""

from __future__ import annotations

import sqlite3
import time

from closedloop.data.event_log.protocol import Retained, Retention

# So many events go in one transaction: appending waits for some milliseconds, not for all.
_BATCH_EVENTS = 5_000


def apply_retention(connection: sqlite3.Connection, retention: Retention) -> Retained:
    """Remove the oldest events until the rest is young and small enough.

    Raises
    ------
    sqlite3.Error
        The file is locked or damaged; what was removed until then stays removed.
    """
    bytes_before = _used_bytes(connection)
    first, last = _span(connection)
    consumers = dict(connection.execute("SELECT name, offset FROM consumer").fetchall())
    # Behind the last event that may go. Without a consumer nothing has been read.
    unread_from = min(consumers.values(), default=first)
    young_from = first
    if retention.older_than_s is not None:
        young_from = _first_stored_after(connection, time.time() - retention.older_than_s, last)
    removed = 0
    held_back = young_from > unread_from

    def remove_until(offset: int) -> None:
        nonlocal removed
        connection.execute("BEGIN IMMEDIATE")
        try:
            done = connection.execute("DELETE FROM event WHERE offset < ?", (offset,))
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        removed += done.rowcount

    while first < min(young_from, unread_from):
        first = min(first + _BATCH_EVENTS, young_from, unread_from)
        remove_until(first)
    while retention.max_bytes is not None and _used_bytes(connection) > retention.max_bytes:
        if first >= min(unread_from, last + 1):
            held_back = held_back or first <= last
            break
        first = min(first + _BATCH_EVENTS, unread_from, last + 1)
        remove_until(first)
    if removed:
        # Both need the file for themselves for a moment; where somebody reads, the pages are
        # free all the same and the next events go there.
        connection.executescript("PRAGMA incremental_vacuum")  # execute() would free one page
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return Retained(
        removed=removed,
        kept=_count(connection),
        bytes_before=bytes_before,
        bytes_after=_used_bytes(connection),
        held_back_by=tuple(sorted(name for name, offset in consumers.items() if offset <= first))
        if held_back
        else (),
    )


def _used_bytes(connection: sqlite3.Connection) -> int:
    """Return the bytes of pages that hold something."""
    pages, free, page_bytes = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * page_bytes


def _span(connection: sqlite3.Connection) -> tuple[int, int]:
    """Return the first and last offset; (1, 0) where the log is empty."""
    first, last = connection.execute(
        "SELECT (SELECT min(offset) FROM event), (SELECT max(offset) FROM event)"
    ).fetchone()
    return (1, 0) if last is None else (first, last)


def _count(connection: sqlite3.Connection) -> int:
    first, last = _span(connection)
    return last - first + 1


def _first_stored_after(connection: sqlite3.Connection, time_s: float, last: int) -> int:
    """Return the first offset that came at a time or later; one past the last where none did."""
    found = connection.execute(
        "SELECT offset FROM event WHERE stored_ms >= ? ORDER BY offset LIMIT 1",
        (int(time_s * 1000),),
    ).fetchone()
    return found[0] if found else last + 1

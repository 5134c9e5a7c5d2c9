"""The embedded event log: one SQLite file, one partition; many processes append and read."""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from closedloop.core import sqlite
from closedloop.core.errors import EngineError
from closedloop.data.event import Event
from closedloop.data.event_log.codec import Encoded, decode, encoded
from closedloop.data.event_log.protocol import (
    START,
    Appended,
    LoggedEvent,
    Page,
    Place,
    Position,
    Retained,
    Retention,
    Unreadable,
)
from closedloop.data.event_log.sqlite_retention import apply_retention

_PARTITION = 0
# Rows of one statement, four values each: other threads run while it does, and SQLite takes no
# more than 32,766 values.
_INSERT_VALUES = 4 * 1_000
_TABLES = """
    CREATE TABLE IF NOT EXISTS event (
        offset INTEGER PRIMARY KEY AUTOINCREMENT,
        event_id TEXT NOT NULL UNIQUE,
        payload TEXT NOT NULL,
        stored_ms INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE IF NOT EXISTS consumer (name TEXT PRIMARY KEY, offset INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS log (identity TEXT NOT NULL);
"""


class SqliteEventLog:
    """The embedded event log; an `event_id` is refused as long as its event is in the file.

    ``synchronous=FULL`` makes an acknowledged append survive a power loss. Threads of one
    process share the connection and take turns.

    Parameters
    ----------
    path : Path
        The file; it and its folder are made where they are not there.

    Raises
    ------
    EngineError
        The file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, check_same_thread=False)
            # Lets retention give pages back to the disk; counts in a new file only.
            self._connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
            sqlite.prepare(self._connection)
            self.identity = self._prepare()
        except (OSError, sqlite3.Error) as error:
            raise EngineError(
                f"The event log {path} cannot be opened: {error}",
                remedy="Check CLOSEDLOOP_EVENT_LOG, free disk space and the folder's permissions.",
            ) from error

    def append(self, events: Sequence[Event]) -> Appended:
        """Store events in one transaction."""
        return self.append_encoded([encoded(event) for event in events])

    def append_encoded(self, events: Sequence[Encoded]) -> Appended:
        """Store events in one transaction."""
        try:
            with self._turn:
                return Appended(places=self._insert(events))
        except sqlite3.Error as error:
            raise EngineError(
                f"{len(events)} events could not be written to {self._path}: {error}",
                remedy="Free disk space or wait for the other writer, then send them again.",
            ) from error

    def _insert(self, events: Sequence[Encoded]) -> tuple[Place | None, ...]:
        if not events:
            return ()
        run = self._connection.execute
        run("BEGIN IMMEDIATE")
        try:
            # Not max(offset): offsets go on where they were after all events were removed.
            found = run("SELECT seq FROM sqlite_sequence WHERE name = 'event'").fetchone()
            offset = found[0] if found else 0
            ids = json.dumps([event.event_id for event in events])
            known = {
                event_id
                for (event_id,) in run(
                    "SELECT event_id FROM event WHERE event_id IN (SELECT value FROM json_each(?))",
                    (ids,),
                )
            }
            stored_ms = time.time_ns() // 1_000_000
            fresh: list[object] = []
            places: list[Place | None] = []
            for event_id, _, payload in events:
                if event_id in known:
                    places.append(None)
                    continue
                known.add(event_id)
                offset += 1
                fresh += (offset, event_id, payload, stored_ms)
                places.append(Place(_PARTITION, offset))
            for begin in range(0, len(fresh), _INSERT_VALUES):
                values = fresh[begin : begin + _INSERT_VALUES]
                run(
                    "INSERT INTO event (offset, event_id, payload, stored_ms) VALUES "
                    + ",".join(["(?,?,?,?)"] * (len(values) // 4)),
                    values,
                )
            run("COMMIT")
        except BaseException:
            run("ROLLBACK")
            raise
        return tuple(places)

    def read(self, position: Position, *, limit: int) -> Page:
        """Return a page of events."""
        start = position.get(_PARTITION, 0)
        rows = self._query(
            "SELECT offset, payload FROM event WHERE offset >= ? ORDER BY offset LIMIT ?",
            (start, limit),
        )
        events: list[LoggedEvent] = []
        unreadable: list[Unreadable] = []
        for offset, payload in rows:
            try:
                event = decode(payload)
            except ValueError as error:
                unreadable.append(
                    Unreadable(
                        partition=_PARTITION, offset=offset, reason=str(error), raw=str(payload)
                    )
                )
            else:
                events.append(LoggedEvent(partition=_PARTITION, offset=offset, event=event))
        return Page(
            events=tuple(events),
            unreadable=tuple(unreadable),
            next={_PARTITION: rows[-1][0] + 1 if rows else start},
        )

    def get(self, event_id: str) -> Event | None:
        """Look one event up by its id."""
        rows = self._query("SELECT payload FROM event WHERE event_id = ?", (event_id,))
        return decode(rows[0][0]) if rows else None

    def end(self) -> Position:
        """Return one past the last offset."""
        rows = self._query("SELECT seq FROM sqlite_sequence WHERE name = 'event'", ())
        return {_PARTITION: (rows[0][0] if rows else 0) + 1}

    def size(self) -> int:
        """Return the span of offsets, which have no gaps: counting would read the whole file."""
        ((first, last),) = self._query(
            "SELECT (SELECT min(offset) FROM event), (SELECT max(offset) FROM event)", ()
        )
        return 0 if last is None else last - first + 1

    def commit(self, consumer: str, position: Position) -> None:
        """Remember a consumer's place."""
        self._query(
            "INSERT INTO consumer VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET offset = excluded.offset",
            (consumer, position.get(_PARTITION, 0)),
        )

    def committed(self, consumer: str) -> Position:
        """Return a consumer's place."""
        rows = self._query("SELECT offset FROM consumer WHERE name = ?", (consumer,))
        return {_PARTITION: rows[0][0]} if rows else START

    def retain(self, retention: Retention) -> Retained:
        """Remove old events that every consumer has read, and give their space back.

        An event is as old as its stay in the log. Nothing goes that a consumer has yet to read,
        and nothing at all while no consumer has read anything. Events go in small transactions,
        so that appending goes on meanwhile.
        """
        try:
            with self._turn:
                return apply_retention(self._connection, retention)
        except sqlite3.Error as error:
            raise EngineError(
                f"Old events could not be removed from {self._path}: {error}",
                remedy="Wait for the other writer and run it again; what is left is whole.",
            ) from error

    def close(self) -> None:
        """Close the file."""
        with self._turn:
            self._connection.close()

    def _prepare(self) -> str:
        """Make the tables, bring those of an earlier release up to date, return the identity."""
        run = self._connection.execute
        run("BEGIN IMMEDIATE")
        try:
            older = run("SELECT 1 FROM sqlite_master WHERE name = 'event'").fetchone()
            for statement in _TABLES.split(";"):
                run(statement)
            if not any(row[1] == "stored_ms" for row in run("PRAGMA table_info(event)")):
                # Nobody noted when they came, so their age counts from now.
                now_ms = time.time_ns() // 1_000_000
                run(f"ALTER TABLE event ADD COLUMN stored_ms INTEGER NOT NULL DEFAULT {now_ms}")
            found = run("SELECT identity FROM log").fetchone()
            # The lake knows what it took from a log of the first release by the name "lake".
            identity = found[0] if found else "lake" if older else f"lake-{secrets.token_hex(8)}"
            if not found:
                run("INSERT INTO log VALUES (?)", (identity,))
            run("COMMIT")
        except BaseException:
            run("ROLLBACK")
            raise
        return identity

    def _query(self, statement: str, values: tuple[object, ...]) -> list[Any]:
        try:
            with self._turn:
                return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise EngineError(
                f"The event log {self._path} did not answer: {error}",
                remedy="Check that its disk is there and not full, then try again.",
            ) from error

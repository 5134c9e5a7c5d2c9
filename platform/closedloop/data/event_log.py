"""The event log: an append-only, ordered record of events that any number of consumers read.

A consumer reads from an offset, does its work and commits the next offset; after a crash it
reads again from what it committed (at least once). Appending is idempotent by ``event_id``,
so that a retried batch adds nothing.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from closedloop.core import sqlite
from closedloop.core.errors import EngineError, InputError
from closedloop.data.event import Event


@dataclass(frozen=True, kw_only=True, slots=True)
class LoggedEvent:
    """An event and its place in the log."""

    offset: int
    event: Event


@dataclass(frozen=True, kw_only=True, slots=True)
class Appended:
    """What an append did."""

    new: int
    duplicates: int


class EventLog(Protocol):
    """What every event log does; the contract suite in the tests spells it out."""

    def append(self, events: Sequence[Event]) -> Appended:
        """Store events durably, in order; those whose event_id is known are left out."""

    def read(self, offset: int, *, limit: int) -> list[LoggedEvent]:
        """Return up to ``limit`` events from ``offset`` (inclusive) on, in order."""

    def get(self, event_id: str) -> Event | None:
        """Return the event with this id, None where the log has none."""

    def end(self) -> int:
        """Return the offset that the next event will get or exceed."""

    def commit(self, consumer: str, offset: int) -> None:
        """Remember that ``consumer`` has done everything before ``offset``."""

    def committed(self, consumer: str) -> int:
        """Return the offset from which ``consumer`` goes on; 0 for a new one."""

    def close(self) -> None:
        """Give files and connections back."""


class SqliteEventLog:
    """The embedded event log, one SQLite file; many processes may append and read.

    ``synchronous=FULL`` makes an acknowledged append survive a power loss. Threads of one
    process share the connection and take turns.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, check_same_thread=False)
            sqlite.prepare(self._connection)
            self._connection.executescript(
                """
                CREATE TABLE IF NOT EXISTS event (
                    offset INTEGER PRIMARY KEY AUTOINCREMENT,
                    event_id TEXT NOT NULL UNIQUE,
                    payload TEXT NOT NULL
                );
                CREATE TABLE IF NOT EXISTS consumer (
                    name TEXT PRIMARY KEY,
                    offset INTEGER NOT NULL
                );
                """
            )
        except (OSError, sqlite3.Error) as error:
            raise EngineError(
                f"The event log {path} cannot be opened: {error}",
                remedy="Check CLOSEDLOOP_EVENT_LOG, free disk space and the folder's permissions.",
            ) from error

    def append(self, events: Sequence[Event]) -> Appended:
        """Store events in one transaction."""
        rows = [
            (e.event_id, json.dumps(e.to_record(), ensure_ascii=False, separators=(",", ":")))
            for e in events
        ]
        try:
            with self._turn:
                new = self._insert(rows)
        except sqlite3.Error as error:
            raise EngineError(
                f"{len(rows)} events could not be written to {self._path}: {error}",
                remedy="Free disk space or wait for the other writer, then send them again.",
            ) from error
        return Appended(new=new, duplicates=len(rows) - new)

    def _insert(self, rows: list[tuple[str, str]]) -> int:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            before = self._connection.total_changes
            self._connection.executemany(
                "INSERT INTO event (event_id, payload) VALUES (?, ?)"
                " ON CONFLICT (event_id) DO NOTHING",
                rows,
            )
            new = self._connection.total_changes - before
            self._connection.execute("COMMIT")
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        return new

    def read(self, offset: int, *, limit: int) -> list[LoggedEvent]:
        """Return a page of events."""
        rows = self._query(
            "SELECT offset, payload FROM event WHERE offset >= ? ORDER BY offset LIMIT ?",
            (offset, limit),
        )
        return [LoggedEvent(offset=o, event=Event.from_record(json.loads(p))) for o, p in rows]

    def get(self, event_id: str) -> Event | None:
        """Look one event up by its id."""
        rows = self._query("SELECT payload FROM event WHERE event_id = ?", (event_id,))
        return Event.from_record(json.loads(rows[0][0])) if rows else None

    def end(self) -> int:
        """Return one past the last offset."""
        ((last,),) = self._query("SELECT max(offset) FROM event", ())
        return (last or 0) + 1

    def commit(self, consumer: str, offset: int) -> None:
        """Remember a consumer's place."""
        self._query(
            "INSERT INTO consumer VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET offset = excluded.offset",
            (consumer, offset),
        )

    def committed(self, consumer: str) -> int:
        """Return a consumer's place."""
        rows = self._query("SELECT offset FROM consumer WHERE name = ?", (consumer,))
        return rows[0][0] if rows else 0

    def _query(self, statement: str, values: tuple[object, ...]) -> list[Any]:
        try:
            with self._turn:
                return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise EngineError(
                f"The event log {self._path} did not answer: {error}",
                remedy="Check that its disk is there and not full, then try again.",
            ) from error

    def close(self) -> None:
        """Close the file."""
        with self._turn:
            self._connection.close()


def open_event_log(url: str) -> EventLog:
    """Open the event log that ``url`` names, ``sqlite:///FILE``."""
    scheme, separator, path = url.partition(":///")
    if scheme != "sqlite" or not separator or not path:
        raise InputError(
            f"The event log URL {url!r} is not supported.",
            remedy="Set CLOSEDLOOP_EVENT_LOG to sqlite:///FILE.",
        )
    return SqliteEventLog(Path(path))

"""How every SQLite file of the platform is opened: WAL, durable, patient."""

from __future__ import annotations

import sqlite3
import threading

BUSY_TIMEOUT_S = 30
_ATTEMPTS = 100
_PAUSE_S = 0.05


def prepare(connection: sqlite3.Connection) -> None:
    """Set a new connection's pragmas.

    ``synchronous=FULL`` makes a commit survive a power loss. The change to WAL needs the file
    alone, and SQLite answers "locked" at once where two connections of a new file ask for it
    together, whatever the busy timeout: the loser asks again and finds it done.

    Raises
    ------
    sqlite3.Error
        The file is no database, or stays locked.
    """
    connection.isolation_level = None  # callers begin their transactions themselves
    connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_S * 1_000}")
    pause = threading.Event()
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            break
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or attempt == _ATTEMPTS:
                raise
            pause.wait(_PAUSE_S)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")

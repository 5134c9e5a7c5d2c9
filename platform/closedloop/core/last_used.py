"""When keys were last used, written beside the requests and never in their way."""

from __future__ import annotations

import logging
import threading

import sqlalchemy as sa

from closedloop.core import schema
from closedloop.core.store import Store

logger = logging.getLogger(__name__)

EVERY_S = 60.0  # a key's time is written at most this often


class LastUsed:
    """Writes what it is told in a thread that ends when there is nothing left to write.

    What cannot be written is logged and forgotten: the next use of the key tells it again.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._waiting: dict[str, float] = {}
        self._writing: threading.Thread | None = None

    def note(self, key_id: str, at: float, before: float | None) -> None:
        """Take down that a key was used, unless that was written less than a minute ago.

        Parameters
        ----------
        key_id : str
            Of the key.
        at : float
            Now, in Unix seconds.
        before : float or None
            The time that the store has.
        """
        if before is not None and 0 <= at - before < EVERY_S:
            return
        with self._lock:
            self._waiting[key_id] = at
            if self._writing is not None:
                return
            self._writing = threading.Thread(target=self._write, name="last-used", daemon=True)
            try:
                self._writing.start()
            except RuntimeError:  # no thread to be had; a request must not fail for that
                self._writing = None

    def flush(self, timeout_s: float) -> None:
        """Wait until what was noted is written or given up."""
        writing = self._writing
        if writing is not None:
            writing.join(timeout_s)

    def _write(self) -> None:
        while True:
            with self._lock:
                batch, self._waiting = self._waiting, {}
                if not batch:
                    self._writing = None
                    return
            try:
                with self._store.write() as connection:
                    connection.execute(
                        sa.update(schema.api_key)
                        .where(schema.api_key.c.id == sa.bindparam("key_id"))
                        .values(last_used_at=sa.bindparam("at")),
                        # In one order, so that two replicas never wait for each other in turn.
                        [{"key_id": key_id, "at": at} for key_id, at in sorted(batch.items())],
                    )
            except Exception:
                logger.warning("when %d keys were used is not written", len(batch), exc_info=True)

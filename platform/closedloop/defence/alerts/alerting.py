"""Alerts where issues come from: raised and delivered by the receivers that the file names now."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from closedloop.core.errors import ClosedLoopError
from closedloop.core.settings import Settings
from closedloop.core.store import Store
from closedloop.defence.alerts.alert_book import AlertBook
from closedloop.defence.alerts.configuration import FILE, open_alert_book
from closedloop.defence.issues.issue import Issue

logger = logging.getLogger(__name__)

_PAUSE_S = 1.0
_RETRY_S = 10.0


class LiveAlerts:
    """The alerts of an installation; a change of their file counts from the next call on.

    Nothing is raised to the caller: whoever watches for issues must not end because a receiver's
    address is wrong. It is told in the log, and by 'closedloop alerts'.

    Parameters
    ----------
    settings : Settings
    store : Store
    """

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._book: AlertBook | None = None
        self._read: tuple[int, int] | None = None

    def raise_for(self, *issues: Issue) -> None:
        """Keep what receivers are to be told of issues on the board."""
        book = self._current()
        if book is not None:
            book.raise_for(*issues)

    def deliver_until(self, stop: threading.Event) -> None:
        """Send what is due, again and again; once more where it is stopped already."""
        while True:
            pause_s = _PAUSE_S
            try:
                book = self._current()
                if book is not None:
                    book.deliver_due()
            except Exception:  # a receiver's failure is the book's; the store may be away
                logger.exception("alerts could not be delivered")
                pause_s = _RETRY_S
            if stop.wait(pause_s):
                return

    def _current(self) -> AlertBook | None:
        stamp = _stamp(self._settings.root / FILE)
        if stamp != self._read:
            self._read = stamp
            try:
                self._book = open_alert_book(self._settings, self._store)
            except ClosedLoopError as error:  # the receivers of before stay
                logger.warning("the alerts' file cannot be used: %s", error)
        return self._book


def _stamp(file: Path) -> tuple[int, int]:
    try:
        found = file.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size

"""Alerts as lines of a local file, for what reads files: a log shipper, a test."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from closedloop.defence.alerts.alert import Alert
from closedloop.defence.alerts.sink import NotDelivered


@dataclass(frozen=True, kw_only=True)
class JsonLines:
    """Appends alerts to a file, one a line."""

    path: Path

    @property
    def address(self) -> str:
        """The file."""
        return str(self.path)

    def send(self, alert: Alert) -> None:
        """Append an alert; it is on the disk then.

        Raises
        ------
        NotDelivered
            The file cannot be written.
        """
        line = json.dumps(alert.to_json(), ensure_ascii=False) + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # One write: lines of two processes do not mix.
            with self.path.open("ab", buffering=0) as file:
                file.write(line.encode())
                os.fsync(file.fileno())
        except OSError as error:
            raise NotDelivered(
                f"{self.path} cannot be written: {error.strerror}.",
                remedy="Check that the folder is writable and the disk has space.",
            ) from error

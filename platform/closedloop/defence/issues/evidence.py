"""What is kept of the texts of each micro-cluster: a few of them, and counts of what they came by.

Counts are of the present and the last hour of the stream, so that what a subject was like a week
ago does not hide what it is like now.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from closedloop.data.event import Event
from closedloop.defence.issues.tally import HOUR_S

CHANNEL, MODEL, INTENT, FEEDBACK = range(4)
_MOST_NAMES = 5_000  # of each kind; a "prediction" may be free text
_MOST_LETTERS = 120
_OTHER = "other"


class Said(NamedTuple):
    """A text as it was said."""

    at: float
    event_id: str
    text: str
    channel: str
    answer: str
    model: str
    user: str
    confidence: float  # of the answer; -1 unknown


class Record:
    """What is kept of one micro-cluster."""

    __slots__ = ("before", "hour", "now", "place", "texts")

    def __init__(self) -> None:
        # The last texts, as a ring; where the next one goes.
        self.texts: list[Said] = []
        self.place = 0
        # Counts of the last hour that had a text, and of the one ahead of it, by code.
        self.hour = 0
        self.now: dict[int, int] = {}
        self.before: dict[int, int] = {}


class Evidence:
    """Texts and counts by micro-cluster.

    Parameters
    ----------
    each : int
        Texts that are kept of a micro-cluster: the last ones.
    """

    def __init__(self, *, each: int) -> None:
        self.each = each
        self.records: dict[int, Record] = {}
        # Name to its code, for each kind; and codes to kinds and names.
        self.codes: tuple[dict[str, int], ...] = ({}, {}, {}, {})
        self.names: list[tuple[int, str]] = []

    def note(self, event: Event, micro: int, at: float) -> None:
        """Keep a text."""
        record = self.records.get(micro)
        if record is None:
            record = self.records[micro] = Record()
            record.hour = int(at // HOUR_S)
        channel, answer, model = event.channel or "", event.prediction or "", event.model or ""
        confidence = -1.0 if event.confidence is None else event.confidence
        said = Said(
            at,
            event.event_id,
            event.text or "",
            channel,
            answer,
            model,
            event.user_id or "",
            confidence,
        )
        if len(record.texts) < self.each:
            record.texts.append(said)
        else:
            record.texts[record.place] = said
        record.place = (record.place + 1) % self.each
        counts = self._counts(record, at)
        for kind, name in ((CHANNEL, channel), (MODEL, model), (INTENT, answer)):
            if name:
                code = self.codes[kind].get(name)
                if code is None:
                    code = self._code(kind, name)
                counts[code] = counts.get(code, 0) + 1

    def rate(self, micro: int, thumb: str, at: float) -> None:
        """Count a thumb for the answer to a text of a micro-cluster; unknown ones are left out."""
        record = self.records.get(micro)
        if record is not None:
            counts = self._counts(record, at)
            code = self._code(FEEDBACK, thumb)
            counts[code] = counts.get(code, 0) + 1

    def forget(self, micros: Iterable[int]) -> None:
        """Forget micro-clusters."""
        for micro in micros:
            self.records.pop(micro, None)

    def counts(self, micros: Iterable[int]) -> tuple[dict[str, int], ...]:
        """Return name to count for each kind, the most frequent first."""
        found: tuple[dict[str, int], ...] = ({}, {}, {}, {})
        for micro in micros:
            record = self.records.get(micro)
            if record is None:
                continue
            for counts in (record.before, record.now):
                for code, count in counts.items():
                    kind, name = self.names[code]
                    found[kind][name] = found[kind].get(name, 0) + count
        return tuple(
            dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))) for counts in found
        )

    def texts(self, micros: Iterable[int]) -> list[list[Said]]:
        """Return the texts of each micro-cluster that has some, the newest first."""
        records = (self.records.get(micro) for micro in micros)
        found = [sorted(record.texts, reverse=True) for record in records if record is not None]
        return [texts for texts in found if texts]

    def _counts(self, record: Record, at: float) -> dict[int, int]:
        hour = int(at // HOUR_S)
        if hour > record.hour:
            record.before = record.now if hour == record.hour + 1 else {}
            record.now, record.hour = {}, hour
        return record.now

    def _code(self, kind: int, name: str) -> int:
        codes = self.codes[kind]
        name = name[:_MOST_LETTERS] if len(codes) < _MOST_NAMES else _OTHER
        code = codes.get(name)
        if code is None:
            code = codes[name] = len(self.names)
            self.names.append((kind, name))
        return code

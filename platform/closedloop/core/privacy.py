"""Personal data in texts: find it, mask it, and give people pseudonyms."""

from __future__ import annotations

from typing import NamedTuple


class Span(NamedTuple):
    """Where a text holds personal data, and of which kind; the end is exclusive."""

    start: int
    end: int
    kind: str

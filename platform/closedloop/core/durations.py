"""Lengths of time as people write them: ``90m``, ``36h``, ``180d``, ``2w``."""

from __future__ import annotations

import re
from datetime import timedelta

from closedloop.core.errors import InputError

_DURATION = re.compile(r"(\d+)\s*(m|h|d|w)")
_UNIT = {
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}


def duration(text: str) -> timedelta:
    """Read a length of time, in minutes, hours, days or weeks.

    Raises
    ------
    InputError
        It is written differently.

    Examples
    --------
    >>> duration("180d").days, duration("2w").days
    (180, 14)
    """
    found = _DURATION.fullmatch(text.strip().lower())
    try:
        return int(found[1]) * _UNIT[found[2]] if found else _raise(text)
    except OverflowError:
        return _raise(text)


def _raise(text: str) -> timedelta:
    raise InputError(
        f"The length of time {text!r} cannot be read.", remedy="Write it like 90m, 36h, 180d or 2w."
    )

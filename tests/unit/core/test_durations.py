from datetime import timedelta

import pytest

from closedloop.core.durations import duration
from closedloop.core.errors import InputError


@pytest.mark.parametrize(
    ("text", "hours"), [("36h", 36), ("180d", 4_320), (" 2W ", 336), ("0d", 0)]
)
def test_lengths_of_time_are_read(text: str, hours: int) -> None:
    assert duration(text) == timedelta(hours=hours)


@pytest.mark.parametrize("text", ["", "d", "5", "5y", "-5d", "1.5d", "9" * 30 + "d"])
def test_other_lengths_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        duration(text)

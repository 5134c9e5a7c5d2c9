"""A scan counts what masking finds and gives nobody away."""

import pytest

from closedloop.core.privacy import KINDS
from closedloop.core.privacy_scan import Scan, partly_hidden

TEXTS = [
    "my phone is 13812345678, mail ann.smith@example.org, thanks a lot for all your help",
    "no data in here",
    "another phone: 139 1234 5678",
]


def test_every_value_is_counted_by_kind():
    scan = Scan()
    scan.look(TEXTS[:1])
    scan.look(TEXTS[1:])
    report = scan.report()
    assert (report.texts, report.texts_with) == (3, 2)
    assert report.found == {kind: {"phone": 2, "email": 1}.get(kind, 0) for kind in KINDS}


def test_examples_show_the_surroundings_and_hide_the_value():
    scan = Scan()
    scan.look(TEXTS)
    examples = scan.report().examples
    assert examples["phone"] == (
        "my phone is 13••••••••8, mail <EMAIL>, thanks a…",
        "another phone: 13• •••• •••8",
    )
    shown = "".join("".join(each) for each in examples.values())
    assert "13812345678" not in shown
    assert "smith" not in shown


def test_examples_are_few_and_different():
    scan = Scan(examples=2)
    scan.look([f"call 1381234{n:04}" for n in range(100)])
    [first, second] = scan.report().examples["phone"]
    assert first != second


@pytest.mark.parametrize("value", ["13812345678", "ann@example.org", "221B Baker Street", "A1"])
def test_no_value_is_shown_whole(value):
    hidden = partly_hidden(value)
    assert hidden != value
    assert len(hidden) == len(value)
    assert sum(sign.isalnum() for sign in hidden) <= 3

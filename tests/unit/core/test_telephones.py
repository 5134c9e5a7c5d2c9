"""A telephone number is told by its shape, its plan, or the words ahead of it."""

import pytest

from closedloop.core.privacy import mask


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        # Where words say telephone, no plan need hold the number.
        ("my mobile is 8123 9876", "my mobile is <PHONE>"),
        ("phone no. 5550001234, was 5550009876", "phone no. <PHONE>, was <PHONE>"),
        ("call me back at 44 1865 496 0999", "call me back at <PHONE>"),
        ("电话2811 0099，找陈生", "电话<PHONE>，找陈生"),
        ("手机号是 188 0000 111 2", "手机号是 <PHONE>"),
        # Brackets and extensions belong to it, in any form.
        ("tel (555) 765-4321", "tel <PHONE>"),
        ("座机（0755）26001234", "座机<PHONE>"),
        ("座机(0755)26001234-801", "座机<PHONE>"),
        ("021 6160 9999 分机 12", "<PHONE>"),
        # Numbers that a whole country calls, and areas in brackets.
        ("1800 555 321 all day", "<PHONE> all day"),
        ("(853) 6600 1122", "<PHONE>"),
        ("8 (916) 555-12-34", "<PHONE>"),
        ("(21) 98888-1234", "<PHONE>"),
        # Groups that a plan without a leading nought holds; a number that is a whole turn.
        ("691 22 33 44 por favor", "<PHONE> por favor"),
        ("602 555 120", "<PHONE>"),
        ("9234 5678", "<PHONE>"),
        ("Tel 089 / 4521 7780", "Tel <PHONE>"),
        # Whose number it is.
        ("my number is 6123 4567", "my number is <PHONE>"),
        ("meine Nummer ist 1512 555 0001", "meine Nummer ist <PHONE>"),
        # Several, of which words announce the first.
        ("电话：66170000,66170001", "电话：<PHONE>,<PHONE>"),
        ("电话是61400000和61400001", "电话是<PHONE>和<PHONE>"),
    ],
)
def test_numbers_in_the_forms_that_people_write(text: str, masked: str) -> None:
    assert mask(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "call me on 2024-11-09 10:30",
        "text me when 3 of 12 are back",
        "call 911 or 12306",
        "打8折，打10086问",
        "phone for 1299.00 or 1,299,000 points",
        "拨打95588转人工",
        "打电话说20241109",
        "my number one choice is 55 inch",
        "2023 2024",
    ],
)
def test_words_of_telephones_make_no_other_number_one(text: str) -> None:
    assert mask(text) == text


def test_a_number_of_an_invoice_is_no_telephone() -> None:
    assert mask("发票代码044001900111") == "发票代码<ORDER>"

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
    ],
)
def test_words_of_telephones_make_no_other_number_one(text: str) -> None:
    assert mask(text) == text


def test_a_number_of_an_invoice_is_no_telephone() -> None:
    assert mask("发票代码044001900111") == "发票代码<ORDER>"

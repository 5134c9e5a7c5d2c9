"""What is masked, and what must not be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from closedloop.core.privacy import KINDS, find_pii, mask, mask_many

MASKED = {
    "call 020 7946 0958 after six": "call <PHONE> after six",
    "my number is +49 30 901820.": "my number is <PHONE>.",
    "ring 06 12 34 56 78": "ring <PHONE>",
    "(415) 555-2671 or 415.555.2671": "<PHONE> or <PHONE>",
    "手机138 0013 8000，谢谢": "手机<PHONE>，谢谢",
    "座机021-62345678或者(010)62345678": "座机<PHONE>或者<PHONE>",
    "电话１３８１２３４５６７８": "电话<PHONE>",
    "客服400-820-8820": "客服<PHONE>",
    "write to JOHN.DOE+x@mail.example.co.uk.": "write to <EMAIL>.",
    "邮箱a_b@qq.com吧": "邮箱<EMAIL>吧",
    "visa 4111 1111 1111 1111 exp 12/27": "visa <CARD> exp 12/27",
    "AMEX 378282246310005": "AMEX <CARD>",
    "身份证11010519491231002X": "身份证<RESIDENT_ID>",
    "to DE89 3704 0044 0532 0130 00 thanks a lot": "to <IBAN> thanks a lot",
    "nl91abna0417164300": "<IBAN>",
    "订单号：20251110123456789": "订单号：<ORDER>",
    "order #112-1234567-1234567": "order #<ORDER>",
    "order no. is 83721": "order no. is <ORDER>",
    "tracking number 1Z999AA10123456784": "tracking number <ORDER>",
    "221B Baker Street, London NW1 6XE": "<ADDRESS>",
    "deliver to 12 oak street please": "deliver to <ADDRESS> please",
    "I am at 7 church court": "I am at <ADDRESS>",
    "寄到浙江省杭州市西湖区文三西路12号3幢201室": "寄到<ADDRESS>",
    "地址是朝阳区望京街8号院5号楼2单元1103": "地址是<ADDRESS>",
    "a@b.org, 13800138000": "<EMAIL>, <PHONE>",
}

KEPT = [
    "iPhone 15 Pro Max 256GB and an RTX 4090 for $1,999.99",
    "on 2024-11-09 10:30 or 2025/11/10 18:00:00, 20251110",
    "at 10:30-12:00, 50% off 3 items, 1000000 points",
    "I waited 5 days on the road and 3 weeks on the way",
    "2 pieces at the same place, 4 Park tickets",
    "order 2 of 5, order 2025-11-10, order total 12345.67",
    "1920x1080, v2.3.4, 192.168.1.1, i5-13600K, WH-1000XM5",
    "双11满300减50，2025年11月10日20:00",
    "尺码 175/96A，小米14 Ultra 16+512",
    "这条路上5号楼，10号到的，12号线地铁，市区路上堵车",
    "height 175 cm, 64 kg, size 42 44 46",
]


@pytest.mark.parametrize(("text", "masked"), MASKED.items())
def test_personal_data_is_masked(text: str, masked: str) -> None:
    assert mask(text) == masked


@pytest.mark.parametrize("text", KEPT)
def test_what_identifies_nobody_is_kept(text: str) -> None:
    assert mask(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1112",  # a card with a wrong check digit
        "110105194912310021",  # a resident id with a wrong check character
        "DE88 3704 0044 0532 0130 00",  # an IBAN with wrong check digits
    ],
)
def test_a_wrong_check_digit_is_no_proof(text: str) -> None:
    assert {span.kind for span in find_pii(text)}.isdisjoint({"card", "resident_id", "iban"})


def test_a_check_digit_beats_a_label() -> None:
    assert mask("order 4111111111111111") == "order <CARD>"


def test_a_label_beats_the_shape_of_a_phone() -> None:
    assert mask("order number 13812345678") == "order number <ORDER>"


@given(st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "Z")), max_size=60))
def test_spans_are_ordered_apart_and_inside(text: str) -> None:
    end = 0
    for span in find_pii(text):
        assert end <= span.start < span.end <= len(text)
        assert span.kind in KINDS
        end = span.end


@pytest.mark.parametrize("text", MASKED)
def test_masking_again_changes_nothing(text: str) -> None:
    assert mask(mask(text)) == mask(text)


def test_many_are_masked_like_each() -> None:
    texts = [*MASKED, *KEPT, "", "no digit here"]
    assert mask_many(texts) == [mask(text) for text in texts]

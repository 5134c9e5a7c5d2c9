"""What is masked, and what must not be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from closedloop.core.privacy import KINDS, find_pii, mask, mask_many, names_a_person

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
    # Numbers in other groups, with other signs between.
    "ring 06.12.34.56.78.": "ring <PHONE>.",
    "415/555-2671 ext. 43": "<PHONE>",
    "(+86)138.0013.8000": "<PHONE>",
    "手机１３８　００１３　８０００": "手机<PHONE>",
    "1380 0138 000": "<PHONE>",
    "0531-88663320转808": "<PHONE>",
    "138 - 0013 - 8000或者138  0013  8000": "<PHONE>或者<PHONE>",
    "1 3 8 0 0 1 3 8 0 0 0": "<PHONE>",
    "415–555–2671, 138\u00a00013\u00a08000": "<PHONE>, <PHONE>",
    "021—62345678": "<PHONE>",
    "4008-123-123": "<PHONE>",
    "d'arcy@köhler-laden.de": "<EMAIL>",
    "AMEX 3782 822463 10005": "AMEX <CARD>",
    "卡622202 1234567890128退": "卡<CARD>退",
    "4111 1111 1111 1111 020 7946 0958": "<CARD> <PHONE>",
    "110105 1949 1231 002X": "<RESIDENT_ID>",
    "１１０１０５１９４９１２３１００２Ｘ": "<RESIDENT_ID>",
    "身份证号：110105491231002": "身份证号：<RESIDENT_ID>",
    "flight BA157 to GB29NWBK60161331926819": "flight BA157 to <IBAN>",
    "SA03 8000 0000 6080 1016 7519 please": "<IBAN> please",
    "订单编号206159": "订单编号<ORDER>",
    "reference is QB-40917-M": "reference is <ORDER>",
    "tracking 9400 1150 6374 6418 3710 08": "tracking <ORDER>",
    "order no. 2025/40917": "order no. <ORDER>",
    # Addresses without a street, or with another kind of it.
    "ship to P.O. Box 88, Salem, OR 97301": "ship to <ADDRESS>",
    "75 42nd Avenue, Apt 3K, Seattle, WA 98101": "<ADDRESS>",
    "Unit 6, 296 Harbour Drive, Sydney NSW 2013": "<ADDRESS>",
    "12 rue de Rivoli, 75004 Paris": "<ADDRESS>",
    "Lindenstraße 10, 10969 Berlin": "<ADDRESS>",
    "我住在恒大绿洲4期16栋2单元503": "我住在<ADDRESS>",
    "北京市西城区和平镇石桥村8组14号": "<ADDRESS>",
    "河北省保定市清苑县望亭乡李家村": "<ADDRESS>",
    "大连市中山区人民路与民主街交叉口": "<ADDRESS>",
    "台北市信义区信义路五段9号1楼": "<ADDRESS>",
    # Traditional signs, buildings by letter, rooms by dashes, estates in a district.
    "臺北市信義區松高路9巷3號5樓": "<ADDRESS>",
    "河北省唐山市路北区长宁街m座 100233": "<ADDRESS>",
    "杭州市滨江区江汉路1515号9-2-1101": "<ADDRESS>",
    "武汉市江夏区梁子湖花园9幢": "<ADDRESS>",
    "青岛市市北区香港北路8号": "<ADDRESS>",
    # Labels of other papers, codes of letters, lower-case carriers, ids of before 1999.
    "transaction id 9KX22817PL440012T": "transaction id <ORDER>",
    "booking code QX7P4K": "booking code <ORDER>",
    "yt1234567890123还没到": "<ORDER>还没到",
    "confirmation #KM34R2TX": "confirmation #<ORDER>",
    "老身份证是我爸的110105491231002": "老身份证是我爸的<RESIDENT_ID>",
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
    "barcode 6901234567892, ISBN 978-0-306-40615-7, SKU 10023456",
    "see https://shop.example.com/item/100059292294",
    "条码6901234567892，货号10023456",
    "https://item.jd.com/100012043978.html还有货吗",
    "on 04/17/2024, order 04/17/2024",
    "my order was WH-1000XM5, 1920x1080",
    "a 3 lane highway, a 5 star hotel, 4 place settings",
    "杭州市西湖区和中山路那家店哪个好",
    "3栋楼都停电了，2楼的店开着吗，一箱24瓶",
    "坐3号线到人民广场站，走500米",
    "meet @ 5pm, 2 @ $5, @support",
    "at 9 we drive home, serial no. C02XK1ZZJGH512345",
    "北京市朝阳区有3栋楼停电了",
    "promo code SUMMER, RTX4090, order status",
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


@pytest.mark.parametrize(
    "text",
    [
        "3812347548480174",  # no issuer has 16 digits that begin with 38
        "45575073071050",  # nor 14 that begin with 4
        "202611197905090876",  # no province has 20
        "SO56610242 has not arrived",  # the words are no part of an IBAN
    ],
)
def test_a_check_digit_needs_the_shape_of_its_kind(text: str) -> None:
    assert {span.kind for span in find_pii(text)}.isdisjoint({"card", "resident_id", "iban"})


def test_a_plus_makes_no_card() -> None:
    assert mask("+49151 13848688") == "<PHONE>"


def test_parts_of_one_address_are_joined() -> None:
    assert mask("po box 31, Salem, OR 97301") == "<ADDRESS>"


def test_what_is_left_of_an_address_before_a_stronger_span_is_masked() -> None:
    masked = mask("12 Oak Street, Salem 4111111111111111")
    assert masked == "<ADDRESS> <CARD>"


def test_a_check_digit_beats_a_label() -> None:
    assert mask("order 4111111111111111") == "order <CARD>"


@pytest.mark.parametrize(
    ("identifier", "expected"),
    [
        ("wa_8613812345678", True),
        ("whatsapp:+14155552671", True),
        ("ann@example.org", True),
        ("13812345678", True),
        ("session-20251109123456", False),
        ("3f2504e0-4f89-41d3-9a0c-0305e82c3301", False),
        ("d-17", False),
        ("0190b7e2-7c1e-7abc-8def-123456789012", False),
    ],
)
def test_an_identifier_that_is_somebodys_number_is_told(identifier, expected):
    assert names_a_person(identifier) is expected


def test_a_number_s_name_beats_a_check_digit_that_may_be_chance() -> None:
    assert mask("订单号4111111111111111") == "订单号<ORDER>"


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

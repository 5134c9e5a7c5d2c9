"""Order numbers are told by a label, by another one beside them, or by a strict shape."""

import pytest

from closedloop.core.privacy import mask


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        # Labels, of other languages and papers too.
        ("Bestellnummer 4400291870", "Bestellnummer <ORDER>"),
        ("policy number HOM/8812735", "policy number <ORDER>"),
        ("PNR K7QW3Z", "PNR <ORDER>"),
        ("order: A1B2C3D5", "order: <ORDER>"),
        ("ref number SR 1029385", "ref number <ORDER>"),
        ("订单号 TB 5518820392", "订单号 <ORDER>"),
        # Whatever is numbered.
        ("meter no E10Z12345679", "meter no <ORDER>"),
        ("customer number KD-118274", "customer number <ORDER>"),
        ("报修号BX88121", "报修号<ORDER>"),
        ("我昨天下的单88120395，改成红色", "我昨天下的单<ORDER>，改成红色"),
        # Lists: one label for all.
        ("orders 771820, 771822 and 771829", "orders <ORDER>, <ORDER> and <ORDER>"),
        ("两单88301920和88301930合并", "两单<ORDER>和<ORDER>合并"),
        # Shapes.
        ("it says AMZ-772-1029385", "it says <ORDER>"),
        ("regarding ORD-5518-XL", "regarding <ORDER>"),
        ("refund for SO448813", "refund for <ORDER>"),
        ("I placed #1182934", "I placed #<ORDER>"),
        ("取消241112-553920187365", "取消<ORDER>"),
    ],
)
def test_order_numbers_are_masked(text: str, masked: str) -> None:
    assert mask(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "item number 88213 is out of stock",
        "model no. 4471921",
        "error no. 100235 at login",
        "there is no 10000 limit, I see no 20000 mAh version",
        "refund 12000 yen please",
        "order of 50000 units",
        "下单100000件能优惠吗",
        "货号88213350有没有黑色",
        "验证码593022",
        "colour #112233 or #FF1029",
        "#83145679微曝光#",
        "shipped 2024-11-01 and 2024-11-08",
    ],
)
def test_numbers_of_nobody_are_kept(text: str) -> None:
    assert mask(text) == text


def test_a_list_ends_where_its_form_does() -> None:
    assert mask("订单号5685129060，2024-11-03买的") == "订单号<ORDER>，2024-11-03买的"

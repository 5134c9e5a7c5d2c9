"""What people spell out is found; words that only look so are left."""

import pytest

from closedloop.core.privacy import mask, mask_many


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("it is ann_lee at gmail dot com", "it is <EMAIL>"),
        ("ann(at)shop.example", "<EMAIL>"),
        ("ann [at] mail [dot] example [dot] org", "<EMAIL>"),
        ("ann(dot)lee(at)shop(dot)com", "<EMAIL>"),
        ("write to bob at outlook.com", "write to <EMAIL>"),
        ("ann.lee @ example.org", "<EMAIL>"),
        ("邮箱ann艾特qq.com", "邮箱<EMAIL>"),
        ("打幺三九一二三四五六七八吧", "打<PHONE>吧"),
    ],
)
def test_spelled_addresses_and_numbers_are_masked(text: str, masked: str) -> None:
    assert mask(text) == masked
    assert mask_many([text]) == [masked]


@pytest.mark.parametrize(
    "text",
    [
        "look at example dot com",
        "i looked at amazon.com and the dot matrix printer",
        "meet me at nine, the anecdote is long",
        "2 @ $5, @support",
        "Thank you so much. @Shop.com",
        "a coupon worth 10 @ shop.com",
        "一二三四五六七",
        "一个月三十一天",
    ],
)
def test_words_that_only_look_spelled_are_kept(text: str) -> None:
    assert mask(text) == text

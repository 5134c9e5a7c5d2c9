"""Detectors of numbers and e-mail addresses, one function a kind, each from text to spans.

A detector looks for a shape first and then for proof: the check digits of cards (ISO/IEC 7812-1),
resident ids (GB 11643) and IBANs (ISO 13616). Order numbers are in `orders`, telephone numbers in
`telephones`, postal addresses in `addresses`, `chinese_addresses` and `postcodes`, what people
spell out in `spelled`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple


class Span(NamedTuple):
    """Where a text holds personal data, and of which kind; the end is exclusive."""

    start: int
    end: int
    kind: str


_EMAIL = re.compile(
    # The bounds are those of RFC 5321; they also keep hostile input from costing quadratic time.
    r"(?<![A-Za-z0-9._%+\-])[A-Za-z0-9][A-Za-z0-9._%+'\-]{0,63}@"
    r"[A-Za-zÀ-ÿ0-9\-]{1,63}(?:\.[A-Za-zÀ-ÿ0-9\-]{1,63}){0,6}\.[A-Za-z]{2,24}(?![A-Za-z0-9\-])"
)
# The first two digits are a province's (GB/T 2260); 83 and 9 stand for people from elsewhere.
_PROVINCES = "1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[12]"
_RESIDENT_ID = re.compile(
    rf"(?<![0-9A-Za-z])(?:{_PROVINCES}|83|9[1-9])\d{{4}}[ -]?(?:19|20)\d\d"
    r"[ -]?(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])[ -]?\d{3}[\dXx](?![0-9A-Za-z])"
)
# Those of before 1999 have no check character, so their province, their day of birth and a word
# about ids somewhere in the text must do.
_OLD_RESIDENT_ID = re.compile(
    rf"(?<![\dA-Za-z\-])(?:{_PROVINCES})\d{{4}}[ -]?"
    r"\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])[ -]?\d{3}(?![\dA-Za-z\-])"
)
_RESIDENT_ID_NAMED = re.compile(r"身份|证件|[老旧]证|证号|代证|\bids?\b(?! ?:)", re.IGNORECASE)
# Groups of digits with one separator throughout; which of them are a number, the digits tell.
_CARD = re.compile(
    r"(?<![\dA-Za-z+])(?<!\d[ -])[2-6]\d{3,18}(?:([ -])\d{3,13}(?:\1\d{1,5}){0,3})?(?![\dA-Za-z])"
)
_LEAST_CARD_DIGITS = 13
# What issuers give out, by their leading digits and with its length.
_CARD_ISSUER = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})"  # Visa
    r"|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}"  # Mastercard
    r"|3[47]\d{13}"  # American Express
    r"|3(?:0[0-5]|[689]\d)\d{11}"  # Diners Club
    r"|35(?:2[89]|[3-8]\d)\d{12,15}"  # JCB
    r"|(?P<long>(?:50|5[6-9]|6\d)\d{11,17})"  # Maestro, Discover, UnionPay
)
_LEAST_LONG_CARD = 16  # digits in one go: fewer are the length of much else
_IBAN_HEAD = re.compile(r"(?<![0-9A-Za-z])[A-Za-z]{2}\d\d(?=[ -]?[0-9A-Za-z])")
_WORDS = re.compile(r"[ -][a-z]{1,3}[ -]|[ -][a-z]{5,}")
# Length of an IBAN by country (ISO 13616 registry).
_IBAN_LENGTH = {
    country: int(length)
    for length, countries in {
        "15": "NO", "16": "BE", "18": "DK FI FO GL NL SD", "19": "MK SI",
        "20": "AT BA EE KZ LT LU MN XK", "21": "CH HR LI LV", "22": "BG BH CR DE GB GE IE ME RS VA",
        "23": "AE GI IL IQ OM SO TL", "24": "AD CZ ES MD PK RO SA SE SK TN VG",
        "25": "LY PT ST", "26": "IS TR", "27": "BI DJ FR GR IT MC MR SM",
        "28": "AL AZ BY CY DO EG GT HU LB NI PL SV", "29": "BR PS QA UA", "30": "JO KW MU YE",
        "31": "MT SC", "32": "LC", "33": "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip
DATE = re.compile(
    r"(?:19|20)\d\d(?:(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
    r"|[-./](?:0?[1-9]|1[0-2])[-./](?:0?[1-9]|[12]\d|3[01]))|\d{1,2}[-./]\d{1,2}[-./]\d{2,4}"
)
# What a shop calls its goods by is nobody's; a link to them holds such a number too.
_PRODUCT_AHEAD = re.compile(
    r"(?:\b(?:ean|upc|isbn|gtin|asin|sku|barcode|model|item|serial|s/n)\b"
    r"(?: ?(?:no|number|code)\b\.?)?"
    r"|条形?码|序列号|货号|型号|款号|批号|商品编?号)[ ]*[是为]?[ ]*[:：#]?[ ]*$",
    re.IGNORECASE,
)
_LOOK_BACK_CHARS = 24


def emails(text: str) -> Iterator[Span]:
    """Find e-mail addresses."""
    for found in _EMAIL.finditer(text):
        yield Span(found.start(), found.end(), "email")


def resident_ids(text: str) -> Iterator[Span]:
    """Find resident ids of the People's Republic of China with a valid check character."""
    from stdnum.cn import ric

    for found in _RESIDENT_ID.finditer(text):
        number = found[0].replace("-", "").replace(" ", "").upper()
        # The library's table of birthplaces lacks districts made since; the check digit suffices.
        if ric.calc_check_digit(number) == number[-1]:
            yield Span(found.start(), found.end(), "resident_id")
    for found in _OLD_RESIDENT_ID.finditer(text) if _RESIDENT_ID_NAMED.search(text) else ():
        yield Span(found.start(), found.end(), "resident_id")


def cards(text: str) -> Iterator[Span]:
    """Find payment card numbers with a valid check digit."""
    from stdnum import luhn

    for found in _CARD.finditer(text):
        # What follows may have been taken for the last groups: give groups back.
        number, mark = found[0], found[1] or " "
        while True:
            digits = number.replace(mark, "")
            if len(digits) < _LEAST_CARD_DIGITS:
                break
            if _is_card(digits, grouped=mark in number) and luhn.is_valid(digits):
                if not is_product(text, found.start()):
                    yield Span(found.start(), found.start() + len(number), "card")
                break
            number = number.rpartition(mark)[0]


def _is_card(digits: str, *, grouped: bool) -> bool:
    issued = _CARD_ISSUER.fullmatch(digits)
    return bool(issued and (grouped or not issued["long"] or len(digits) >= _LEAST_LONG_CARD))


def ibans(text: str) -> Iterator[Span]:
    """Find International Bank Account Numbers with valid check digits."""
    end = 0
    for found in _IBAN_HEAD.finditer(text):
        length = _IBAN_LENGTH.get(found[0][:2].upper())
        if length is None or found.start() < end:
            continue
        number, place = "", found.start()
        while len(number) < length and place < len(text):
            sign = text[place]
            if sign.isascii() and sign.isalnum():
                number += sign
            elif sign not in " -" or text[place - 1] in " -":
                break
            place += 1
        follows = text[place : place + 1]
        whole = len(number) == length and not (follows.isascii() and follows.isalnum())
        # Words of a sentence are no groups of a number: "SO56610242 has not arrived".
        whole = whole and not _WORDS.search(text, found.start(), place)
        if whole and _is_iban(number):
            end = place
            yield Span(found.start(), place, "iban")


def _is_iban(number: str) -> bool:
    moved = number[4:] + number[:4]
    return int("".join(str(int(sign, 36)) for sign in moved)) % 97 == 1


def lowered(text: str) -> str:
    """Return a text in small letters, each in its place: patterns match it faster than any case."""
    small = text.lower()
    return small if len(small) == len(text) else text


def is_product(text: str, start: int) -> bool:
    """Tell whether the words ahead of a number say that it is one of goods."""
    return bool(_PRODUCT_AHEAD.search(text[max(0, start - _LOOK_BACK_CHARS) : start]))

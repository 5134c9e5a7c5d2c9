"""Detectors of personal data, one function a kind, each from text to spans.

A detector looks for a shape first and then for proof: the check digits of cards (ISO/IEC 7812-1),
resident ids (GB 11643) and IBANs (ISO 13616), the numbering plans of telephone numbers. Postal
addresses and order numbers have no proof, so their shapes are strict and need a street or a label.
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
    r"(?<![A-Za-z0-9._%+\-])[A-Za-z0-9][A-Za-z0-9._%+\-]{0,63}@"
    r"[A-Za-z0-9\-]{1,63}(?:\.[A-Za-z0-9\-]{1,63}){0,6}\.[A-Za-z]{2,24}(?![A-Za-z0-9\-])"
)
_RESIDENT_ID = re.compile(
    r"(?<![0-9A-Za-z])[1-9]\d{5}[ -]?(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
    r"[ -]?\d{3}[\dXx](?![0-9A-Za-z])"
)
# The leading digits that issuers of payment cards have: 2221-2720, 3, 4, 5, 6.
_CARD = re.compile(
    r"(?<![\dA-Za-z])(?:[3-6]\d|2[2-7])\d\d(?:\d{9,15}"
    r"|([ -])\d{4}\1\d{4}\1\d{1,4}(?:\1\d{1,3})?|([ -])\d{6}\2\d{4,5})(?![\dA-Za-z])"
)
_IBAN = re.compile(r"(?<![0-9A-Za-z])[A-Za-z]{2}\d\d(?:[ -]?[0-9A-Za-z]{1,4}){3,8}(?![0-9A-Za-z])")
_CHINESE_PHONE = re.compile(
    r"(?<![\dA-Za-z])(?:(?:\+|00)?86[- ]?)?1[3-9]\d[- ]?\d{4}[- ]?\d{4}(?![\dA-Za-z])"
    r"|(?<![\d.A-Za-z])(?:0(?:10|2\d|[3-9]\d\d)-?|\(0(?:10|2\d|[3-9]\d\d)\) ?)[2-9]\d{6,7}(?!\d)"
    r"|(?<![\d.A-Za-z])[48]00(?:-\d{3}-\d{4}|-\d{4}-\d{3}|-\d{7})(?!\d)"
)
_AMERICAN_PHONE = re.compile(
    r"(?<![\dA-Za-z.+\-])(?:\+?1[ .\-]?)?"
    r"(?:\([2-9]\d\d\) ?|[2-9]\d\d([ .\-]))[2-9]\d\d[ .\-]\d{4}(?![\d\-])"
)
_BARE_PHONE = re.compile(r"(?<![\dA-Za-z.\-])1?[2-9]\d{9}(?![\dA-Za-z\-])")
_FOREIGN_PHONE = re.compile(r"(?<![\dA-Za-z])(?:\+|00)[1-9](?:[ .\-]?\(?\d\)?){6,16}(?!\d)")
_NATIONAL_PHONE = re.compile(r"(?<![\dA-Za-z.\-])\(?0\d{1,5}\)?(?:[ \-]?\d{2,11}){1,5}(?![\d\-])")
_NATIONAL_PLANS = ("GB", "DE", "FR", "CN", "IT", "ES", "NL", "IE", "AU")
_DATE = re.compile(r"(?:19|20)\d\d[-./]?(?:0?[1-9]|1[0-2])[-./]?(?:0?[1-9]|[12]\d|3[01])")
_ORDER_LABELLED = re.compile(
    r"(?:\b(?:order|tracking|reference|invoice|shipment|parcel)\b[ ]*"
    r"(?:(?:number|num|no|nr|id|code)\b\.?[ ]*(?:is\b|was\b)?)?"
    r"|订单编号|订单号码?|订单|运单号|快递单号|物流单号|单号|流水号)"
    r"[ ]*[是为叫]?[ ]*[:：#＃]?[ ]*"
    r"((?=(?:[A-Za-z\-]{0,4}\d){5})[A-Za-z\d](?:[A-Za-z\d\-]*[A-Za-z\d]))(?![\dA-Za-z])",
    re.IGNORECASE,
)
_ORDER_BARE = re.compile(
    r"(?<![\dA-Za-z.,+\-])(?:\d{9,}|\d{3}-\d{7}-\d{7}|[A-Z]{1,4}-?\d{8,})(?![\dA-Za-z\-]|\.\d)"
)
# Words that stand between a number and a street only in sentences: "5 days on the road".
_STREET_WORD = (
    r"(?!(?:a|an|and|are|at|by|days?|for|from|hours?|i|in|is|it|items?|km|left|metres?|miles?"
    r"|minutes?|months?|my|of|off|on|or|orders?|pm|am|people|pieces?|the|times?|to|was|weeks?"
    r"|with|years?)\b)[A-Za-z][A-Za-z'\-]*\.?"
)
_STREET_KIND = (
    r"(?:street|str|st|road|rd|avenue|ave|boulevard|blvd|lane|ln|drive|dr|highway|hwy|square|sq"
    r"|terrace|crescent"
    r"|(?-i:Court|Ct|Way|Close|Place|Pl|Park|Parkway|Gardens|Row|Walk|Hill|Mews|Circle|Trail)"
    r"|(?P<weak>court|way|close|place|park|gardens))\b\.?"
)
_DOOR = r"(?:,? ?(?:apt|apartment|flat|unit|suite|ste|room|floor|#)\b\.? ?#?\d{1,5}[A-Za-z]?\b)?"
_POSTCODE = r"(?:[A-Z]{2} \d{5}(?:-\d{4})?|[A-Z]{1,2}\d[\dA-Z]? ?\d[A-Z]{2})\b"
_TOWN = (
    r"(?:,? (?!(?:please|pls|thanks|thank|phone|call|tel|email|order|the|and|but|my|it|is|was|not"
    r"|no|or|in|at|i|instead)\b)"
    rf"(?:(?-i:[A-Z][a-z]+(?: [A-Z][a-z]+)?)|[a-z]+(?: [a-z]+)?(?=,? {_POSTCODE}|[,.;]|$)))?"
)
_STREET = re.compile(
    rf"(?<![\w.,$€£¥/:\-])\d{{1,5}}(?:[A-Za-z]|[-/]\d{{1,4}})?,? (?:{_STREET_WORD} ){{1,3}}"
    rf"{_STREET_KIND}{_DOOR}{_TOWN}(?:,? {_POSTCODE})?",
    re.IGNORECASE,
)
# Words that are no street in "2 pieces at the same place", and one in "I am at 7 church court".
_ADDRESS_AHEAD = re.compile(r"(?:\b(?:at|to|is|address|live in)|[:：]) ?$", re.IGNORECASE)
_FLAT_AFTER = re.compile(r"\b(?:apt|apartment|flat|unit|suite)\b", re.IGNORECASE)
_PROVINCE = (
    "北京|天津|上海|重庆|河北|山西|辽宁|吉林|黑龙江|江苏|浙江|安徽|福建|江西|山东|河南|湖北|湖南|广东|海南|"
    "四川|贵州|云南|陕西|甘肃|青海|台湾|内蒙古|广西|西藏|宁夏|新疆|香港|澳门"
)
_HAN = r"[\u4e00-\u9fff]"
_AREA = (
    rf"(?P<province>(?:{_PROVINCE})(?:省|市|自治区|特别行政区)?)?"
    rf"(?P<city>{_HAN}{{2,5}}?市)?(?P<district>{_HAN}{{1,6}}?(?:区|县|镇|乡|旗))?"
)
_ESTATE = (
    rf"{_HAN}{{1,6}}?(?:大厦|花园|小区|公寓|广场|中心|家园|国际|大楼|新村|华庭|[城园苑居府湾])"
    r"(?:小区)?"
)
_CHINESE_HOUSE = re.compile(
    _AREA + rf"{_HAN}{{1,8}}?(?:路|街|道|巷|弄|村|胡同|里)(?:[东南西北中]段)?"
    r"[0-9]{1,5}(?:-[0-9]{1,4})?(?:号院|号楼|号|弄|栋|幢|座)"
    rf"(?:{_ESTATE}(?![\u4e00-\u9fff]*?[0-9]{{1,4}}(?:号楼|栋|幢|座|室)))?"
    rf"(?:{_HAN}{{0,8}}?[0-9A-Za-z]{{1,4}}(?:-[0-9]{{1,4}})?(?:号楼|号|栋|幢|座|单元|室|楼|层|房))*"
    r"(?:(?<=单元)[0-9]{3,4})?"
)
_CHINESE_STREET = re.compile(_AREA + rf"{_HAN}{{1,6}}(?:路|街|大道|胡同|巷|街道)(?:{_ESTATE})?")
# What people say ahead of an address without a province; an address starts after the last one.
_LEAD_IN = re.compile(
    r"^.{0,6}(?:地址|寄到|送到|发到|改成|换到|换成|改到|住在|[是到在住寄送：])(?=..)"
)


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


def cards(text: str) -> Iterator[Span]:
    """Find payment card numbers with a valid check digit."""
    from stdnum import luhn

    for found in _CARD.finditer(text):
        if luhn.is_valid(found[0].replace("-", "").replace(" ", "")):
            yield Span(found.start(), found.end(), "card")


def ibans(text: str) -> Iterator[Span]:
    """Find International Bank Account Numbers with valid check digits."""
    from stdnum import iban

    for found in _IBAN.finditer(text):
        # A word after the number may have been taken for its last group: give groups back.
        number = found[0]
        while len(number) > 14:
            if iban.is_valid(number.upper(), check_country=False):
                yield Span(found.start(), found.start() + len(number), "iban")
                break
            cut = max(number.rfind(" "), number.rfind("-"))
            number = number[:cut] if cut > 0 else ""


def phones(text: str) -> Iterator[Span]:
    """Find telephone numbers: Chinese, American, and international or national ones of Europe."""
    for found in _CHINESE_PHONE.finditer(text):
        yield Span(found.start(), found.end(), "phone")
    for found in _AMERICAN_PHONE.finditer(text):
        yield Span(found.start(), found.end(), "phone")
    for found in _BARE_PHONE.finditer(text):
        if _in_plan(found[0], ("US",)):
            yield Span(found.start(), found.end(), "phone")
    for found in _FOREIGN_PHONE.finditer(text):
        number = found[0]
        if number.startswith("00"):
            number = "+" + number[2:]
        if _in_plan(number, (None,)):
            yield Span(found.start(), found.end(), "phone")
        else:
            yield from _shortened(found, (None,))
    for found in _NATIONAL_PHONE.finditer(text):
        if _in_plan(found[0], _NATIONAL_PLANS):
            yield Span(found.start(), found.end(), "phone")
        else:
            yield from _shortened(found, _NATIONAL_PLANS)


def _shortened(found: re.Match[str], plans: tuple[str | None, ...]) -> Iterator[Span]:
    """Give trailing groups of digits back until the rest is a number."""
    number = found[0]
    while (cut := max(number.rfind(" "), number.rfind("-"))) > 7:
        number = number[:cut]
        if _in_plan(number, plans):
            yield Span(found.start(), found.start() + len(number), "phone")
            return


def _in_plan(number: str, plans: tuple[str | None, ...]) -> bool:
    """Whether a plan holds a number; one with its country code need only be possible."""
    import phonenumbers

    for plan in plans:
        try:
            parsed = phonenumbers.parse(number, plan)
            if phonenumbers.is_valid_number(parsed) or (
                plan is None and phonenumbers.is_possible_number(parsed)
            ):
                return True
        except phonenumbers.NumberParseException:
            continue
    return False


def labelled_orders(text: str) -> Iterator[Span]:
    """Find order, parcel and tracking numbers that a label announces."""
    for found in _ORDER_LABELLED.finditer(text):
        if not _DATE.fullmatch(found[1]):
            yield Span(found.start(1), found.end(1), "order")


def bare_orders(text: str) -> Iterator[Span]:
    """Find long numbers that look like order numbers, with nothing to say what they are."""
    for found in _ORDER_BARE.finditer(text):
        yield Span(found.start(), found.end(), "order")


def streets(text: str) -> Iterator[Span]:
    """Find English street addresses: house number, name, kind of street, perhaps flat and town."""
    for found in _STREET.finditer(text):
        if (
            not found["weak"]
            or _FLAT_AFTER.search(found[0])
            or _ADDRESS_AHEAD.search(text, 0, found.start())
        ):
            yield Span(found.start(), found.end(), "address")


def chinese_addresses(text: str) -> Iterator[Span]:
    """Find Chinese addresses: a street with a house number, or city, district and street."""
    end = 0
    for found in _CHINESE_HOUSE.finditer(text):
        yield Span(_start_of_address(found), found.end(), "address")
        end = found.end()
    for found in _CHINESE_STREET.finditer(text, end):
        if found["district"] and (found["province"] or found["city"]):
            yield Span(_start_of_address(found), found.end(), "address")


def _start_of_address(found: re.Match[str]) -> int:
    """Leave out what the sentence says ahead of the address."""
    if found["province"]:
        return found.start()
    named = re.search(_PROVINCE, found[0][:8])
    if named:
        return found.start() + named.start()
    lead_in = _LEAD_IN.match(found[0])
    return found.start() + (lead_in.end() if lead_in else 0)

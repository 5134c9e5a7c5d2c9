"""Personal data in texts: find it and mask it (`pseudonyms` is for who wrote them).

Nothing is stored before it went through here. Most texts hold neither a digit nor an ``@`` nor a
word of an address; one look settles those. The others meet only the detectors that their signs
call for (see `detectors`, `orders`, `telephones`, `addresses`, `chinese_addresses`, `postcodes`,
`spelled`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from closedloop.core import (
    addresses,
    chinese_addresses,
    detectors,
    orders,
    postcodes,
    spelled,
    telephones,
)
from closedloop.core.detectors import Span

__all__ = ["KINDS", "Span", "find_pii", "mask", "mask_many", "names_a_person"]

KINDS = ("phone", "email", "card", "resident_id", "iban", "address", "order")

_CUE = re.compile(r"[0-9@０-９＠区县镇區縣鎮]")
_LEAST_DIGITS = 9  # of an identifier that is a telephone number
_LONG_ENOUGH = re.compile(rf"(?:\d\D*){{{_LEAST_DIGITS}}}")
# Traditional forms of the signs that detectors know, with the simplified ones.
_TRADITIONAL = dict(
    zip(
        map(ord, "號樓區縣鎮鄉棟層臺灣門廈園廣東場莊話機電訂單編碼運遞證聯絡郵發變學國龍華"),
        map(ord, "号楼区县镇乡栋层台湾门厦园广东场庄话机电订单编码运递证联络邮发变学国龙华"),
        strict=True,
    )
)
# Other forms that people's numbers are typed in; a sign for a sign, so that places stay.
_WIDE = re.compile(
    r"[０-９＠（）＋\u00a0\u2010-\u2015\u2212" + "".join(map(chr, _TRADITIONAL)) + "]"
)
_NARROW = {
    0xFF00 + code: 0x20 + code for code in range(0x01, 0x5F) if chr(0x20 + code) not in ",;!?:"
}
_NARROW |= dict.fromkeys((0x3000, 0xA0), 0x20) | dict.fromkeys(
    (*range(0x2010, 0x2016), 0x2212), 0x2D
)
_NARROW |= _TRADITIONAL
# Four digits with no more than a separator between: the least that a number of a person has.
_NUMBER = re.compile(r"\d(?:[ .()/\-A-Za-z]{0,2}\d){3}")
# What an order number holds: a run from a digit on, that no decimals follow, or a code's capitals.
_TOKEN = re.compile(r"\d(?:[\dA-Za-z\-/]{3}(?![.,]\d)|(?<=[A-Z]\d)|(?=[A-Z]))")
# A telephone number, and a card or an id, have as many digits.
_SEVEN = re.compile(r"\d(?:[ .()/\-]{0,4}\d){6}")
_THIRTEEN = re.compile(r"\d(?:[ \-]?\d){12}")
_LEAST_ADDRESS = 6  # signs
_ENGLISH_STREET = re.compile(r"\d[A-Za-z]?(?:[-/]\d+)?,? [A-Za-z\d]")
# Of postcodes, by their digits.
_POSTED = re.compile(
    r"\d(?:(?<=[A-Za-z,:\n][ \-]\d)(?:\d{4,5}|\d\d ?\d{2,3}|\d-\d{3})(?!\d)"
    r"|(?<=[ACDSTW,\n][ \-]\d)\d{3}(?![\d.])|(?<=\n\d)\d{3,4}(?!\d)|[A-Z]{2}\b|[A-Z] ?\d[A-Z]\d)"
)
# Of streets and boxes that end in a number.
_STREET_SIGNS = ("tr.", "traße", "trasse", "ox ", "OX ")
_CHINESE_STREET = re.compile(r"[路街道巷弄村里同栋幢座楼屯寨庄塔]")
# Of houses without a street: in a district, or by their dashes.
_CHINESE_HOUSE = re.compile(r"[区县镇乡].{1,24}?[0-9]号")
_CHINESE_DASHED = re.compile(r"[0-9]-[0-9]{1,2}-[0-9]{3}")

# Detectors of numbers, by the run of digits that they need, with the strength of their proof: long
# check digits beat a number's name, that beats one digit of Luhn's, this a mere label, that a
# numbering plan, this a shape.
_Detectors = tuple[tuple[int, Callable[[str], Iterator[Span]]], ...]
_OF_FOUR: _Detectors = ((7, detectors.ibans), (1, orders.bare_orders))
_OF_SEVEN: _Detectors = ((3, telephones.phones),)
_OF_THIRTEEN: _Detectors = ((7, detectors.resident_ids), (5, detectors.cards))


def find_pii(text: str) -> tuple[Span, ...]:
    """Find the personal data in a text.

    Parameters
    ----------
    text : str
        One turn of a dialogue, English or Chinese.

    Returns
    -------
    tuple of Span
        In the order of the text, without overlaps: where two kinds claim the same characters,
        the stronger proof wins, then the longer span.

    Examples
    --------
    >>> find_pii("call me on 138 1234 5678, it cost $199 in 2024")
    (Span(start=11, end=24, kind='phone'),)
    """
    spells = spelled.may_hold(text)
    if not spells and not _CUE.search(text):
        return ()
    ascii_only = text.isascii()
    if not ascii_only and _WIDE.search(text):
        text = text.translate(_NARROW)
    found: list[tuple[int, Span]] = []
    if "@" in text:
        found += [(8, span) for span in detectors.emails(text)]
        spells = spells or len(found) < text.count("@")
    if spells:
        found += [(7, span) for span in spelled.spelled(text)]
    if _NUMBER.search(text):
        called = _OF_FOUR
        if _SEVEN.search(text):
            called += _OF_SEVEN
            if _THIRTEEN.search(text):
                called += _OF_THIRTEEN
        for strength, detect in called:
            found += [(strength, span) for span in detect(text)]
    if _TOKEN.search(text):
        found += [(6 if named else 4, span) for named, span in orders.labelled_orders(text)]
        found += [(2, span) for span in orders.numbered(text)]
    spaced = " " in text or "\n" in text
    if (spaced and _ENGLISH_STREET.search(text)) or any(map(text.__contains__, _STREET_SIGNS)):
        found += [(2, span) for span in addresses.streets(text)]
    if posted := spaced and _POSTED.search(text):
        found += [(5, span) for span in postcodes.posted(text, posted.start())]
    if not ascii_only and (
        _CHINESE_STREET.search(text)
        or _CHINESE_HOUSE.search(text)
        or ("-" in text and _CHINESE_DASHED.search(text))
    ):
        found += [(2, span) for span in chinese_addresses.chinese_addresses(text)]
    if not found:
        return ()
    return _without_overlaps(found) if len(found) > 1 else (found[0][1],)


def mask(text: str) -> str:
    """Return a text with its personal data replaced by their kinds.

    Examples
    --------
    >>> mask("mail ann@example.org about order no. 20251109123456")
    'mail <EMAIL> about order no. <ORDER>'
    >>> mask("iPhone 15 for $799, 2 pieces")
    'iPhone 15 for $799, 2 pieces'
    """
    spans = find_pii(text)
    if not spans:
        return text
    pieces: list[str] = []
    end = 0
    for span in spans:
        pieces += text[end : span.start], f"<{span.kind.upper()}>"
        end = span.end
    return "".join(pieces) + text[end:]


def mask_many(texts: Iterable[str]) -> list[str]:
    """Return texts with their personal data replaced (see `mask`)."""
    has_cue, spells = _CUE.search, spelled.may_hold
    return [mask(text) if has_cue(text) or spells(text) else text for text in texts]


def names_a_person(identifier: str) -> bool:
    """Whether an identifier that other systems made is somebody's number or address.

    Masking would make equal what is different; such an identifier needs a pseudonym.

    Examples
    --------
    >>> names_a_person("whatsapp:+14155552671"), names_a_person("session-20251109123456")
    (True, False)
    """
    if "@" not in identifier and not _LONG_ENOUGH.search(identifier):
        return False
    # What chat systems put ahead of a number hides it from the detectors: "wa_8613812345678".
    bare = identifier.replace("_", " ").replace(":", " ")
    return any(span.kind not in ("order", "address") for span in find_pii(bare))


def _without_overlaps(found: list[tuple[int, Span]]) -> tuple[Span, ...]:
    kept: list[Span] = []
    for _, span in sorted(
        _joined_addresses(found), key=lambda each: (-each[0], each[1].start - each[1].end)
    ):
        if span.kind == "address":
            span = _rest(span, kept)
        if span.start < span.end and all(
            span.end <= other.start or other.end <= span.start for other in kept
        ):
            kept.append(span)
    return tuple(sorted(kept))


def _joined_addresses(found: list[tuple[int, Span]]) -> list[tuple[int, Span]]:
    """Join what detectors found of the same address."""
    of_addresses = sorted((span, strength) for strength, span in found if span.kind == "address")
    if len(of_addresses) < 2:
        return found
    joined = [each for each in found if each[1].kind != "address"]
    for span, strength in of_addresses:
        last = joined[-1] if joined else None
        if last and last[1].kind == "address" and span.start < last[1].end:
            end = max(last[1].end, span.end)
            joined[-1] = (max(last[0], strength), Span(last[1].start, end, "address"))
        else:
            joined.append((strength, span))
    return joined


def _rest(address: Span, others: list[Span]) -> Span:
    """Return an address up to the first stronger span in it; without its head it is none."""
    end = min(
        (other.start for other in others if address.start < other.start < address.end),
        default=address.end,
    )
    short = end < address.end and end - address.start < _LEAST_ADDRESS
    return Span(end if short else address.start, end, "address")

"""Personal data in texts: find it and mask it (`pseudonyms` is for who wrote them).

Nothing is stored before it went through here. Most texts hold neither a digit nor an ``@`` nor a
word of an address; one look settles those. The others meet only the detectors that their signs
call for (see `detectors` and `addresses`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from closedloop.core import addresses, detectors
from closedloop.core.detectors import Span

__all__ = ["KINDS", "Span", "find_pii", "mask", "mask_many", "names_a_person"]

KINDS = ("phone", "email", "card", "resident_id", "iban", "address", "order")

_CUE = re.compile(r"[0-9@０-９＠区县镇]")
_LEAST_DIGITS = 9  # of an identifier that is a telephone number
_LONG_ENOUGH = re.compile(rf"(?:\d\D*){{{_LEAST_DIGITS}}}")
# Wide forms that people's numbers are typed in; a sign for a sign, so that places stay.
_WIDE = re.compile(r"[０-９＠\u00a0\u2010-\u2015\u2212]")
_NARROW = {
    0xFF00 + code: 0x20 + code for code in range(0x01, 0x5F) if chr(0x20 + code) not in ",;!?:"
}
_NARROW |= dict.fromkeys((0x3000, 0xA0), 0x20) | dict.fromkeys(
    (*range(0x2010, 0x2016), 0x2212), 0x2D
)
# Four digits with no more than a separator between: the least that a number of a person has.
_NUMBER = re.compile(r"\d(?:[ .()/\-A-Za-z]{0,2}\d){3}")
_ENGLISH_STREET = re.compile(r"\d[A-Za-z]?(?:[-/]\d+)?,? [A-Za-z\d]")
# Of streets and boxes that end in a number.
_STREET_SIGNS = ("tr.", "traße", "trasse", "ox ", "OX ")
_CHINESE_STREET = re.compile(r"[路街道巷弄村里同栋幢座楼屯寨庄]")

# Detectors of numbers with the strength of their proof: long check digits beat a number's
# name, that beats one digit of Luhn's, this a mere label, that a numbering plan, this a shape.
_NUMBER_DETECTORS: tuple[tuple[int, Callable[[str], Iterator[Span]]], ...] = (
    (7, detectors.resident_ids),
    (7, detectors.ibans),
    (5, detectors.cards),
    (3, detectors.phones),
    (1, detectors.bare_orders),
)


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
    if not _CUE.search(text):
        return ()
    if _WIDE.search(text):
        text = text.translate(_NARROW)
    found: list[tuple[int, Span]] = []
    if "@" in text:
        found += [(8, span) for span in detectors.emails(text)]
    if _NUMBER.search(text):
        for strength, detect in _NUMBER_DETECTORS:
            found += [(strength, span) for span in detect(text)]
        found += [(6 if named else 4, span) for named, span in detectors.labelled_orders(text)]
    if _ENGLISH_STREET.search(text) or any(sign in text for sign in _STREET_SIGNS):
        found += [(2, span) for span in addresses.streets(text)]
    if _CHINESE_STREET.search(text):
        found += [(2, span) for span in addresses.chinese_addresses(text)]
    if len(found) < 2:
        return tuple(span for _, span in found)
    return _without_overlaps(found)


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
    has_cue = _CUE.search
    return [mask(text) if has_cue(text) else text for text in texts]


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
    for _, span in sorted(found, key=lambda each: (-each[0], each[1].start - each[1].end)):
        if all(span.end <= other.start or other.end <= span.start for other in kept):
            kept.append(span)
    return tuple(sorted(kept))

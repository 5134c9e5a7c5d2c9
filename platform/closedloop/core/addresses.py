"""Detector of postal addresses in Latin script: English, with some German and French.

An address has no proof, so its shape is strict: a house number with a street, a door in a building,
a box of the post. A town or a street alone is none. What leads up to it (room, floor, building) and
what follows (town, state, postcode, country) are added to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from closedloop.core.address_parts import doors, widened
from closedloop.core.detectors import Span

# Words that stand between a number and a street only in sentences: "5 days on the road".
_STREET_WORD = (
    r"(?!(?:a|an|and|are|at|by|can|days?|did|do|for|from|he|hours?|i|in|is|it|items?|km|left|metres?|miles?"
    r"|minutes?|months?|my|of|off|on|or|orders?|pm|am|people|pieces?|she|stars?|the|they|times?|to|was|we"
    r"|weeks?|will|with|years?|you|lanes?(?= highway))\b)"
    r"(?:[A-Za-z][A-Za-z'\-]*|[A-Za-z]{1,4}\.|\d{1,3}(?:st|nd|rd|th))"
)
_STREET_KIND = (
    r"(?:street|str|st|road|rd|avenue|ave|boulevard|blvd|lane|ln|drive|dr|highway|hwy|square|sq"
    r"|terrace|crescent"
    r"|(?-i:Buildings|Cottages|Houses|Mansions|Villas"
    r"|Court|Ct|Way|Close|Place|Pl|Park|Parkway|Gardens|Row|Walk|Hill|Mews|Circle"
    r"|Trail|Loop|Plaza|Grove|Parade|Quay|Esplanade|Circuit|Rise|Path)"
    r"|(?P<weak>court|way|close|place|park|gardens))\b\.?"
)
_DOOR_NAME = r"(?:apt|apartment|flat|unit|suite|ste|room|floor|#)\b\.?"
_SIDE = r"(?:,? (?:[NS][EW]|[NSEW]|north|south|east|west)\b)?"
_DOOR = (
    rf"(?:,? ?{_DOOR_NAME} ?(?:#?[A-Za-z]?\d{{1,5}}(?:-?[A-Za-z]|-\d{{1,4}})?|(?-i:[A-Z]))\b"
    r"|,? \d{1,3}(?:st|nd|rd|th) floor\b"
    r"|,? (?:floor|level) \d{1,3}\b)?"
)
_DOOR_AHEAD = (
    r"(?:(?:apt|apartment|flat|unit|suite|studio|shop|office|level|floor|blk|block)"
    r"\b\.? ?#?\d{1,4}[A-Za-z]?,? )?"
)
_POSTCODE = (
    r"(?:[A-Z]{2} \d{5}(?:-\d{4})?|[A-Z]{1,2}\d[\dA-Z]? ?\d[A-Z]{2}"
    r"|(?:NSW|VIC|QLD|WA|SA|TAS|ACT|NT) \d{4}|(?<=dublin )\d{1,2})\b"
)
_TOWN = (
    r"(?:,? (?!(?:please|pls|thanks|thank|phone|call|tel|email|order|the|and|but|my|it|is|was|not"
    r"|no|or|in|at|i|instead|sorry|so|there|then)\b)"
    rf"(?:(?-i:(?:St\. )?[A-Z][a-z]+(?: [A-Z][a-z]+)?)"
    rf"|[a-z]+(?: [a-z]+)?(?=,? {_POSTCODE}|[,.;]|$)))?"
)
_END = rf"{_TOWN}(?:,? {_POSTCODE})?"
_STREET = re.compile(
    rf"(?<![\w.,$€£¥/:\-]){_DOOR_AHEAD}\d{{1,5}}(?:[A-Za-z]|[-/]\d{{1,4}})?,?"
    rf" (?:{_STREET_WORD} ){{1,4}}{_STREET_KIND}{_SIDE}{_DOOR}{_END}",
    re.IGNORECASE,
)
_BOX_OR_HIGHWAY = re.compile(
    r"(?<![\w.])(?:(?:p\.? ?o\.?|post office) ?box \d{1,6}"
    r"|\d{1,5} (?:(?:us|state|county|old) )?(?:highway|hwy|route) \d{1,4}"
    r"|\d{1,5} (?:county|state|farm|ranch) (?:road|rd) \d{1,4}"
    r"|house (?:no\.? ?)?\d{1,4}[A-Za-z]?,? (?:road|street|lane|block|sector) (?:no\.? ?)?\d{1,3}"
    r"(?:,? [A-Za-z]+,? [A-Za-z]+ \d{4})?)\b" + _END,
    re.IGNORECASE,
)
# A door first, then a chain of names with a street's among them.
_DOOR_CHAIN = re.compile(
    r"(?<![\w.])(?:(?:flat|apt|apartment|plot|house|shop|unit|door|villa|block|blk|office)\b\.? ?"
    r"(?:no\b\.? ?)?#?(?:[A-Za-z]-?)?\d{1,4}(?:[-/]?[A-Za-z]|[-/]\d{1,4})?"
    r"(?:, ?(?-i:[A-Z0-9])[A-Za-z0-9'.\-]*(?: [A-Za-z0-9'.\-]+){0,3}?){0,3}?"
    r", ?(?:(?-i:[A-Z0-9])[A-Za-z0-9'.\-]*(?: [A-Za-z0-9'.\-]+){0,3}? "
    r"(?:road|rd|street|st|nagar|colony|marg|layout|cross|lane|avenue|enclave|vihar|close|drive)"
    r"|(?:sector|phase|street|road|block) \d{1,3}))\b" + _END,
    re.IGNORECASE,
)
_LETTERS = r"[A-Za-zÀ-ÿ'\-]"
_FRENCH_STREET = re.compile(
    r"(?<![\w.,$€£¥/:\-])\d{1,4}(?: ?(?:bis|ter))?,? "
    r"(?:rue|avenue|av\.|boulevard|bd|place|allée|allee|chemin|impasse|quai|cours|route) "
    rf"(?:{_LETTERS}+ ){{0,3}}{_LETTERS}+(?:(?P<post>,? \d{{5}} {_LETTERS}+)|\b)",
    re.IGNORECASE,
)
_FRENCH_SURE = re.compile(r"\brue\b| (?:de|du|des) |\bd'", re.IGNORECASE)
_GERMAN_STREET = re.compile(
    r"(?<![\w.])[A-Za-zÄÖÜäöüß\-]{3,}(?:(?P<sure>stra(?:ß|ss)e|str\.)|weg|allee|platz|gasse|damm|ufer)"
    r" ?\d{1,4} ?[a-z]?\b"
    r"(?P<post>,? \d{5} [A-ZÄÖÜa-zäöüß]+|, (?-i:[A-ZÄÖÜ])[a-zäöüß]+(?=\s*(?:$|[,.;!?])))?",
    re.IGNORECASE,
)
_DOOR_SIGN = re.compile(
    r"\b(?:apartment|apt|blo?c?k|door|fl|flat|floor|flt|house|office|plot|rm|room|shop|suite|tower"
    r"|unit|villa)\b|/f\b"
)
_STREET_SIGN = re.compile(
    r" (?:street|str|st|road|rd|avenue|ave|boulevard|blvd|lane|ln|drive|dr|highway|hwy|square|sq"
    r"|terrace|crescent|buildings|cottages|houses|mansions|villas|court|ct|way|close"
    r"|place|pl|park|parkway|gardens|row|walk|hill|mews|circle"
    r"|trail|loop|plaza|grove|parade|quay|esplanade|circuit|rise|path)\b"
)
_BOX_SIGNS = ("box", "highway", "hwy", "route", "house", "county", "state ")
_FRENCH_SIGN = re.compile(
    r" (?:rue|avenue|av\.|boulevard|bd|place|all[ée]e|chemin|impasse|quai|cours|route) "
)
_GERMAN_SIGNS = ("straße", "strasse", "str.", "weg", "allee", "platz", "gasse", "damm", "ufer")
# Words that are no street in "2 pieces at the same place", and one in "I am at 7 church court".
_ADDRESS_AHEAD = re.compile(r"(?:\b(?:at|to|is|address|live in)|[:：]) ?$", re.IGNORECASE)
_FLAT_WITH = re.compile(rf"\b{_DOOR_NAME}", re.IGNORECASE)


def streets(text: str) -> Iterator[Span]:
    """Find street addresses: house number, name, kind of street, with flat, town and country."""
    for span in _streets(text):
        yield widened(text, span)


def _streets(text: str) -> Iterator[Span]:
    # Looked for one by one, the signs of each pattern take less time than the pattern.
    lowered = text.lower()
    for found in _STREET.finditer(text) if _STREET_SIGN.search(lowered) else ():
        if (
            not found["weak"]
            or _FLAT_WITH.search(found[0])
            or _ADDRESS_AHEAD.search(text, 0, found.start())
        ):
            yield Span(found.start(), found.end(), "address")
    for found in _BOX_OR_HIGHWAY.finditer(text) if _has_any(lowered, _BOX_SIGNS) else ():
        yield Span(found.start(), found.end(), "address")
    if "," in text and _DOOR_SIGN.search(lowered):
        for found in _DOOR_CHAIN.finditer(text):
            yield Span(found.start(), found.end(), "address")
        yield from doors(text)
    for found in _FRENCH_STREET.finditer(text) if _FRENCH_SIGN.search(lowered) else ():
        if found["post"] or _FRENCH_SURE.search(found[0]):
            yield Span(found.start(), found.end(), "address")
    for found in _GERMAN_STREET.finditer(text) if _has_any(lowered, _GERMAN_SIGNS) else ():
        if found["post"] or found["sure"]:
            yield Span(found.start(), found.end(), "address")


def _has_any(text: str, signs: tuple[str, ...]) -> bool:
    return any(map(text.__contains__, signs))

"""The parts around a postal address in Latin script: the door ahead, the town and country behind.

A detector knows the middle of an address for sure ("388 Kwun Tong Road"); this widens it to all
that is written of it ("Room 1203, 12/F, Tower B, 388 Kwun Tong Road, Kwun Tong, Kowloon").
"""

from __future__ import annotations

import re

from closedloop.core.detectors import Span

STATES = (
    "A[AEKLPRZ]|C[AOT]|D[CE]|FL|GA|GU|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|PA|PR|RI"
    "|S[CD]|T[NX]|UT|V[AIT]|W[AIVY]"
)
STATE_NAMES = (
    "Alabama|Alaska|Arizona|Arkansas|California|Colorado|Connecticut|Delaware|Florida|Georgia"
    "|Hawaii|Idaho|Illinois|Indiana|Iowa|Kansas|Kentucky|Louisiana|Maine|Maryland|Massachusetts"
    "|Michigan|Minnesota|Mississippi|Missouri|Montana|Nebraska|Nevada|New (?:Hampshire|Jersey"
    "|Mexico|York)|(?:North|South) (?:Carolina|Dakota)|Ohio|Oklahoma|Oregon|Pennsylvania"
    "|Rhode Island|Tennessee|Texas|Utah|Vermont|Virginia|Washington|West Virginia|Wisconsin|Wyoming"
)
_LANDS = (
    "hong kong|kowloon|new territories|united kingdom|england|scotland|wales|(?:northern )?ireland"
    "|united states|canada|australia|new zealand|germany|deutschland|austria|österreich|switzerland"
    "|schweiz|france|spain|españa|italy|italia|netherlands|nederland|belgium|belgique|india"
    "|singapore|malaysia|china|japan|taiwan|dubai"
)
LAND = rf"(?:(?i:{_LANDS})|H\.?K\.?|N\.T\.|U\.?K\.?|U\.?S\.?A?\.?|U\.?A\.?E\.?)(?![\w'’])"
# What begins another sentence or names another number, though a capital be at its head.
_STOP = (
    r"(?!(?i:account|after|also|and|apr\w*|ask|aug\w*|before|between|but|call|can|card|cell|cheers|claim"
    r"|contact|could|dear|dec\w*|do|e-?mail|feb\w*|friday|from|he|hello|hey|hi|her|his|how|i|iban"
    r"|if|invoice|is|it"
    r"|jan\w*|july?|june?|leave|mail|mob\w*|monday|my|name|no|not|nov\w*|oct\w*|or|order\w*"
    r"|parcel|phone|pls|plz|please|post ?code|ref\w*|regards|ring|saturday|sep\w*|she|so|sorry"
    r"|sunday|tel\w*|thanks?|that|the|they|this|thursday|thx|ticket|today|tomorrow|tracking|tuesday"
    r"|until|was|we|wednesday"
    r"|what|when|where|why|will|would|you|zip)\b)"
)
_WORD = r"(?:[A-ZÀ-Þ][\wÀ-ÿ'’\-]*|[A-Z][a-z]{0,2}\.)"
_JOINT = r"(?:am|an der|bei|da|de|del|di|do|dos|im|la|le|les|of|on|sur|the|under|upon|y) "
_PLACE = rf"{_STOP}{_WORD}(?: (?:{_JOINT}){{0,2}}{_STOP}{_WORD}){{0,3}}"
_CODE = (
    r"(?:\d{5}(?:-\d{4})?|\d{6}|[A-Z]{1,2}\d[\dA-Z]? ?\d[A-Z]{2}|[A-Z]\d[A-Z] ?\d[A-Z]\d)"
    r"(?![\w\-]|[.,:]\d)"
)
_FOLLOWS = (
    r"(?=\s*(?:$|[,.;:!?()\n，。；、！？\u4e00-\u9fff])"
    r"| (?:and|as|asap|at|but|before|by|for|from|if|instead|is|isn|near|not"
    r"|now|on|or|please|pls|plz|since|thanks|thx|to|today|tomorrow|was|when|where|with)\b| -)"
)
# Atomic groups and possessive counts keep hostile input from costing more than linear time.
_DOOR = (
    r"(?>(?i:(?:apartment|apt|block|blk|flat|floor|flt|house|level|office|phase|rm|room|shop|stage"
    r"|ste|studio|suite|tower|unit|villa)\b\.? ?(?:no\b\.? ?)?#?"
    r"(?:[a-z]{0,2}-?\d{1,4}[a-z]?|[a-z])\b"
    r"|(?:ug|lg|[bgm]|\d{1,2}[a-z]?)/f\b|\d{1,3}(?:st|nd|rd|th) (?:floor|fl)\b"
    r"|(?:ground|first|second|third|top) floor\b|#\d{1,4}(?:-\d{1,4})?\b)\.?)"
)
_HOUSE = (
    rf"(?:{_STOP}{_WORD} ){{1,4}}"
    r"(?:Apartments|Barn|Building|Cent(?:er|re)|Cottage|Court|Estate|Farm|Hall|Heights"
    r"|House|Lodge|Manor|Mansions?|Mill|Plaza|Point|Rectory|Residenc(?:es?|y)|Towers?|Vicarage"
    r"|Villas?|Wharf|Works)(?: \d{1,2}| [A-Z])?\b"
)
_PART = rf"(?>{_DOOR}|{_STOP}[A-ZÀ-Þ\d][\w'’.\-]*(?: (?:[A-ZÀ-Þ\d&][\w'’.\-]*|of|the)){{0,4}})"
_AHEAD = re.compile(
    rf"(?<![\w'’&#.\-])(?:{_DOOR}|{_HOUSE})(?:,? {_DOOR}|, ?{_PART}){{0,5}}[ ,]{{1,2}}$"
)
_AHEAD_CHARS = 100
_BEHIND = re.compile(
    rf"(?: (?:Central|North|South|East|West)\b)?"
    rf"(?:,? {_DOOR}"
    rf"|,? ?\n?{LAND}"
    rf"|,? (?:(?:{STATES})\b(?!\.\w)|(?i:{STATE_NAMES})\b)(?!,? ?\d)"
    rf"|, (?i:{STATES})(?=\s*(?:$|[,.;!?\n]))"
    rf"|,? {_CODE}| {_JOINT}{_WORD}"
    rf"|(?: ?, ?| ?\n ?|(?<!\.) ){_PLACE}"
    rf"(?:{_FOLLOWS}|,? (?:{_CODE}|\d{{4}}(?![\w\-]|[.,:/]\d))|(?=,? (?:{STATES}|{LAND})\b))"
    r"){0,7}"
)
# Doors, floors and a building, without a street: two doors at least, or one and the country.
_DOORS = re.compile(
    rf"(?<![\w'’&#.\-]){_DOOR}(?:(?:,? {_DOOR}){{1,4}}+(?:, ?{_PLACE}){{1,5}}(?:{_FOLLOWS})"
    rf"|(?:, ?{_PART}){{1,5}}?, ?{LAND})"
)


def widened(text: str, span: Span) -> Span:
    """Return the span of an address with the parts around it.

    Examples
    --------
    >>> text = "Flat 2, 9/F, 33 Hysan Avenue, Causeway Bay, Hong Kong is home"
    >>> start, end, _ = widened(text, Span(13, 28, "address"))
    >>> text[start:end]
    'Flat 2, 9/F, 33 Hysan Avenue, Causeway Bay, Hong Kong'
    """
    first = max(0, span.start - _AHEAD_CHARS)
    before = text[first : span.start]
    ahead = _AHEAD.search(before) if "," in before else None
    behind = _BEHIND.match(text, span.end)
    return Span(
        first + ahead.start() if ahead else span.start,
        behind.end() if behind else span.end,
        span.kind,
    )


def doors(text: str) -> list[Span]:
    """Find addresses of doors in a building, without a street."""
    return [Span(found.start(), found.end(), "address") for found in _DOORS.finditer(text)]

"""Detector of postal addresses that end in a postcode, whatever their streets are called.

The postcode is looked for first; the address is the run of names and numbers that leads up to it:
"94183 Rachel Ports, Lake Amy, NY 21872" holds no word of a street. A town with its postcode alone
is no address: a house number, a box or two names ahead of the town make it one. So does the word:
"my postcode is LS1 4AP" tells the few houses that share it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from closedloop.core.address_parts import STATE_NAMES, STATES, widened
from closedloop.core.detectors import Span

_NAME = r"[A-ZÀ-Þ][A-Za-zÀ-ÿ'’]+"
_POSTCODE = re.compile(
    rf"(?P<us>\b(?i:{STATES}|{STATE_NAMES}),? \d{{5}}(?:-\d{{4}})?)(?![\d\-])"
    r"|(?P<named>\b(?:[A-Z]{1,2}\d[\dA-Z]? \d[A-Z]{2}|(?:NSW|VIC|QLD|WA|SA|TAS|ACT|NT),? \d{4}"
    r"|(?:AB|BC|MB|N[BLSTU]|ON|PE|QC|SK|YT),? [A-Z]\d[A-Z] ?\d[A-Z]\d"
    r"|[A-Z]\d{2} ?[A-Z]\d[A-Z\d]{2})\b)"
    rf"|(?P<pin>\b{_NAME}(?:,? ?[\-] ?|,? )(?:\d{{3}} ?\d{{3}}|\d{{3}}-\d{{4}})(?!\d))"
    # Of the Continent: ahead of the town and after a house number.
    r"|(?P<town>(?<=[,\n] )|(?<=[,\n]))(?:[A-Z]{1,2}-)?"
    rf"(?:\d{{5}}|\d{{4}} [A-Z]{{2}}|\d\d-\d{{3}}|\d{{3}} \d\d|(?!19|20)\d{{4}}) {_NAME}"
)
_WORD = (
    r"(?:[A-Z0-9#À-Þ][\w'’./#&\-]*|of|the|on|upon|de|la|le|les|du|des|del|di|da|van|von|und|am|an|ul\.|al\.|str\."
    r"|der|den|bis|ter|and|&|c/o|street|road|row|lane|avenue|drive|way|close|floor)"
)
_BETWEEN = r"(?:,? ?\n ?|,? - |, ?| )"
# The longest run that leads up to the postcode, as people write names.
_RUN = re.compile(rf"(?<![\w'’.,/#&$€£¥\-])(?:{_WORD}{_BETWEEN})+$")
# In small letters: from a house number on, without the words of sentences.
_SMALL_RUN = re.compile(
    r"(?<![\w.,$€£¥/:\-])\d{1,5}[a-z]?,? (?!(?:a|an|days?|hours?|items?|months?|pieces?|pcs|times?"
    r"|weeks?|x|years?)\b)(?:(?!(?:a|an|and|are|at|by|for|from|has|have|i|in|is|it|my|off|or|to|was"
    rf"|with)\b)#?[a-z\d][\w'.#\-]*{_BETWEEN}){{2,12}}$",
    re.IGNORECASE,
)
_RUN_CHARS, _TOWN_CHARS = 120, 24
# What a run may hold that is of no address: a telephone number, the word for what follows.
_BEFORE = re.compile(
    r".*(?:\b\d{3,}[ \-]\d{3,}\b(?!-)|\d{7}"
    r"|\b(?:post ?code|zip|tel|phone|mobile|e-?mail)\b)[,.:;)]* ?",
    re.IGNORECASE | re.DOTALL,
)
_NAMED = re.compile(
    r"\b(?:post ?code|postal code|zip(?: ?code)?|plz)\b(?: (?:is|was)\b|[ :=,])*"
    r"(?P<code>[A-Z]{1,2}\d[\dA-Z]? ?\d[A-Z]{2}|[A-Z]\d[A-Z] ?\d[A-Z]\d|\d{5}(?:-\d{4})?)"
    r"(?![\w\-]|[.,]\d)",
    re.IGNORECASE,
)
_SERVICE = re.compile(r"\b[AFD]PO\b")
_HOUSE_LAST = re.compile(
    r"[A-Za-zÀ-ÿ.] ?\d{1,4} ?[A-Za-z]?(?:[/\-]\d{1,4}[A-Za-z]?)?(?:, [^,]{1,12})?,? ?\n? ?$"
)
_OF_A_DATE = re.compile(
    r"\b(?:jan|feb|mar|apr|may|june?|july?|aug|sept?|oct|nov|dec)(?:uary|ruary|ch|il|ust|(?:em|o)?ber)?\b",
    re.IGNORECASE,
)
_OF_A_STREET = re.compile(
    r"\b(?:flat|plot|sector|roa?d|street|st|nagar|colony|block|blk|floor|house|phase|marg|lane"
    r"|apartments?|apt|avenue|ave|cross|layout|tower|unit|drive|crescent|no|ku|shi|cho|machi)\b|#\d",
    re.IGNORECASE,
)


def posted(text: str, first: int = 0) -> Iterator[Span]:
    """Find addresses that end in a postcode; its last signs stand at `first` or later."""
    for code in _NAMED.finditer(text, max(0, first - _TOWN_CHARS)):
        yield Span(code.start("code"), code.end("code"), "address")
    for code in _POSTCODE.finditer(text, max(0, first - _TOWN_CHARS)):
        ahead = text[max(0, code.start() - _RUN_CHARS) : code.start()]
        if before := _BEFORE.match(ahead):
            ahead = ahead[before.end() :]
        # "or", "in", "me" are states as well.
        if code["us"] and code[0][0].islower() and not ahead.rstrip().endswith(","):
            continue
        run = _RUN.search(ahead)
        if run is None or not _leads_to(run[0], code):
            run = _SMALL_RUN.search(ahead) if code["us"] or code["named"] else None
        if run is not None and _leads_to(run[0], code):
            yield widened(text, Span(code.start() - len(run[0]), code.end(), "address"))


def _leads_to(run: str, code: re.Match[str]) -> bool:
    """Whether names and numbers are those of a house, by what stands after them."""
    if code["town"] is not None:
        return bool(_HOUSE_LAST.search(run)) and not _OF_A_DATE.search(run)
    has_number = any(sign.isdigit() for sign in run)
    if code["pin"]:
        return has_number and bool(_OF_A_STREET.search(run))
    return (
        (has_number and " " in run.strip())
        or run.count(",") + run.count("\n") > 1
        or bool(_SERVICE.search(run))
    )

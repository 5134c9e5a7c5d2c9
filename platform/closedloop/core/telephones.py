"""Detectors of telephone numbers: by shape, by numbering plan, or by the words ahead of them.

A number of China, America, or with the code of its country has a shape; those within other
countries need a numbering plan that holds them. Where words say telephone, any number of the
length will do: people mistype, and made-up numbers are in no plan.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from closedloop.core.detectors import DATE, Span, lowered

_EXTENSION = (
    r"(?:(?: ?(?:转|分机)(?:分机)? ?|[ ,]*(?:extension|extn|ext|x|#)[.:]? ?)\d{1,6}(?!\d))?"
)
_CHINESE_PHONE = re.compile(
    r"(?<![\dA-Za-z.])(?:\(?(?:\+|00)?86\)?[- ]?)?"
    r"1[3-9](?:\d(?: ?[-.] ?| {0,2})\d{4}(?: ?[-.] ?| {0,2})\d{4}"
    r"|\d\d([- ])\d{4}\1\d{3}|\d{3}[- ]\d{6})(?![\dA-Za-z])"
    r"|(?<![\dA-Za-z.])(?<!\d )1 [3-9](?: \d){9}(?![\dA-Za-z]| \d)"
    r"|(?<![\d.A-Za-z])(?:0(?:10|2\d|[3-9]\d\d)[-—– ]?|\(0(?:10|2\d|[3-9]\d\d)\) ?)"
    rf"[2-9]\d{{2,3}}[ -]?\d{{4}}(?!\d)(?:-\d{{1,5}}(?![\d\-])|{_EXTENSION})"
    r"|(?<![\d.A-Za-z])[48]00"
    r"(?:[- ]\d{3}[- ]\d{4}|[- ]\d{4}[- ]\d{3}|-?\d{7}|\d-\d{3}-\d{3})(?!\d)",
    re.IGNORECASE,
)
_AMERICAN_PHONE = re.compile(
    r"(?<![\dA-Za-z.+\-])(?:(?:\+|00)?1[ .\-]?)?"
    r"(?:\([2-9]\d\d\) ?|[2-9]\d\d(?:([ .\-])|/))\d{3}[ .\-]\d{4}(?![\d\-])"
    rf"{_EXTENSION}",
    re.IGNORECASE,
)
_SHARED_PHONE = re.compile(
    r"(?<![\dA-Za-z.+\-])(?<!\d )(?:\((?:852|853|886)\) ?[2-9]\d{3}[ -]?\d{4}"
    r"|1[38]00[ -]\d{3}[ -]\d{3}"
    # The code of the area in brackets, and two groups or more.
    r"|(?:[08] ?)?\(\d{1,4}(?: \d)?\) ?\d{3,5}(?:[ \-]\d{2,4}){1,2})(?![\d\-])"
)
# Of countries without a nought ahead: which groups are a number, the plans tell.
_GROUPED_PHONE = re.compile(
    r"(?<![\dA-Za-z.,$€£¥\-])(?<!\d )[5-9]\d\d"
    r"(?:([ .\-])\d{3}\1\d{3}|([ .\-])\d\d\2\d\d\2\d\d)(?![ .\-]?\d|[A-Za-z])"
)
_GROUPED_PLANS = ("ES", "PT", "PL", "CZ")
# No more in a whole turn: what else should it be?
_ALONE = re.compile(r"\s*(?P<number>(?!20\d\d.20)[2-9]\d{3}[ \-]\d{4}|[2-9]\d(?: \d\d){3})[\s.]*")
_ALONE_CHARS = 20
_ALONE_PLANS = ("HK", "SG", "DK", "NO")
_BARE_PHONE = re.compile(r"(?<![\dA-Za-z.\-])(?<!\d )1?[2-9]\d{9}(?![\dA-Za-z\-])")
_BARE_LOCAL = re.compile(
    r"(?<![\dA-Za-z.#\-])(?!20[0-3]\d(?:0[1-9]|1[0-2])[0-3])[2-8]\d{7}(?![\dA-Za-z\-元块]|\.\d)"
)
_FOREIGN_PHONE = re.compile(r"(?<![\dA-Za-z])(?:\+|00)[1-9](?:[ .\-]?\(?\d\)?){6,16}(?!\d)")
_NATIONAL_PHONE = re.compile(
    r"(?<![\dA-Za-z.\-/:])(?<!\d )(?:0\d(?:\.\d\d){4}(?!\.?\d)"
    r"|(?:\(?0\d{1,5}\)?|\(0\) ?\d{2,5})(?:(?:[ \-]?|(?<=\d\d\d)/)\d{2,11}){1,5}(?![\d\-/]))"
)
_NATIONAL_DIGITS = range(7, 14)
# Where the words ahead say telephone, a number need not be in a plan.
_NAMED_PHONE = re.compile(
    r"(?:\b(?:(?:tele|cell)?phones?|tel|mobile|mob|cell|landline|hotline|fax|hp|whatsapp"
    r"|(?:my|his|her|our|your|new|old|best|right|correct|contact) (?:numbers?|no\.?)(?: in [a-z]+)?"
    r"|(?:telefon|handy|mobil|ruf)(?:nummer)?|(?:meine|neue) nummer|t[ée]l|t[ée]l[ée]phone|portable"
    r"|tel[ée]fono|m[óo]vil|celular|n[uú]mero"
    r"|call(?:ed|ing)?|ring|dial|text|sms|contact|reach)\b"
    r"(?:[ :.=\-]|\b(?:numbers?|no|num|is|was|me|us|him|her|my"
    r"|at|on|via|new|changed|to|now|ist|unter|est|es|file|under|back|please|here)\b|'s)*"
    r"|(?:电话|手机|座机|固话|热线|传真|联系方式|联系|号码|致电|拨打|回电|打)"
    r"(?:号码?|[是为:：我给到 ]"
    r"|改成|变更|换成)*)"
    r"(?P<number>\+?(?:(?<!\d)1[3-9](?:[ .\-]?\d){9}|\(?\d{2,}(?:\)? ?[ .\-/] ?\(?\d{2,}){0,4}))"
    rf"(?![\d:%/\-]|[.,]\d(?!\d{{6}})|[元个件块]){_EXTENSION}",
)
_NAMED_DIGITS = range(7, 14)
_LEAST_UNGROUPED = 8  # fewer in one go are a count or a code
_NATIONAL_PLANS = ("GB", "DE", "FR", "CN", "IT", "ES", "NL", "IE", "AU", "JP")


def phones(text: str) -> Iterator[Span]:
    """Find telephone numbers: Chinese, American, and international or national ones of Europe."""
    chinese = set()
    for found in _CHINESE_PHONE.finditer(text):
        chinese.add(found.start())
        yield Span(found.start(), found.end(), "phone")
    for found in _AMERICAN_PHONE.finditer(text):
        yield Span(found.start(), found.end(), "phone")
    for found in _SHARED_PHONE.finditer(text):
        yield Span(found.start(), found.end(), "phone")
    for found in _BARE_PHONE.finditer(text):
        if found.start() not in chinese and _in_plan(found[0], ("US",)):
            yield Span(found.start(), found.end(), "phone")
    for found in _GROUPED_PHONE.finditer(text):
        if _in_plan(found[0], _GROUPED_PLANS):
            yield Span(found.start(), found.end(), "phone")
    if (alone := len(text) < _ALONE_CHARS and _ALONE.fullmatch(text)) and _in_plan(
        alone["number"], _ALONE_PLANS
    ):
        yield Span(*alone.span("number"), "phone")
    named = False
    for found in _NAMED_PHONE.finditer(lowered(text)):
        number = found["number"]
        count = sum(sign.isdigit() for sign in number)
        enough = count in _NAMED_DIGITS and (count >= _LEAST_UNGROUPED or not number.isdigit())
        # "号码" alone is any number's, of an invoice as well.
        other = found[0].startswith("号码") and ("发票" in text or "单" in text)
        if enough and not other and not DATE.match(number):
            named = True
            yield Span(found.start("number"), found.end(), "phone")
    # "not ..., it is ...": a text about one is about another.
    for found in _BARE_PHONE.finditer(text) if named else ():
        yield Span(found.start(), found.end(), "phone")
    for found in _BARE_LOCAL.finditer(text) if named or "电话" in text or "座机" in text else ():
        yield Span(found.start(), found.end(), "phone")
    for found in _FOREIGN_PHONE.finditer(text) if "+" in text or "00" in text else ():
        number = found[0]
        if number.startswith("00"):
            number = "+" + number[2:]
        if _in_plan(number, (None,)):
            yield Span(found.start(), found.end(), "phone")
        else:
            yield from _shortened(found, (None,))
    for found in _NATIONAL_PHONE.finditer(text) if "0" in text else ():
        if sum(sign.isdigit() for sign in found[0]) not in _NATIONAL_DIGITS:
            yield from _shortened(found, _NATIONAL_PLANS)
        elif _in_plan(found[0], _NATIONAL_PLANS):
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

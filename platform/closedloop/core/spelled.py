"""Detectors of what people spell out: "ann dot lee at example dot org", 一三八零零…"""

from __future__ import annotations

import re
from collections.abc import Iterator

from closedloop.core.detectors import Span

_AT = r"(?: ?[\[({<] ?(?:at|@) ?[\])}>] ?| ?(?:艾特|圈[aA]) ?)"
_DOT = r"(?: ?[\[({<] ?(?:dot|\.) ?[\])}>] ?| dot | ?点 ?)"
_NAME = (
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._%+\-]{0,63}"
    rf"(?:{_DOT}[A-Za-z0-9]{{1,30}}){{0,2}})"
)
_PART = r"[A-Za-z0-9\-]{1,63}"
_EMAIL = re.compile(
    rf"(?<![A-Za-z0-9._%+\-]){_NAME}"
    rf"(?:(?P<sure>{_AT})|(?P<plain> at | ?@ ?))"
    rf"(?P<host>{_PART})(?P<dots>(?:(?:{_DOT}|\.){_PART}){{0,3}}(?:{_DOT}|\.)(?-i:[a-z]{{2,24}}|[A-Z]{{2,24}}))\b",
    re.IGNORECASE,
)
# "look at example dot com" is no address: a plain "at" needs a sign of one.
_LIKE_A_NAME = re.compile(r"[A-Za-z0-9][._+\-\d]|[ ]dot[ ]|\d")
_MAIL_HOSTS = (
    "g?mail|outlook|hotmail|yahoo|icloud|proton(?:mail)?|aol|gmx|live|qq|163|126|foxmail|sina"
)
_MAIL_HOST = re.compile(_MAIL_HOSTS, re.IGNORECASE)
_AT_MAIL_HOST = re.compile(rf" at (?:{_MAIL_HOSTS})\b", re.IGNORECASE)
_SAYS_MAIL = re.compile(r"mail|邮", re.IGNORECASE)
_SPELLED_DOT = re.compile(_DOT, re.IGNORECASE)
# As it is read aloud: 幺 is one, 洞 and 〇 are nought.
_SIGN = "[零〇洞一幺二两三四五六七八九]"
_SPOKEN_PHONE = re.compile(
    rf"(?<!{_SIGN})[一幺][ -]?[三四五六七八九](?:[ -]?{_SIGN}){{9}}(?!{_SIGN}|[十百千万])"
)


def may_hold(text: str) -> bool:
    """Whether a text is worth a look; cheap, as it is asked of each."""
    if text.isascii():
        return (
            "dot" in text
            or "at)" in text
            or "at]" in text
            or (" at " in text and _AT_MAIL_HOST.search(text) is not None)
        )
    return (
        (("一" in text or "幺" in text) and _SPOKEN_PHONE.search(text) is not None)
        or "艾特" in text
        or "dot" in text
    )


def spelled(text: str) -> Iterator[Span]:
    """Find e-mail addresses and telephone numbers that are spelled out."""
    for found in _EMAIL.finditer(text):
        if found["sure"] or _is_address(text, found):
            yield Span(found.start(), found.end(), "email")
    for found in _SPOKEN_PHONE.finditer(text):
        yield Span(found.start(), found.end(), "phone")


def _is_address(text: str, found: re.Match[str]) -> bool:
    mail_host = _MAIL_HOST.fullmatch(found["host"])
    # "Thank you. @shop.com" speaks to a shop; "2 @ shop.com" is a price.
    mentions = found["plain"] == " @" or found["name"].isdigit()
    if mentions and not (mail_host or _SAYS_MAIL.search(text)):
        return False
    if found["plain"] == " at " and not _SPELLED_DOT.search(found["dots"]):
        return bool(mail_host)
    return bool(mail_host or _LIKE_A_NAME.search(found["name"]) or _SAYS_MAIL.search(text))

"""Detectors of order numbers and their like: parcels, tickets, bookings, invoices, accounts.

Such a number has no check digits, so it needs a label ("order 47110", "单号…"), another labelled
one beside it ("orders 47110 and 47111"), or a strict shape.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from closedloop.core.detectors import DATE, Span, is_product, lowered

_PAPER = (
    r"orders?|tracking|reference|ref|invoice|shipment|parcel|waybill|awb|ticket|case|booking"
    r"|confirmation|reservation|rma|return|claim|po|dhl|ups|usps|fedex|dpd|gls|evri|hermes"
    r"|transaction|txn|receipt|label|package|consignment|delivery|dispatch|payment|refund|quote"
    r"|incident|request|complaint|pnr|policy|contract|subscription|membership"
    r"|bestell(?:ung|nummer)|sendung(?:snummer)?|auftrag(?:snummer)?|rechnung(?:snummer)?|commande"
)
_CODE = (
    r"(?=[a-z\-/_]{0,12}\d)[a-z\d](?:[a-z\d\-/_]*[a-z\d])"
    r"(?:(?<=[ #:：]\d{4})(?: \d{4}){2,5}(?: \d{1,3})?)?"
)
# A prefix apart, "SR 1029384"; that it is of capitals, the text tells.
# A prefix apart, "SR 1029384"; that it is of capitals, the text tells.
_PREFIXED = r"(?:[a-z]{1,3} \d{5,}(?: \d{4}){0,4}|[a-z]{2} \d{4}(?: \d{4}){1,4}(?: \d{1,3})?)"
# Behind an amount, which is no number of an order.
_UNIT = (
    r"[元块件个份天折人位次名克斤米%％]"
    r"|[ ]?(?:元|块|个|件|份|(?:usd|eur|gbp|rmb|jpy|yuan|yen|dollars?|pounds?|euros?"
    r"|points?|miles|km|pcs|pieces|items|times|people|days)\b)"
)
_LABELLED = re.compile(
    rf"(?:\b(?:(?P<coded>booking|reservation|confirmation|pnr)|{_PAPER})\b[ _]*"
    r"(?P<named>(?:(?:numbers?|num|no|nr|id|code|ref|reference)\b\.?|(?=[#＃]))(?:'s\b)?[ ]*"
    r"(?:(?:is|was)\b)?"
    r"|(?<=reference )is\b|(?<=ref )is\b|(?<=ticket )is\b|(?<=booking )is\b)?"
    r"|(?P<zh>订单编号|订单号码?|运单编号|运单号码?|快递单号|物流单号|退货单号|单号|流水号|交易号|发票(?:号码?|代码)"
    r"|凭证号|合同号|受理号|预约号|案件号|订单码)|订单)"
    r"[ ]*[是为叫]?[ ]*(?P<mark>[:：#＃=]?)[ ]*(?:no\.[ ]?)?"
    rf"(?P<number>{_PREFIXED}(?![\da-z])|{_CODE})(?![\da-z]|\.\d|{_UNIT})",
)
_LEAST_UNNAMED_DIGITS, _LEAST_NAMED_DIGITS = 5, 4
_LEAST_CODE, _LEAST_MARKED_CODE = 6, 8  # signs
# Whatever is numbered, "meter number 4471920" or "报修号BX88120", but for what is nobody's.
_NUMBERED = re.compile(
    r"(?:(?<=[a-z] )(?:(?P<no>no)|numbers?|nr|id|ref|reference)\b(?:\.|'s\b)?[ ]*"
    r"(?:(?:is|was)\b)?"
    r"|(?<=[\u4e00-\u9fff])(?P<zh>编号|账号|户号|单|号码?))"
    r"[ ]*[是为]?[ ]*[:：#＃=]?[ ]*"
    rf"(?P<number>{_PREFIXED}(?![\da-z])|{_CODE})(?![\da-z]|\.\d|{_UNIT})",
)
_LEAST_NUMBERED_DIGITS = 5
_MAYBE_NUMBERED = re.compile(r"\d{5}|[A-Z\-/]\d{3}|\d{4}(?: \d{4}|[\-/]\d)")
_NUMBER_SIGNS = (" number", " no ", " no.", " no:", " nr", " id ", " id:", " ref", "号", "单")
_WORD_CHARS = 14  # the longest of the words below
_NOBODYS = re.compile(
    r"\b(?:article|batch|barcode|build|bus|cell|chapter|channel|contact|coupon|discount|ean|episode|error"
    r"|fax|firmware|flight|gate|hotline|house|isbn|issue|item|kb|landline|lot|mobile|model|movie"
    r"|offer|otp|page|part|patch|phone|pin|platform|product|promo|promotion|room|row|seat|season"
    r"|section|security|serial|service|shoe|size|sku|staff|standard|tel|telephone|train|upc"
    r"|verification|version|voucher|zip) $"
)
# "There is no 10000 of it."
_HAS_NO = re.compile(
    r"\b(?:an?|are|at|been|by|do|does|for|from|got|ha[ds]|have|how|in|is|need|of|on|s|says?|see|the|there"
    r"|to|want|was|with) $"
)
_NOBODYS_CHINESE = re.compile(r"[型货款批列券惠证码工色版尺微信众车牌楼房台门机话班菜简清账名]")
# One more of the same form beside a labelled one.
_MORE = re.compile(
    r"(?:[ ]?[,，、/&+;；][ ]?|[ ]?(?:and|or|und|和|跟|与|及|以及|还有)[ ]?){1,2}[#＃]?"
    rf"(?P<number>[A-Za-z]{{0,5}}[\-]?\d[A-Za-z\d\-/]{{3,}})(?![\dA-Za-z]|[.:]\d|{_UNIT})"
)
_BARE = re.compile(
    r"(?<![\dA-Za-z.,+\-])(?:\d{9,}|\d{3}-\d{7}-\d{7}|[A-Z]{1,4}-?\d{8,}(?:[A-Z]{2}\d*)?"
    r"|[A-Z]{2,5}-?\d{7,}|[a-z]{1,4}\d{10,}|[A-Z]{1,5}\d{0,4}-\d{4,}-\d{4,}"
    r"|(?=[A-Z\-]*(?:\d-?){7})[A-Z]{2,5}(?:-\d{2,}){2,}"
    r"|(?:CASE|CS|INV|ORD(?:ER)?|REF|RMA|SUB|TKT|TXN)[\-/_](?=[A-Z\-/]*(?:\d[A-Z\-/]*){4})"
    r"[A-Z\d\-/]*[A-Z\d]|(?:CS|INV|ORD|PO|REF|RMA|SO|TKT)\d{6,}|\d{6,8}-\d{6,}"
    r"|(?<=[#＃])(?:\d{7,}(?![\u4e00-\u9fff])|(?![\dA-F]{6}\b)[A-Z]{1,3}-?\d{4,})"
    r"|(?=[A-Z]*\d+[A-Z])(?=(?:[A-Z]*\d){8})[A-Z\d]{13,34})"
    r"(?![\dA-Za-z\-]|\.\d)"
)
# For speed: all of the above hold one of these.
_MAYBE_BARE = re.compile(r"\d[A-Z\d\-]{5}")
_MAYBE_CODE = re.compile(r"[#＃][\dA-Z]|[A-Z]{2}[\-/_][A-Z\d]")
_CODE_SIGNS = ("#", "-", "/", "_", "＃")
_SIGN = re.compile(r"[A-Za-z\d]")
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_LINK = re.compile(r"(?:https?://|www\.)[^\s<>\u4e00-\u9fff，。]+", re.IGNORECASE)


def labelled_orders(text: str) -> Iterator[tuple[bool, Span]]:
    """Find order, parcel and tracking numbers that a label announces.

    Each comes with whether it is said to be a number ("order no. 4711") or stands behind the
    mere word ("order 47110").
    """
    small = lowered(text)
    for found in _LABELLED.finditer(small):
        start, end = found.span("number")
        if " " in text[start : start + 4] and not text[start : start + 1].isupper():
            continue
        number = text[start:end]
        named = found["named"] is not None or bool(found["coded"] or found["zh"])
        digits = sum(sign.isdigit() for sign in number)
        enough = digits >= (_LEAST_NAMED_DIGITS if named else _LEAST_UNNAMED_DIGITS)
        if not enough and number == number.upper():  # of letters, with a few digits between
            least = _LEAST_CODE if named else _LEAST_MARKED_CODE if found["mark"] else len(text)
            enough = digits > 1 and len(number) >= least
        if enough and not DATE.fullmatch(number):
            yield named, Span(start, end, "order")
            for more in _more(text, number, end):
                yield named, more


def numbered(text: str) -> Iterator[Span]:
    """Find numbers of accounts, meters, contracts, … that the word "number" announces."""
    if not _MAYBE_NUMBERED.search(text):
        return
    small = lowered(text)
    for found in _NUMBERED.finditer(small) if any(map(small.__contains__, _NUMBER_SIGNS)) else ():
        ahead = small[max(0, found.start() - _WORD_CHARS) : found.start()]
        if _NOBODYS.search(ahead) or (found["zh"] and _NOBODYS_CHINESE.match(ahead[-1:])):
            continue
        start, end = found.span("number")
        number = text[start:end]
        if found["no"] and (_HAS_NO.search(ahead) or number != number.upper()):
            continue
        coded = number[0].isupper()
        if " " in number and not coded:
            continue
        enough = sum(sign.isdigit() for sign in number) >= _LEAST_NUMBERED_DIGITS - coded
        if enough and not DATE.match(number) and not is_product(text, start):
            yield Span(start, end, "order")
            yield from _more(text, number, end)


def _more(text: str, number: str, end: int) -> Iterator[Span]:
    """Find the rest of a list of numbers that are written alike."""
    while (found := _MORE.match(text, end)) and _alike(number, found["number"]):
        end = found.end()
        yield Span(found.start("number"), end, "order")


def _alike(number: str, other: str) -> bool:
    prefix = number[: len(number) - len(number.lstrip(_LETTERS))]
    other_form = _SIGN.sub("0", other)
    return (
        other.startswith(prefix)
        and other_form == _SIGN.sub("0", number)
        and other.isdigit() == number.isdigit()
        and not DATE.fullmatch(other)
    )


def bare_orders(text: str) -> Iterator[Span]:
    """Find long numbers that look like order numbers, with nothing to say what they are."""
    if not _MAYBE_BARE.search(text) and not (
        any(map(text.__contains__, _CODE_SIGNS)) and _MAYBE_CODE.search(text)
    ):
        return
    links = [found.span() for found in _LINK.finditer(text)] if "/" in text or "www" in text else []
    for found in _BARE.finditer(text):
        inside = any(start <= found.start() < end for start, end in links)
        if not inside and not is_product(text, found.start()):
            yield Span(found.start(), found.end(), "order")

"""Detectors of postal addresses, English (with some German and French) and Chinese.

An address has no proof, so its shape is strict: a street with a house number, a building with a
room, a village with its township, a box of the post. A town or a street alone is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from closedloop.core.detectors import Span

# Words that stand between a number and a street only in sentences: "5 days on the road".
_STREET_WORD = (
    r"(?!(?:a|an|and|are|at|by|can|days?|did|do|for|from|he|hours?|i|in|is|it|items?|km|left|metres?|miles?"
    r"|minutes?|months?|my|of|off|on|or|orders?|pm|am|people|pieces?|she|stars?|the|they|times?|to|was|we"
    r"|weeks?|will|with|years?|you|lanes?(?= highway))\b)"
    r"(?:[A-Za-z][A-Za-z'\-]*\.?|\d{1,3}(?:st|nd|rd|th))"
)
_STREET_KIND = (
    r"(?:street|str|st|road|rd|avenue|ave|boulevard|blvd|lane|ln|drive|dr|highway|hwy|square|sq"
    r"|terrace|crescent"
    r"|(?-i:Court|Ct|Way|Close|Place|Pl|Park|Parkway|Gardens|Row|Walk|Hill|Mews|Circle"
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
    r"|no|or|in|at|i|instead)\b)"
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
    r" ?\d{1,4} ?[a-z]?\b(?P<post>,? \d{5} [A-ZÄÖÜa-zäöüß]+)?",
    re.IGNORECASE,
)
_STREET_SIGN = re.compile(
    r" (?:street|str|st|road|rd|avenue|ave|boulevard|blvd|lane|ln|drive|dr|highway|hwy|square|sq"
    r"|terrace|crescent|court|ct|way|close|place|pl|park|parkway|gardens|row|walk|hill|mews|circle"
    r"|trail|loop|plaza|grove|parade|quay|esplanade|circuit|rise|path)\b"
)
_BOX_SIGNS = ("box", "highway", "hwy", "route", "house")
_FRENCH_SIGN = re.compile(
    r" (?:rue|avenue|av\.|boulevard|bd|place|all[ée]e|chemin|impasse|quai|cours|route) "
)
_GERMAN_SIGNS = ("straße", "strasse", "str.", "weg", "allee", "platz", "gasse", "damm", "ufer")
# Words that are no street in "2 pieces at the same place", and one in "I am at 7 church court".
_ADDRESS_AHEAD = re.compile(r"(?:\b(?:at|to|is|address|live in)|[:：]) ?$", re.IGNORECASE)
_FLAT_WITH = re.compile(rf"\b{_DOOR_NAME}", re.IGNORECASE)

_PROVINCE = (
    "北京|天津|上海|重庆|河北|山西|辽宁|吉林|黑龙江|江苏|浙江|安徽|福建|江西|山东|河南|湖北|湖南|广东|海南|"
    "四川|贵州|云南|陕西|甘肃|青海|台湾|内蒙古|广西|西藏|宁夏|新疆|香港|澳门"
)
_HAN = r"[\u4e00-\u9fff]"
_AREA = (
    rf"(?P<province>(?:{_PROVINCE})(?:省|市|(?:维吾尔|壮族|回族)?自治区|特别行政区)?)?"
    rf"(?P<city>(?:{_HAN}{{2,8}}?(?:自治州|地区|盟))?{_HAN}{{2,5}}?市)?"
    rf"(?P<district>{_HAN}{{1,6}}?(?:区|县|镇|乡|旗))? ?"
)
_ROAD = r"(?:路|街|大道|道|巷|弄|胡同|里)"
_COUNT = r"(?:[0-9]{1,3}|[一二三四五六七八九十]{1,2})"
_BUILDING = r"(?:号楼|号院|栋|幢|座|#楼?)"
_NO_AMOUNT = r"(?![0-9元块个件人天分年月日米])"
_ESTATE = (
    rf"{_HAN}{{1,6}}?(?:大厦|花园|小区|公寓|广场|中心|家园|国际|大楼|新村|华庭|酒店|宾馆|医院|大学|学院|[城园苑居府湾])"
    r"(?:小区)?"
)
_UNIT = (
    r"[0-9A-Za-z]{1,4}(?:-[0-9]{1,4})*"
    r"(?:号楼|号院|号|栋|幢|座|单元|室|#?楼|层|房|期|门|排|[Ff](?![0-9A-Za-z]))"
)
_POST = r"(?: [0-9]{6}(?![0-9元]))?"
_CHINESE_HOUSE = re.compile(
    _AREA + rf"{_HAN}{{1,12}}?(?:{_ROAD}|村)(?:[东南西北中一二三四五六七八九十]{{1,2}}段)? ?"
    r"(?:[0-9]{1,5}(?:-[0-9]{1,4})?(?:号院|号楼|号|弄|巷|栋|幢|座)|[A-Za-z]座)"
    rf"(?:{_ESTATE}(?!{_HAN}*?[0-9]{{1,4}}(?:号楼|栋|幢|座|室)))?"
    rf"(?:[\u4e00-\u9fffA-Z]{{0,12}}?{_UNIT})*"
    rf"(?:{_HAN}{{0,6}}(?<=[元栋幢座号楼寓厦层门])(?:[0-9]{{3,4}}{_NO_AMOUNT}|[0-9]{{1,2}}[A-Z])"
    rf"|{_HAN}{{0,10}}[0-9]{{1,3}}(?:-[0-9]{{1,2}})?-[0-9]{{3,4}}(?![0-9]))?{_POST}"
)
# Anything with a building's number in a district that is named with its city.
_CHINESE_PLACED = re.compile(
    _AREA
    + rf"(?:(?![有的在要和是到去与吗坐买卖])[\u4e00-\u9fffA-Za-z]){{2,24}}?{_UNIT}(?!楼|线|店)"
    rf"(?:{_HAN}{{0,8}}?{_UNIT})*(?:-?[0-9]{{3,4}}{_NO_AMOUNT})?{_POST}"
)
# A building with a room, of an estate, a tower or a campus.
_CHINESE_ROOM = re.compile(
    rf"(?:[\u4e00-\u9fffA-Z]|(?<=[省市区县]) ){{2,24}}(?:{_COUNT}期)?"
    rf"(?:[A-Za-z]座|塔{_COUNT}|{_COUNT}{_BUILDING}) ?"
    rf"(?:{_COUNT}单元(?:[0-9]{{1,2}}[层楼])?(?:[0-9]{{3,4}}[室房]?)?"
    rf"|(?:[0-9]{{1,2}}[层楼])?-?[0-9]{{3,4}}{_NO_AMOUNT}[室房户]?|[0-9]{{1,2}}[层楼])"
)
_VILLAGE_SIGN = re.compile(r"[村屯寨庄]")
_CHINESE_VILLAGE = re.compile(
    _AREA + rf"(?P<town>{_HAN}{{1,6}}?(?:镇|乡|街道|农场))?{_HAN}{{1,6}}?(?:[村屯寨]|庄(?!村))"
    rf"(?P<group>{_COUNT}[组队社](?:[0-9]{{1,4}}号)?)?"
)
_CHINESE_CROSSING = re.compile(
    _AREA + rf"{_HAN}{{1,6}}(?:路|街|大道)[与和跟]{_HAN}{{1,6}}(?:路|街|大道)的?"
    r"(?:交叉口|交汇处|交口|路口)"
)
_CHINESE_STREET = re.compile(
    _AREA + rf"(?:(?![要和与到的有在是去]){_HAN}){{1,6}}(?:(?<!道)路|街|大道|胡同|巷|街道)"
    rf"(?:[东南西北中]段|{_ESTATE})?"
)
# "香港中路" is a street.
_PROVINCE_NAMED = re.compile(rf"(?:{_PROVINCE})(?![东南西北中一二三四]{{0,2}}(?:路|街|大道))")
_LEAD_IN_CHARS = 18
# What people say ahead of an address without a province; an address starts after the last one.
_LEAD_IN = re.compile(
    r"^.{0,12}(?:地址|寄到|寄回|送到|发到|改成|换到|换成|改到|住在|[是到在住寄送：])(?=..)"
)


def streets(text: str) -> Iterator[Span]:
    """Find street addresses: house number, name, kind of street, perhaps flat and town."""
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
    for found in _DOOR_CHAIN.finditer(text) if "," in text else ():
        yield Span(found.start(), found.end(), "address")
    for found in _FRENCH_STREET.finditer(text) if _FRENCH_SIGN.search(lowered) else ():
        if found["post"] or _FRENCH_SURE.search(found[0]):
            yield Span(found.start(), found.end(), "address")
    for found in _GERMAN_STREET.finditer(text) if _has_any(lowered, _GERMAN_SIGNS) else ():
        if found["post"] or found["sure"]:
            yield Span(found.start(), found.end(), "address")


def chinese_addresses(text: str) -> Iterator[Span]:
    """Find Chinese addresses: a house, a room, a village, a crossing, or district and street."""
    end = 0
    for found in _CHINESE_HOUSE.finditer(text):
        yield _address(found)
        end = found.end()
    for found in _CHINESE_ROOM.finditer(text):
        yield _address(found)
    for found in _CHINESE_PLACED.finditer(text):
        if found["district"] and (found["province"] or found["city"]):
            yield _address(found)
    villages = _CHINESE_VILLAGE.finditer(text) if _VILLAGE_SIGN.search(text) else ()
    for found in villages:
        groups = found.groupdict()
        placed = groups["town"] and (groups["city"] or groups["district"])
        if groups["group"] or placed or (groups["city"] and groups["district"]):
            yield _address(found)
    for found in _CHINESE_CROSSING.finditer(text) if "口" in text or "交汇" in text else ():
        yield _address(found)
    for found in _CHINESE_STREET.finditer(text, end):
        if found["district"] and (found["province"] or found["city"]):
            yield _address(found)


def _has_any(text: str, signs: tuple[str, ...]) -> bool:
    return any(sign in text for sign in signs)


def _address(found: re.Match[str]) -> Span:
    """Leave out what the sentence says ahead of the address."""
    start = found.start()
    named = _PROVINCE_NAMED.search(found[0], 0, _LEAD_IN_CHARS)
    if named:
        start += named.start()
    elif lead_in := _LEAD_IN.match(found[0]):
        start += lead_in.end()
    return Span(start, found.end(), "address")

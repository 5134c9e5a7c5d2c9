"""Detector of Chinese postal addresses: a house, a room, a village, a crossing, or a street.

An address has no proof, so its shape is strict: a street with a house number, a building with a
room, a village with its township, a street with its district and city. What follows it, down to
the room, is told by its units ("3号楼2单元501", "5幢7-2").
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from closedloop.core.detectors import Span

_PROVINCE = (
    "北京|天津|上海|重庆|河北|山西|辽宁|吉林|黑龙江|江苏|浙江|安徽|福建|江西|山东|河南|湖北|湖南|广东|海南|"
    "四川|贵州|云南|陕西|甘肃|青海|台湾|内蒙古|广西|西藏|宁夏|新疆|香港|澳门"
)
_HAN = r"[\u4e00-\u9fff]"
# Of a name, not of a sentence.
_NAME_SIGN = (
    r"(?:(?![不买了他们住但你再到吗和哪在好她帮我把无是有来没用的看给要请让说还这送那都麻])"
    r"[\u4e00-\u9fff])"
)
_AREA = (
    rf"(?P<province>(?:{_PROVINCE})(?:省|市|(?:维吾尔|壮族|回族)?自治区|特别行政区)?)?"
    rf"(?P<city>(?:{_HAN}{{2,8}}?(?:自治州|地区|盟))?(?:{_HAN}{{2,5}}?市){{1,2}})?"
    rf"(?P<district>{_HAN}{{1,6}}?(?:区|县|镇|乡|旗|街道))? ?"
)
# Not of "知道", "这里".
_ROAD = (
    r"(?:路|街|大道|(?<![公厚力报味大渠知管航赛跑轨通道难隧频])道|巷|弄|胡同"
    r"|(?<![哪城家店心手那这])里)"
)
# A number between others: "甲12号" lies beside "12号".
_HOUSE_SIGN = r"[甲乙丙丁戊附临新东南西北]"
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
    rf"(?:{_ESTATE})?(?:{_HOUSE_SIGN}?[0-9]{{1,5}}(?:[、\-][0-9]{{1,4}})?(?:号院|号楼|号|弄|巷|栋|幢|座)"
    rf"|{_HOUSE_SIGN}[一二三四五六七八九十]{{1,3}}号|[A-Za-z]座)"
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
    rf"(?:[A-Za-z]{{1,2}}[0-9]{{0,2}}座|塔{_COUNT}|{_COUNT}{_BUILDING}) ?(?:[A-Za-z]座 ?)?"
    rf"(?:{_COUNT}单元(?:[0-9]{{1,2}}[层楼])?(?:[0-9]{{3,4}}[室房]?)?"
    rf"|(?:[0-9]{{1,2}}[层楼])?-?[0-9]{{3,4}}{_NO_AMOUNT}[室房户]?|[0-9]{{1,2}}[层楼])"
)
# A building, its name, and a floor: "8号楼华夏科技大厦3层".
_CHINESE_FLOOR = re.compile(
    rf"{_NAME_SIGN}{{2,12}}{_COUNT}{_BUILDING}{_NAME_SIGN}{{2,10}}"
    r"(?:[0-9]{1,2}[层楼](?:[0-9]{3,4}室?)?|[0-9]{3,4}室)"
)
_FLOOR_SIGN = re.compile(r"(?:号楼|号院|[栋幢座#]).{2,10}?[0-9][层楼室]")
# Building, unit and room of an estate; a pick-up code looks like them: "取件码3-2-1045".
_CHINESE_DASHED = re.compile(
    rf"(?:{_NAME_SIGN}{{1,12}}[区园苑城湾府庭邸郡庄里居寓座期墅家]"
    rf"|(?<=地址){_NAME_SIGN}{{2,12}}|(?<=[住送寄]){_NAME_SIGN}{{2,12}})"
    r" ?[0-9]{1,3}-[0-9]{1,2}-[0-9]{3,4}(?![0-9\-])"
)
# What follows an address, down to the room.
_CHINESE_REST = re.compile(
    rf"(?: ?{_NAME_SIGN}{{0,10}}?(?:{_UNIT}(?!{_HAN}*?[时点])"
    r"|[一二三四五六七八九十]{1,3}(?:号?楼|层|单元|期|[栋座])"
    rf"|[0-9]{{1,3}}(?:-[0-9]{{1,4}}){{1,3}}(?![0-9\-]){_NO_AMOUNT}|[0-9]{{1,3}}[组队社](?!团)"
    rf"|[A-Z][0-9]{{0,2}}[座栋区馆]"
    rf"|(?<=[座栋幢楼层元])[A-Z]{{0,2}}[0-9]{{1,4}}[A-Z]?(?:-[0-9]{{1,4}})?(?![0-9]){_NO_AMOUNT}"
    rf"|(?<=[\u4e00-\u9fff])B[0-9]{{1,2}}(?![0-9A-Za-z])))*(?:(?<=[0-9])[室户号A-Z](?![A-Za-z]))?(?:(?<=号)门(?!店))?"
    rf"(?:(?<=[号栋座楼室层0-9]){_NAME_SIGN}{{0,6}}(?:店|超市|驿站|门卫室?|传达室|保安亭|前台|宿舍|楼下|门口))?"
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
_OF_AN_ADDRESS = re.compile(r"[0-9路街号]")
# Areas by use, not by name.
_AFTER_A_DAY = frozenset("上下中之以到前发后左才早晚能送")
_OF_A_QUESTION = re.compile(r"[和哪跟与或]")
# What is ahead of an address.
_SAYS_WHERE = re.compile(r"(?:地址|住|寄到?|送到?|[在是：:])[是在：: ]*$|^\s*$")
_NO_DISTRICT = re.compile(
    r"(?:小|社|园|校|地|景|片|专|分|郊|山|市|特|厂|库|营业|办公|生活|服务|休息|候机"
    r"|[北南东西辖某全本一二三四五六A-Z])区$"
    r"|[乡旗]$|街道$|古镇$|小镇$"
)
# What people say ahead of an address without a province; an address starts after the last one.
_LEAD_IN = re.compile(
    r"^.{0,12}(?:地址|寄到|寄回|送到|发到|改成|换到|换成|改到|住在|[是到在住寄送：])(?=..)"
)


def chinese_addresses(text: str) -> Iterator[Span]:
    """Find Chinese addresses: a house, a room, a village, a crossing, or district and street."""
    end = 0
    for found in _CHINESE_HOUSE.finditer(text):
        yield _address(found)
        end = found.end()
    for found in _CHINESE_ROOM.finditer(text):
        yield _address(found)
    for found in _CHINESE_FLOOR.finditer(text) if _FLOOR_SIGN.search(text) else ():
        yield _address(found)
    for found in _CHINESE_DASHED.finditer(text) if "-" in text else ():
        yield _address(found)
    for found in _CHINESE_PLACED.finditer(text):
        district, placed = found["district"], found["province"] or found["city"]
        # "发货3号到" is a day.
        day = text[found.end() : found.end() + 1] in _AFTER_A_DAY
        if district and (placed or not (day or _NO_DISTRICT.search(district))):
            yield _address(found)
    villages = _CHINESE_VILLAGE.finditer(text) if _VILLAGE_SIGN.search(text) else ()
    for found in villages:
        groups = found.groupdict()
        placed = groups["town"] and (groups["city"] or groups["district"])
        alone = (groups["town"] or groups["district"] or "").endswith(("镇", "乡")) and (
            not _OF_A_QUESTION.search(found[0])
            and (_LEAD_IN.match(found[0]) or _SAYS_WHERE.search(text, 0, found.start()))
        )
        if groups["group"] or placed or alone or (groups["city"] and groups["district"]):
            yield _address(found)
    for found in _CHINESE_CROSSING.finditer(text) if "口" in text or "交汇" in text else ():
        yield _address(found)
    for found in _CHINESE_STREET.finditer(text, end):
        if found["district"] and (found["province"] or found["city"]):
            yield _address(found)


def _address(found: re.Match[str]) -> Span:
    """Leave out what the sentence says ahead of the address, take in what follows it."""
    start = found.start()
    named = _PROVINCE_NAMED.search(found[0], 0, _LEAD_IN_CHARS)
    # Not in "亮马桥路39号上海中心".
    if named and not _OF_AN_ADDRESS.search(found[0], 0, named.start()):
        start += named.start()
    elif lead_in := _LEAD_IN.match(found[0]):
        start += lead_in.end()
    rest = _CHINESE_REST.match(found.string, found.end())
    return Span(start, rest.end() if rest else found.end(), "address")

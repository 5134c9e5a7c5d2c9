"""Personal data of people who do not exist, as written in chats around the world, and its doubles.

Made from the standards and from how shops, posts and telephone companies write their numbers; no
pattern is shared with the detectors. `VALUES` holds personal data by kind and language, `DECOYS`
what only looks like it.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from closedloop.data.simulate import personal
from closedloop.data.simulate.personal import luhn_digit

Maker = Callable[[Random], str]

_FIRST = "Ann Bob Chloe Dmitri Elif Femi Grace Hana Ivan Jürgen Kate Luis Mona Nils Olga".split()
_LAST = "Adeyemi Baker Costa Dubois Evans Fischer Gupta Hansen Ito Jones Kowalski Lopez".split()
_HOSTS = "gmail.com mail.example.org posteo.de uni-bonn.de corp.shop.co.jp 139.com qq.com".split()
_ROADS = "Elm Birch Willow Jefferson Lincoln Abbey Harbour Orchard Sycamore Chestnut".split()
_ROAD_KINDS = "Street St Road Rd Avenue Ave Lane Ln Drive Dr Boulevard Blvd Court Place".split()
_US_TOWNS = ("Seattle, WA 98101", "Chicago, IL 60614", "Miami, FL 33139", "Tulsa OK 74103")
_UK_TOWNS = ("London N1 9GU", "Glasgow G12 8QQ", "Cardiff, CF10 1EP", "York YO1 7HH")
_DISTRICTS = (
    "浙江省宁波市鄞州区 广东省佛山市顺德区 山东省济南市历下区 河南省郑州市金水区 重庆市渝北区"
    " 天津市和平区 湖南省长沙市岳麓区 江苏省苏州市工业园区 云南省昆明市官渡区 安徽省合肥市蜀山区"
    " 新疆维吾尔自治区乌鲁木齐市天山区 内蒙古自治区呼和浩特市赛罕区 上海市闵行区 北京市西城区"
).split()
_CN_ROADS = "江南大道 岭南路 经十路 花园路 星光大道 南京路 麓山南路 星湖街 春城路 潜山路".split()
_ESTATES = "锦绣华城 滨江花园 保利香槟 恒大绿洲 万达广场 龙湖天街 幸福小区 碧海蓝天".split()
_VILLAGES = "李家 王庄 西柳 石桥 东坝头 小河".split()
_DIAL = {  # country code: shapes of national numbers, # a digit
    "+44": ("20 7### ####", "7### ######", "161 ### ####", "(0)20 7### ####"),
    "+49": ("30 #######", "151 ########", "(0)89 ######", "171-#######"),
    "+33": ("1 ## ## ## ##", "6 ## ## ## ##", "6########"),
    "+39": ("333 #######", "347#######"),
    "+34": ("612 ### ###", "699######"),
    "+91": ("98### #####", "99########"),
    "+61": ("4## ### ###", "2 9### ####"),
    "+81": ("90-####-####", "3-3###-####"),
    "+65": ("9### ####", "8#######"),
    "+852": ("9### ####", "6#######"),
    "+886": ("912 ### ###",),
    "+82": ("10-####-####",),
    "+55": ("11 9####-####",),
    "+7": ("916 ###-##-##",),
    "+52": ("55 #### ####",),
    "+971": ("50 ### ####",),
}
_NATIONAL = (
    "020 7946 ####", "0161 496 ####", "07700 900###", "07700900###", "0113 496 0###",
    "030 1234567", "0171 #######", "0151-########", "089/2345678",
    "01 4# ## ## ##", "06.##.##.##.##", "06 ## ## ## ##",
    "0412 ### ###", "(02) 9### ####", "087 ### ####", "06-########", "090-####-####",
)  # fmt: skip
_IBAN = {
    "DE": "##################", "GB": "NWBK##############", "FR": "####################Q##",
    "NL": "INGB##########", "ES": "####################", "CH": "#####0000########",
    "SE": "####################", "PT": "#####################", "AT": "################",
    "PL": "########################", "IE": "AIBK##############", "NO": "###########",
    "DK": "##############", "FI": "##############", "LU": "###0000000000000",
    "IT": "X######################", "CZ": "####################", "TR": "#####0################",
    "SA": "####################", "AE": "###################", "BE": "############",
}  # fmt: skip


def fill(rng: Random, shape: str) -> str:
    """Put a random digit for each # and a capital for each ^."""
    return "".join(
        rng.choice("0123456789")
        if sign == "#"
        else rng.choice("ABCDEFGHJKLMNPRSTUVWXYZ")
        if sign == "^"
        else sign
        for sign in shape
    )


def _of(*shapes: str) -> Maker:
    return lambda rng: fill(rng, rng.choice(shapes))


def _phone_en(rng: Random) -> str:
    if rng.random() < 0.45:
        area, office = rng.choice("212 305 415 503 617 702 808 917".split()), rng.choice("23456789")
        shape = rng.choice(
            (
                "({a}) {o}-####", "{a}-{o}-####", "{a}.{o}.####", "{a} {o} ####", "{a}{o}####",
                "+1 ({a}) {o}-####", "+1-{a}-{o}-####", "1 {a} {o} ####", "({a}){o}-####",
                "+1{a}{o}####", "001 {a} {o} ####", "{a}/{o}-####",
            )
        )  # fmt: skip
        return fill(rng, shape.format(a=area, o=office + rng.choice("02345678") + "7"))
    if rng.random() < 0.5:
        return fill(rng, rng.choice(_NATIONAL))
    code = rng.choice(list(_DIAL))
    national = fill(rng, rng.choice(_DIAL[code]))
    code = code.replace("+", "00") if rng.random() < 0.15 else code
    return code + rng.choice((" ", " ", "-", "")) + national


def _phone_zh(rng: Random) -> str:
    start = "1" + rng.choice("35789") + rng.choice("0123456789")
    return fill(
        rng,
        rng.choice(
            (
                f"{start}########", f"{start}########", f"{start} #### ####", f"{start}-####-####",
                f"{start}.####.####", f"{start}# #### ###", f"{start}#-####-###",
                f"+86 {start} #### ####", f"0086{start}########", f"86-{start}########",
                f"(+86){start}########", f"{start}#### ####", f"{start}## ######",
                "010-6#######", "(0755)8#######", "0571 8### ####", "021—6#######",
                "0531-8#######转80#", "0769-2#######", "400-8##-####", "400 8## ####",
            )
        ),
    )  # fmt: skip


def _email(rng: Random) -> str:
    first, last = rng.choice(_FIRST), rng.choice(_LAST)
    first = first.replace("ü", "ue")
    name = rng.choice(
        (
            f"{first}.{last}", f"{first[0]}{last}", f"{first}_{last}##", f"{first}+shop", f"{last}-#",
            f"{first}##", "1########", f"{first}.{last[0]}.{last}", f"x{first}%{last}",
        )
    )  # fmt: skip
    address = fill(rng, f"{name}@{rng.choice(_HOSTS)}")
    return address if rng.random() < 0.2 else address.lower()


def _card(rng: Random) -> str:
    prefix, length, sizes = rng.choice(
        (
            ("4", 16, (4, 4, 4)), ("4", 13, (4, 3, 3)), ("52", 16, (4, 4, 4)), ("2345", 16, (4,) * 3),
            ("37", 15, (4, 6)), ("36", 14, (4, 6)), ("3530", 16, (4, 4, 4)), ("6011", 16, (4,) * 3),
            ("6212", 16, (4, 4, 4)), ("6225", 19, (4, 4, 4, 4)), ("621483", 19, (6,)),
            ("6759", 18, (4, 4, 4, 4)),
        )
    )  # fmt: skip
    body = prefix + fill(rng, "#" * (length - len(prefix) - 1))
    number = body + luhn_digit(body)
    mark = rng.choice(("", "", " ", " ", "-"))
    pieces, at = [], 0
    for size in sizes if mark else ():
        pieces.append(number[at : at + size])
        at += size
    return mark.join([*pieces, number[at:]])


def _iban(rng: Random) -> str:
    country = rng.choice(list(_IBAN))
    account = fill(rng, _IBAN[country])
    digits = "".join(str(int(sign, 36)) for sign in account + country) + "00"
    whole = f"{country}{98 - int(digits) % 97:02d}{account}"
    mark = rng.choice(("", " ", " ", "-"))
    if mark:
        return mark.join(whole[i : i + 4] for i in range(0, len(whole), 4))
    return whole.lower() if rng.random() < 0.2 else whole


def _resident_id(rng: Random) -> str:
    number = personal.resident_id(rng, "zh").replace(" ", "")
    cuts = rng.choice(((), (), (), (6, 14), (6, 10, 14)))
    mark = rng.choice(" -")
    return "".join(mark + sign if i in cuts else sign for i, sign in enumerate(number))


def _address_en(rng: Random) -> str:
    road = f"{rng.choice(_ROADS)} {rng.choice(_ROAD_KINDS)}"
    side = rng.choice(("N", "S", "West", "E."))
    nth = rng.choice(("5th", "42nd", "3rd", "101st"))
    us, uk = rng.choice(_US_TOWNS), rng.choice(_UK_TOWNS)
    return fill(
        rng,
        rng.choice(
            (
                f"1### {road}, {us}", f"4## {side} {road}, {us}", f"2## {side} {nth} St, {us}",
                f"7# {nth} Avenue, Apt #^, {us}", f"P.O. Box ####, {us}", f"PO Box 4##, {us}",
                f"Flat #, 2# {road}, {uk}", f"1# {road}, {uk}", f"3#^ {road}, {uk}",
                f"Unit #, 2## {road}, Sydney NSW 20##", f"5# {road}, Richmond VIC 3121",
                f"9# {road}", f"1## {side} {road}", f"4# {road}, Dublin 4", f"Apt ##, 8# {road}",
                f"2#-3# {nth} Street, Queens, NY 1137#", f"1#### Highway 6#, {us}",
                f"8 {rng.choice(_ROADS)} Park {rng.choice(_ROAD_KINDS)}, {uk}",
                f"6# Upper {road}, {uk}", f"1# St Mary's {rng.choice(_ROAD_KINDS)}, {uk}",
                "1# rue de Rivoli, 75004 Paris", "5# avenue Foch, 69006 Lyon",
                "Lindenstraße 1#, 10969 Berlin", "Goethestr. 4#, 60313 Frankfurt",
            )
        ),
    )  # fmt: skip


def _address_zh(rng: Random) -> str:
    area, road = rng.choice(_DISTRICTS), rng.choice(_CN_ROADS)
    estate, village = rng.choice(_ESTATES), rng.choice(_VILLAGES)
    city = area[area.find("省") + 1 :] if "省" in area else area
    return fill(
        rng,
        rng.choice(
            (
                f"{area}{road}1##号{estate}#栋1#01室", f"{area}{road}8#号", f"{city}{road}2##号#单元#02",
                f"{area}{estate}1#号楼#单元10#室", f"{city}{estate}#栋2#0#", f"{road}3##号{estate}A座1#0#室",
                f"{area} {road} 1##号", f"{estate}#期1#栋#单元#03", f"{estate}3#号楼1#0#室",
                f"{city}{rng.choice(('和平', '新华', '城关'))}镇{village}村#组1#号",
                f"河北省保定市清苑县{village}乡{village}村", f"{area}{village}街道{road}5#弄#号60#室",
                "香港九龙弥敦道6##号1#楼", "台北市信义区信义路五段#号#楼", f"{city}{road}与{road[:2]}街交叉口",
                "深圳大学紫荆公寓#号楼41#", f"{area}{road}1##-#号", f"{road}6#号", f"{area}{road}科技园#栋#楼",
            )
        ),
    )  # fmt: skip


_ORDER_EN = _of(
    "11#-#######-#######", "20241#############", "PO-2024-00###", "INV-#####", "SO########",
    "1Z#^#^####0########", "9400 1### #### #### #### ##", "7489########", "ORD-######", "#########",
    "A#########", "TBA###########", "JD###########", "RB#########CN", "^^#####", "########",
)  # fmt: skip
_ORDER_ZH = _of(
    "20241##############", "3###################", "SF1############", "JDVA###########",
    "YT##############", "7731##########", "4#############", "E2024########", "123##########", "##########",
    "ZTO##########", "DD########", "P24110#######", "######",
)  # fmt: skip
VALUES: dict[str, dict[str, Maker]] = {
    "phone": {"en": _phone_en, "zh": _phone_zh},
    "email": {"en": _email, "zh": _email},
    "card": {"en": _card, "zh": _card},
    "resident_id": {"zh": _resident_id},
    "iban": {"en": _iban},
    "address": {"en": _address_en, "zh": _address_zh},
    "order": {"en": _ORDER_EN, "zh": _ORDER_ZH},
}
DECOYS: dict[str, Maker] = {
    "en": _of(
        "$1,###.##", "€#.###,##", "£##.99", "1## USD", "2024-11-0#", "0#/1#/2024", "Nov 1#, 2024",
        "1#:3#", "1#:30-1#:45", "9am-5pm", "2024-11-0# 1#:2#:3#", "v#.1#.2", "iOS 17.#.1", "192.168.#.1##",
        "WH-1000XM#", "SM-G99#B", "i7-13#00K", "RTX 40#0", "A26##", "B0#^#^##^#", "EAN 50#########1#",
        "ISBN 978-0-##-######-#", "SKU 1002####", "model MTP1#LL/A", "1920x1080", "4## x 3## mm",
        "#0%", "1,###,### points", "5-7 business days", "3 of 12", "24/7", "size 4#", "UK 1#",
        "#FF00A#", "error 0x8007005#", "ERR-40#0", "code SAVE##", "#00 ml", "-1# °C", "16:9", "#.#/10",
        "1st street festival", "3 lane highway", "12 court shoes", "4 place settings", "2 drive bays",
        "1#th of May", "Q# 2024", "flight BA1##", "room 2##", "gate B1#", "5 star hotel", "2 @ $#",
        "@support", "https://shop.example.com/item/1000########", "size #/#", "batch of 1#0000",
        "100 ways to close a sale", "40 park and ride tickets", "39.90##, 116.40##", "1.5e-#",
        "item no. ##", "order # of 5", "orders over $##", "3 orders", "Windows 11 23H2", "HDMI 2.1",
    ),
    "zh": _of(
        "¥1,###.00", "###元", "3#.9块", "2024年11月#日", "11月1#号", "2024-11-0#", "20241109", "1#:3#",
        "晚上#点半", "满300减#0", "#折", "v#.2.1", "iPhone 15 Pro", "小米14 Ultra", "骁龙8 Gen #", "RTX40#0",
        "尺码17#/92A", "4#码", "12GB+256GB", "#00ml", "1#斤", "第#件半价", "#号线地铁", "5号楼下的店",
        "人民路店", "中山路那家店", "这条路", "市区道路", "网络里", "上海市区", "广东省内", "北京到上海",
        "杭州市西湖区", "新疆西藏", "订单#件", "2个订单", "型号XM-20#5", "货号1002####", "条码69########1##",
        "10000#积分", "#00000人", "双11", "618", "1#%", "https://item.jd.com/1000########.html",
        "95588", "10086", "G1#3#次", "CA1##3", "客服@小美", "#.#分", "1920×1080", "错误码E#0#", "券NEW20",
        "3-5天", "7天无理由", "24小时", "5室2厅", "3层楼", "2单元格", "里面", "服务区", "小区里", "10#8版",
    ),
}  # fmt: skip

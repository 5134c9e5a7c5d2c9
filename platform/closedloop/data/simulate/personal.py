"""Personal data of people who do not exist, in the many shapes in which people write it.

Card numbers carry a valid Luhn digit, resident ids a valid ISO 7064 MOD 11-2 character and IBANs
valid MOD 97-10 digits, each computed here from its standard. Nothing is shared with the detectors
of `closedloop.core.privacy`, so that what those find in simulated text is a fair measurement.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

_CN_MOBILE = tuple(
    str(prefix)
    for block in (
        range(130, 134),
        range(135, 140),
        range(150, 154),
        range(155, 160),
        range(176, 179),
    )
    for prefix in (*block, 147, 166, 170, 180, 186, 187, 188, 189, 191, 195, 198, 199)
)
_CN_AREA = ("010", "021", "020", "0755", "0571", "028", "025", "027", "0532", "0591", "029")
_US_AREA = ("212", "312", "415", "617", "206", "303", "404", "512", "702", "718", "919", "503")
_CARD_ISSUER = (
    ("4", 16),
    ("51", 16),
    ("55", 16),
    ("6222", 19),
    ("6217", 19),
    ("6228", 19),
    ("6226", 16),
    ("34", 15),
    ("37", 15),
    ("6011", 16),
    ("621700", 19),
    ("4", 16),
)
_REGION_CODE = (
    "110101",
    "110105",
    "310104",
    "310115",
    "440106",
    "440305",
    "330106",
    "320102",
    "510104",
    "420106",
    "370202",
    "610113",
    "350102",
    "430104",
    "500103",
    "120101",
)
_BANK = {
    "GB": ("NWBK601613", 8),
    "DE": ("37040044", 10),
    "FR": ("20041010050500013M026", 2),
    "NL": ("ABNA", 10),
    "ES": ("21000418", 12),
    "IT": ("X0542811101", 12),
    "BE": ("539", 9),
    "AT": ("19043", 11),
    "IE": ("AIBK931152", 8),
    "PL": ("109010140000", 12),
}
_MAIL_HOST = (
    "gmail.com",
    "outlook.com",
    "yahoo.co.uk",
    "icloud.com",
    "proton.me",
    "hotmail.com",
    "web.de",
    "qq.com",
    "163.com",
    "126.com",
    "sina.com.cn",
    "foxmail.com",
    "aol.com",
)
_GIVEN = (
    "anna",
    "james",
    "liwei",
    "maria",
    "chen.yu",
    "oliver",
    "sophie",
    "wangfang",
    "peter",
    "zhang.min",
    "emma",
    "noah",
    "xiaoming",
    "laura",
    "david",
    "mei",
    "ravi",
    "fatima",
)
_FAMILY = ("smith", "garcia", "lee", "novak", "mueller", "zhou", "patel", "brown", "rossi", "kim")
_STREET = (
    "Maple",
    "Oak",
    "Church",
    "High",
    "Station",
    "Victoria",
    "Cedar",
    "Hillcrest",
    "Mill",
    "Lake View",
    "Park",
    "King",
    "Washington",
    "St. James",
    "Queen Anne",
    "Riverside",
)
_STREET_KIND = (
    "Street",
    "St",
    "Road",
    "Rd",
    "Avenue",
    "Ave",
    "Lane",
    "Drive",
    "Blvd",
    "Court",
    "St.",
    "Ave.",
    "Way",
    "Close",
    "Terrace",
    "Place",
)
_TOWN = (
    ("Springfield", "IL 62704"),
    ("Austin", "TX 78701"),
    ("Portland", "OR 97205"),
    ("London", "SW1A 1AA"),
    ("Leeds", "LS1 4DY"),
    ("Manchester", "M1 2WD"),
    ("Denver", "CO 80203"),
    ("Bristol", "BS1 5TR"),
    ("Boston", "MA 02108"),
)
_CN_PLACE = (
    ("北京市", "", ("朝阳区", "海淀区", "丰台区")),
    ("上海市", "", ("浦东新区", "徐汇区", "静安区")),
    ("广东省", "深圳市", ("南山区", "福田区", "宝安区")),
    ("浙江省", "杭州市", ("西湖区", "余杭区", "滨江区")),
    ("江苏省", "南京市", ("玄武区", "鼓楼区", "江宁区")),
    ("四川省", "成都市", ("武侯区", "锦江区", "高新区")),
    ("湖北省", "武汉市", ("洪山区", "武昌区")),
    ("陕西省", "西安市", ("雁塔区", "碑林区")),
    ("广东省", "广州市", ("天河区", "番禺区")),
    ("福建省", "厦门市", ("思明区", "湖里区")),
)
_CN_ROAD = (
    "人民路",
    "建设路",
    "文三西路",
    "科技园南路",
    "中山大道",
    "解放街",
    "学院路",
    "长江东路",
    "望京街",
    "天府大道",
    "和平里大街",
    "滨江路",
    "五一路",
    "翠竹巷",
)
_CN_ESTATE = ("阳光花园", "万科城", "翠苑小区", "金色家园", "碧桂园", "绿地中心", "保利大厦", "")
_WEIGHTS_11_2 = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def _digits(rng: Random, count: int) -> str:
    return f"{rng.randrange(10**count):0{count}d}"


def _grouped(text: str, sizes: tuple[int, ...], mark: str) -> str:
    groups, at = [], 0
    for size in sizes:
        groups.append(text[at : at + size])
        at += size
    groups.append(text[at:])
    return mark.join(group for group in groups if group)


def luhn_digit(body: str) -> str:
    """Return the check digit that makes a card number valid (ISO/IEC 7812-1, annex B).

    Examples
    --------
    >>> luhn_digit("7992739871")
    '3'
    """
    total = 0
    for place, digit in enumerate(reversed(body)):
        doubled = int(digit) * (2 - place % 2)
        total += doubled - 9 if doubled > 9 else doubled
    return str(-total % 10)


def phone(rng: Random, language: str) -> str:
    """Return a telephone number of the language's usual countries."""
    shape = rng.random()
    if language == "zh":
        mobile = rng.choice(_CN_MOBILE) + _digits(rng, 8)
        if shape < 0.66:
            return mobile
        if shape < 0.86:
            return _grouped(mobile, (3, 4), rng.choice((" ", "-")))
        if shape < 0.93:
            return f"+86{rng.choice((' ', '-', ''))}{mobile}"
        area = rng.choice(_CN_AREA)
        local = str(rng.randrange(2, 9)) + _digits(
            rng, 7 if len(area) == 3 else 6 + rng.randrange(2)
        )
        return f"{area}-{local}" if shape < 0.98 else f"({area}){local}"
    if shape < 0.6:
        area, office, line = rng.choice(_US_AREA), str(rng.randrange(220, 999)), _digits(rng, 4)
        office = office if office[1:] != "11" else "234"
        shapes = (
            f"({area}) {office}-{line}",
            f"{area}-{office}-{line}",
            f"{area}.{office}.{line}",
            f"+1 {area} {office} {line}",
            f"+1{area}{office}{line}",
            f"{area} {office} {line}",
            f"1-{area}-{office}-{line}",
            f"{area}{office}{line}",
        )
        return rng.choice(shapes)
    if shape < 0.8:
        mobile = f"7{rng.choice('45789')}{_digits(rng, 8)}"
        return rng.choice(
            (
                f"0{mobile}",
                f"+44 {mobile[:4]} {mobile[4:]}",
                f"+44{mobile}",
                f"0{mobile[:4]} {mobile[4:]}",
                f"0{mobile[:4]} {mobile[4:7]} {mobile[7:]}",
            )
        )
    if shape < 0.9:
        return f"+49 15{rng.choice('127')}{rng.randrange(1, 9)} {rng.randrange(1000000, 9999999)}"
    return f"+33 6 {' '.join(_digits(rng, 2) for _ in range(4))}"


def email(rng: Random, language: str) -> str:
    """Return an e-mail address."""
    name = rng.choice(_GIVEN)
    if rng.random() < 0.5:
        name += rng.choice((".", "_", "", "-")) + rng.choice(_FAMILY)
    if rng.random() < 0.6:
        name += str(rng.randrange(10, 2000))
    host = rng.choice(_MAIL_HOST)
    if language == "zh" and rng.random() < 0.3:
        name, host = _digits(rng, 9).replace("0", "8", 1), "qq.com"
    address = f"{name}@{host}"
    return address.upper() if rng.random() < 0.04 else address


def bank_card(rng: Random, language: str) -> str:
    """Return a card number with a valid check digit."""
    prefix, length = rng.choice(_CARD_ISSUER)
    body = prefix + _digits(rng, length - len(prefix) - 1)
    number = body + luhn_digit(body)
    if rng.random() < 0.5:
        return number
    sizes = (4, 6) if length == 15 else (4, 4, 4, 4)
    return _grouped(number, sizes, rng.choice((" ", " ", "-")))


def resident_id(rng: Random, language: str) -> str:
    """Return a resident id of the People's Republic of China (GB 11643-1999)."""
    born = f"{rng.randrange(1950, 2008)}{rng.randrange(1, 13):02d}{rng.randrange(1, 29):02d}"
    body = rng.choice(_REGION_CODE) + born + _digits(rng, 3)
    total = sum(int(digit) * weight for digit, weight in zip(body, _WEIGHTS_11_2, strict=True))
    number = body + "10X98765432"[total % 11]
    if number[-1] == "X" and rng.random() < 0.4:
        number = number[:-1] + "x"
    return _grouped(number, (6, 8), " ") if rng.random() < 0.12 else number


def iban(rng: Random, language: str) -> str:
    """Return an International Bank Account Number (ISO 13616) with valid check digits."""
    country = rng.choice(tuple(_BANK))
    bank, free = _BANK[country]
    account = bank + _digits(rng, free)
    number = "".join(str(int(sign, 36)) for sign in account + country) + "00"
    whole = f"{country}{98 - int(number) % 97:02d}{account}"
    shape = rng.random()
    if shape < 0.5:
        return _grouped(whole, (4,) * 8, " ")
    return whole.lower() if shape > 0.95 else whole


def address(rng: Random, language: str) -> str:
    """Return a postal address with a house number."""
    if language == "zh":
        province, city, districts = rng.choice(_CN_PLACE)
        head = province if rng.random() < 0.6 else ""
        if not city:
            head = rng.choice((province, province[:-1]))
        elif not head or rng.random() < 0.9:
            head += city
        street = f"{rng.choice(districts)}{rng.choice(_CN_ROAD)}{rng.randrange(1, 900)}号"
        estate = rng.choice(_CN_ESTATE)
        room = ""
        if rng.random() < 0.75:
            room = rng.choice(
                (
                    f"{rng.randrange(1, 30)}栋{rng.randrange(101, 3200)}室",
                    f"{rng.randrange(1, 20)}号楼{rng.randrange(1, 6)}单元{rng.randrange(101, 999)}",
                    f"{rng.randrange(1, 30)}幢{rng.randrange(101, 2000)}室",
                    f"{rng.randrange(101, 3000)}室",
                )
            )
        return head + street + estate + room
    house = rng.choice(
        (
            str(rng.randrange(1, 2000)),
            str(rng.randrange(1, 300)),
            f"{rng.randrange(1, 99)}{rng.choice('AB')}",
        )
    )
    text = f"{house} {rng.choice(_STREET)} {rng.choice(_STREET_KIND)}"
    if rng.random() < 0.35:
        unit = rng.choice(("Apt", "Flat", "Unit", "Suite", "Apt."))
        door = f"{rng.randrange(1, 60)}{rng.choice(('', '', 'B', 'C'))}"
        text += f"{rng.choice((', ', ' '))}{unit} {door}"
    if rng.random() < 0.7:
        town, code = rng.choice(_TOWN)
        text += f", {town}" + (f"{rng.choice((', ', ' '))}{code}" if rng.random() < 0.6 else "")
    return text.lower() if rng.random() < 0.08 else text


def order_number(rng: Random, language: str) -> str:
    """Return an order number: long digits, or a short code with a letter prefix."""
    shape = rng.random()
    if shape < 0.45:
        day = f"20{rng.randrange(24, 27)}{rng.randrange(1, 13):02d}{rng.randrange(1, 29):02d}"
        return day + _digits(rng, 10)
    if shape < 0.7:
        return str(rng.randrange(1, 10)) + _digits(rng, 11)
    if shape < 0.85:
        return (
            rng.choice(("SO", "PO", "ORD-", "DD", "A"))
            + str(rng.randrange(1, 10))
            + _digits(rng, 8)
        )
    return "-".join((str(rng.randrange(100, 999)), _digits(rng, 7), _digits(rng, 7)))


KINDS: dict[str, Callable[[Random, str], str]] = {
    "phone": phone,
    "email": email,
    "card": bank_card,
    "resident_id": resident_id,
    "iban": iban,
    "address": address,
    "order": order_number,
}

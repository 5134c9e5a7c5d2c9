"""Values that fill the slots of phrases and identify nobody: amounts, dates, sizes, places.

Each slot is a flat table made once, so that a value costs one random number. Numbers that read
like prices, dates or product models are meant to be hard for a detector of personal data.
"""

from __future__ import annotations

from random import Random

_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
_SIZES = ("XS", "S", "M", "L", "XL", "XXL", "36", "37", "38", "39", "40", "41", "42", "43", "44")


def _amounts_en(rng: Random) -> tuple[str, ...]:
    made = []
    for _ in range(400):
        whole = rng.choice((rng.randrange(2, 60), rng.randrange(10, 400), rng.randrange(100, 3000)))
        cents = rng.choice(("", "", ".99", ".50", f".{rng.randrange(100):02d}"))
        made.append(
            rng.choice(
                (
                    "${}{}",
                    "£{}{}",
                    "€{}{}",
                    "{}{} euros",
                    "{}{} dollars",
                    "{}{} euro",
                    "{}{} bucks",
                    "{}{} pounds",
                    "{}{}",
                    "{}{} usd",
                )
            ).format(whole, cents)
        )
    return tuple(made)


def _amounts_zh(rng: Random) -> tuple[str, ...]:
    made = []
    for _ in range(400):
        whole = rng.choice((rng.randrange(2, 60), rng.randrange(10, 400), rng.randrange(100, 5000)))
        cents = rng.choice(("", "", "", ".9", f".{rng.randrange(100):02d}"))
        made.append(
            rng.choice(("{}{}", "{}{}元", "{}{}块", "{}{}块钱", "¥{}{}", "{}{}元钱")).format(
                whole, cents
            )
        )
    return (*made, "一百块", "两百", "三十块", "五十", "十几块", "一千多", "二十块钱", "几百块")


def _dates_en() -> tuple[str, ...]:
    made = []
    for month, name in enumerate(_MONTHS, 1):
        for day in (1, 3, 7, 11, 12, 18, 20, 24, 27):
            made += [f"{name} {day}", f"{day} {name[:3]}", f"{name[:3]} {day}th", f"{month}/{day}"]
        made += [f"{month:02d}/11/2025", f"2025-{month:02d}-09", f"the {month}th", f"{name} 2025"]
    return tuple(made)


def _dates_zh() -> tuple[str, ...]:
    made = []
    for month in range(1, 13):
        for day in (1, 3, 6, 11, 12, 18, 20, 25, 28):
            made += [f"{month}月{day}号", f"{month}月{day}日", f"{month}.{day}", f"{day}号"]
        made += [f"2025年{month}月9日", f"2025-{month:02d}-16", f"{month}月初", f"{month}月底"]
    return tuple(made)


def _tables() -> dict[str, dict[str, tuple[str, ...]]]:
    rng = Random(20091111)  # the tables are part of the grammar: the same for every scenario
    tens = tuple(str(number) for number in range(10, 99, 5))
    clock = tuple(
        f"{hour}{tail}" for hour in range(1, 12) for tail in (" pm", "pm", ":30", "am", " o'clock")
    )
    return {
        "en": {
            "amount": _amounts_en(rng),
            "city": (
                "London",
                "Berlin",
                "Paris",
                "New York",
                "Madrid",
                "Chicago",
                "Toronto",
                "Leeds",
                "Dublin",
                "Sydney",
                "Singapore",
                "Munich",
                "Vienna",
                "Boston",
                "Manchester",
                "Rome",
                "Amsterdam",
                "Hong Kong",
                "Shanghai",
                "Texas",
                "Scotland",
                "Spain",
                "Canada",
                "Norway",
            ),
            "code": ("01", "02", "04", "11", "15", "21", "27", "33", "A4", "B7"),
            "colour": (
                "black",
                "white",
                "blue",
                "red",
                "green",
                "grey",
                "pink",
                "beige",
                "navy",
                "silver",
                "yellow",
                "brown",
                "purple",
                "dark blue",
                "rose gold",
            ),
            "courier": (
                "DHL",
                "UPS",
                "FedEx",
                "Hermes",
                "Royal Mail",
                "DPD",
                "GLS",
                "USPS",
                "SF Express",
                "Evri",
                "TNT",
                "YunExpress",
            ),
            "date": _dates_en(),
            "day": (
                "Monday",
                "Tuesday",
                "Wednesday",
                "Thursday",
                "Friday",
                "Saturday",
                "Sunday",
                "friday",
                "the weekend",
                "tomorrow",
                "next week",
                "tonight",
                "monday",
                "next friday",
            ),
            "height": (*map(str, range(150, 196, 3)), "5'4", "5'7", "5'10", "6'1", "1.72m"),
            "hundreds": tuple(f"{count}00" for count in range(1, 60, 3)),
            "month": _MONTHS,
            "n": (
                "2",
                "3",
                "4",
                "5",
                "6",
                "7",
                "8",
                "10",
                "12",
                "14",
                "two",
                "three",
                "four",
                "five",
                "ten",
            ),
            "payment": (
                "PayPal",
                "paypal",
                "Apple Pay",
                "Visa",
                "Mastercard",
                "Klarna",
                "Google Pay",
                "Amex",
                "Alipay",
                "WeChat Pay",
                "my debit card",
            ),
            "size": _SIZES,
            "tens": tens,
            "time": clock,
            "weight": tuple(str(kilos) for kilos in range(45, 110, 3)),
            "when": (
                "yesterday",
                "today",
                "last week",
                "last month",
                "this morning",
                "two days ago",
            ),
        },
        "zh": {
            "amount": _amounts_zh(rng),
            "city": (
                "北京",
                "上海",
                "广州",
                "深圳",
                "杭州",
                "成都",
                "武汉",
                "西安",
                "南京",
                "重庆",
                "天津",
                "苏州",
                "长沙",
                "郑州",
                "青岛",
                "厦门",
                "昆明",
                "沈阳",
                "新疆",
                "西藏",
                "香港",
                "哈尔滨",
                "义乌",
                "东莞",
            ),
            "code": ("01", "02", "04", "11", "15", "21", "27", "33", "A4", "B7"),
            "colour": (
                "黑色",
                "白色",
                "蓝色",
                "红色",
                "绿色",
                "灰色",
                "粉色",
                "米色",
                "藏青",
                "银色",
                "黄色",
                "棕色",
                "紫色",
                "深蓝",
                "玫瑰金",
            ),
            "courier": (
                "顺丰",
                "中通",
                "圆通",
                "申通",
                "韵达",
                "京东",
                "邮政",
                "EMS",
                "极兔",
                "德邦",
                "菜鸟",
            ),
            "date": _dates_zh(),
            "day": (
                "周一",
                "周二",
                "周三",
                "周四",
                "周五",
                "周六",
                "周日",
                "星期五",
                "周末",
                "明天",
                "下周",
                "后天",
                "礼拜天",
                "今晚",
            ),
            "height": (*map(str, range(150, 190, 3)), "一米七", "1米65", "1.72"),
            "hundreds": tuple(f"{count}00" for count in range(1, 60, 3)),
            "month": tuple(f"{month}月" for month in range(1, 13)),
            "n": ("2", "3", "4", "5", "6", "7", "8", "10", "12", "两", "三", "四", "五", "好几"),
            "payment": (
                "支付宝",
                "微信",
                "花呗",
                "银行卡",
                "信用卡",
                "云闪付",
                "招行卡",
                "建行卡",
                "白条",
                "数字人民币",
            ),
            "size": (*_SIZES, "均码", "160", "165", "170", "175"),
            "tens": tens,
            "time": (
                *(f"{hour}点{tail}" for hour in range(7, 23) for tail in ("", "半", "多")),
                *("20:00", "0点", "早上9点", "晚上8点", "下午3点"),
            ),
            "weight": tuple(str(weight) for weight in range(45, 180, 5)),
            "when": (
                "昨天",
                "今天",
                "上周",
                "上个月",
                "前天",
                "三天前",
                "早上",
                "昨晚",
                "前几天",
                "刚刚",
                "一周前",
                "双11",
            ),
        },
    }


VALUES = _tables()

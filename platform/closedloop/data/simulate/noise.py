"""How people really type: slips, abbreviations, lost punctuation, homophones.

Every function keeps the meaning, so that the label of a text stays true.
"""

from __future__ import annotations

from collections.abc import Callable

Draw = Callable[[], float]

_SHORT_EN = (
    ("please", "pls"),
    ("thanks", "thx"),
    ("because", "cuz"),
    (" you ", " u "),
    (" your ", " ur "),
    (" are ", " r "),
    ("tomorrow", "tmrw"),
    ("delivery", "delivry"),
    ("received", "recieved"),
    ("don't know", "dunno"),
    ("want to", "wanna"),
    ("address", "adress"),
    (" and ", " & "),
    ("cancel", "cancle"),
    ("parcel", "parsel"),
    ("refund", "re-fund"),
    ("can't", "cant"),
    ("doesn't", "doesnt"),
    ("package", "pkg"),
    ("message", "msg"),
    ("the ", ""),
    (" to ", " 2 "),
    ("order", "ordr"),
    ("coupon", "cupon"),
    ("voucher", "vouchr"),
    ("I'm", "im"),
    ("though", "tho"),
)
_SHORT_ZH = (
    ("吗", "嘛"),
    ("的", "得"),
    ("在", "再"),
    ("没有", "木有"),
    ("什么", "啥"),
    ("怎么", "咋"),
    ("账", "帐"),
    ("登录", "登陆"),
    ("已经", "以经"),
    ("退", "腿"),
    ("发货", "发或"),
    ("我", "偶"),
    ("优惠券", "优惠卷"),
    ("券", "卷"),
    ("快递", "块递"),
    ("这", "介"),
    ("没", "莓"),
    ("知道", "造"),
    ("谢谢", "蟹蟹"),
    ("收到", "收倒"),
    ("订单", "定单"),
    ("了", "勒"),
    ("为什么", "为毛"),
    ("能", "能能"),
)
_NEXT_KEY = {
    "a": "s",
    "e": "r",
    "i": "o",
    "o": "p",
    "t": "y",
    "n": "m",
    "s": "d",
    "r": "t",
    "l": "k",
    "h": "j",
    "d": "f",
    "u": "i",
    "c": "v",
    "m": "n",
    "p": "o",
    "g": "h",
    "y": "u",
    "b": "v",
}


def shorten(text: str, draw: Draw, chinese: bool) -> str:
    """Replace one word by an abbreviation, a common misspelling or a homophone, where one fits."""
    table = _SHORT_ZH if chinese else _SHORT_EN
    start = int(draw() * len(table))
    for place in range(len(table)):
        word, short = table[(start + place) % len(table)]
        if word in text:
            return text.replace(word, short, 1)
    return text


def slip(text: str, draw: Draw) -> str:
    """Make one slip of the finger inside a word: swap, drop, double or hit the next key."""
    if len(text) < 5:
        return text
    at = 1 + int(draw() * (len(text) - 3))
    sign, following = text[at], text[at + 1]
    if not sign.isalpha() or not following.isalpha():
        return text
    kind = draw()
    if kind < 0.35:
        return text[:at] + following + sign + text[at + 2 :]
    if kind < 0.65:
        return text[:at] + text[at + 1 :]
    if kind < 0.8:
        return text[:at] + sign + text[at:]
    return text[:at] + _NEXT_KEY.get(sign, sign) + text[at + 1 :]


def type_english(text: str, draw: Draw, sloppiness: float) -> str:
    """Return an English text as a customer of the given sloppiness (0 to 1) types it."""
    style = draw()
    if style < 0.25 + 0.45 * sloppiness:
        text = text.lower()
    elif style > 0.99:
        text = text.upper()
    else:
        text = text[:1].upper() + text[1:]
    if draw() < 0.25 * sloppiness:
        text = shorten(text, draw, False)
    if draw() < 0.2 * sloppiness:
        text = slip(text, draw)
    asks = text.endswith("?")
    end = draw()
    if asks:
        if end < 0.2 + 0.5 * sloppiness:
            text = text[:-1]
        elif end > 0.96:
            text += "?"
    elif end < 0.35 - 0.25 * sloppiness:
        text += "."
    elif end > 0.95:
        text += ("!", "!!", "...", " :(", "??")[int(draw() * 5)]
    return text


def type_chinese(text: str, draw: Draw, sloppiness: float) -> str:
    """Return a Chinese text as a customer of the given sloppiness (0 to 1) types it."""
    if "，" in text and draw() < 0.2 + 0.5 * sloppiness:
        text = text.replace("，", " " if draw() < 0.5 else "")
    if draw() < 0.2 * sloppiness:
        text = shorten(text, draw, True)
    if draw() < 0.06 * sloppiness and len(text) > 6:
        at = 1 + int(draw() * (len(text) - 2))
        text = text[:at] + text[at + 1 :] if draw() < 0.5 else text[:at] + text[at - 1 :]
    end = draw()
    if end < 0.3 - 0.25 * sloppiness:
        text += "？" if text[-1] in "吗嘛么呢啥少哪久" else "。"
    elif end > 0.9:
        text += ("？", "?", "！", "～", "。。", "…", "！！", "??")[int(draw() * 8)]
    return text


def speak(text: str, draw: Draw, fillers: Callable[[], str], chinese: bool) -> str:
    """Return a text as a transcript of a telephone call writes it: no signs, filler words."""
    joint = "" if chinese else " "
    for sign in ("，", "？", "！", "。") if chinese else (",", "?", "!", "."):
        text = text.replace(sign, "")
    if not chinese:
        text = text.lower()
    if draw() < 0.5:
        text = fillers() + joint + text
    if draw() < 0.15:
        text += joint + fillers()
    return text

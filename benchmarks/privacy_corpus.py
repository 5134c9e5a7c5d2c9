"""Chat texts with personal data whose places are known, and doubles of it beside and without it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from closedloop.core.privacy import Span
from privacy_values import DECOYS, VALUES

_DECOY_TEXTS = 0.4  # share of texts without personal data
_WIDE = str.maketrans("0123456789@", "０１２３４５６７８９＠")
_WIDE_SHARE = 0.08  # of Chinese texts
# {} is the personal data, {d} something that only looks like it.
_SAID: dict[str, dict[str, tuple[str, ...]]] = {
    "en": {
        "phone": (
            "call me on {}", "my number is {}, not the old one", "{} is my cell", "tel: {}",
            "reach me at {} before {d}", "Phone {} please", "I paid {d}, ring {} if there is a problem",
            "whatsapp {}?", "mobile no. {}.", "({})", "text {} when you are at the door",
        ),
        "email": (
            "my email is {}", "send it to {}.", "{} bounced twice", "write to {} or wait {d}",
            "mail:{}", "is <{}> on file?", "the invoice for {d} goes to {}, thanks",
        ),
        "card": (
            "card {} was declined", "you charged {} twice on {d}", "my visa is {}", "use {} instead",
            "card number: {}, cvv later", "I paid {d} with {}.",
        ),
        "iban": (
            "refund to {}", "IBAN {}", "my account is {} please", "send the {d} to {}.",
            "bank details: {}, thanks a lot",
        ),
        "address": (
            "ship it to {}", "my address is {}", "deliver to {} please", "I live at {}.",
            "new address: {}", "they left it at {} on {d}", "I moved to {}, please update it",
            "address: {}, phone later",
        ),
        "order": (
            "order {} has not arrived", "order number {}", "my order no. is {}", "order #{} is late",
            "Order ID: {}", "tracking number {} shows nothing", "where is parcel {}?",
            "reference {}, paid {d}", "invoice {} is wrong", "the tracking code is {}.",
            "shipment {} was due {d}", "order: {}",
        ),
        "": (
            "it cost {d} and I bought it on {d}", "is {d} still in stock?", "{d}", "I waited since {d}",
            "the {d} is too small, do you have {d}?", "your site said {d} but I see {d}", "about {d}",
            "compare {d} with {d} please", "call me when {d} is back", "does {d} ship to my address?",
            "my order was {d}", "the address label says {d}", "order for {d}", "what is {d}?",
        ),
    },
    "zh": {
        "phone": (
            "我的电话是{}", "打{}联系我", "手机号{}，别打旧的", "{}这个号码打不通", "请回电{}谢谢",
            "收货人电话:{}", "{d}前打{}", "联系方式{}。", "手机：{}",
        ),
        "email": (
            "邮箱是{}", "发票发到{}吧", "我的邮箱{}收不到", "{}", "请发{}，谢谢", "email：{}，{d}前发",
        ),
        "card": ("卡号{}", "退到{}这张卡", "银行卡{}被扣了{d}", "我用{}付的款", "卡{}不能用"),
        "resident_id": (
            "身份证{}", "身份证号是{}", "实名认证{}不通过", "证件号：{}，{d}办的", "{}是我的身份证号",
        ),
        "address": (
            "地址是{}", "寄到{}", "收货地址：{}", "改成{}可以吗", "送到{}，谢谢", "我住在{}", "我在{}",
            "麻烦送{}", "新地址 {}", "{}，{d}前送到", "发到{}吧", "退货寄回{}吗",
        ),
        "order": (
            "订单号{}", "订单{}还没到", "单号是{}", "快递单号：{}", "运单号{}查不到", "我的订单编号{}付了{d}",
            "物流单号 {}", "帮我查下订单号{}，{d}买的", "订单号：{}",
        ),
        "": (
            "{d}还有货吗", "我{d}买的，花了{d}", "{d}", "{d}和{d}哪个好", "都等了{d}了", "怎么{d}不能用",
            "地址能改到{d}吗", "订单显示{d}", "打电话说{d}", "{d}附近有店吗", "为什么{d}要{d}", "到{d}要几天",
        ),
    },
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledText:
    """A text and where it holds which personal data."""

    text: str
    pii: tuple[Span, ...]


def labelled_texts(count: int, *, seed: int) -> Iterator[LabelledText]:
    """Yield texts, half of them English and half Chinese; a seed always gives the same."""
    rng = Random(seed)
    for number in range(count):
        language = ("en", "zh")[number % 2]
        said = _SAID[language]
        kind = "" if rng.random() < _DECOY_TEXTS else rng.choice([k for k in said if k])
        made = _filled(rng, rng.choice(said[kind]), kind, language)
        if kind and rng.random() < 0.15:  # two kinds in one text
            other = rng.choice([k for k in said if k and k != kind])
            after = _filled(rng, rng.choice(said[other]), other, language)
            joint = rng.choice((", ", ". ", "; ")) if language == "en" else rng.choice("，。 ")
            shift = len(made.text) + len(joint)
            moved = tuple(Span(s.start + shift, s.end + shift, s.kind) for s in after.pii)
            made = LabelledText(text=made.text + joint + after.text, pii=made.pii + moved)
        yield _typed(rng, made, language)


def _filled(rng: Random, template: str, kind: str, language: str) -> LabelledText:
    text, spans = "", []
    while template:
        before, brace, rest = template.partition("{")
        text += before
        if not brace:
            break
        slot, _, template = rest.partition("}")
        if slot == "d":
            text += DECOYS[language](rng)
        else:
            value = VALUES[kind][language](rng)
            spans.append(Span(len(text), len(text) + len(value), kind))
            text += value
    return LabelledText(text=text, pii=tuple(spans))


def _typed(rng: Random, made: LabelledText, language: str) -> LabelledText:
    """Change how it is typed, but no place in it."""
    text, style = made.text, rng.random()
    if language == "zh" and style < _WIDE_SHARE:
        text = text.translate(_WIDE)
    elif language == "en" and style < 0.15:
        lower = text.lower()
        text = lower if len(lower) == len(text) else text
    elif language == "en" and style < 0.5:
        text = text[:1].upper() + text[1:]
    return LabelledText(text=text, pii=made.pii)

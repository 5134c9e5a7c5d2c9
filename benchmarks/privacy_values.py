"""Personal data of people who do not exist, as written in chats around the world, and its doubles.

Made from the standards and from how shops, posts and telephone companies write their numbers; no
pattern is shared with the detectors. `VALUES` holds personal data by kind and language, `DECOYS`
what only looks like it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import yaml

from closedloop.data.simulate import personal
from closedloop.data.simulate.personal import luhn_digit

Maker = Callable[[Random], str]

_DATA: dict[str, Any] = yaml.safe_load(
    Path(__file__).with_name("privacy_corpus.yaml").read_text(encoding="utf-8")
)
_WORDS: dict[str, list[str]] = _DATA["words"]
SAID: dict[str, dict[str, list[str]]] = _DATA["said"]


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


def _of(shapes: Sequence[str]) -> Maker:
    return lambda rng: fill(rng, rng.choice(shapes))


def _phone_en(rng: Random) -> str:
    if rng.random() < 0.45:
        area, office = rng.choice(("212", "305", "415", "617", "702")), rng.choice("23456789")
        shape = rng.choice(
            (
                "({a}) {o}-####",
                "{a}-{o}-####",
                "{a}.{o}.####",
                "{a} {o} ####",
                "{a}{o}####",
                "+1 ({a}) {o}-####",
                "+1-{a}-{o}-####",
                "1 {a} {o} ####",
                "({a}){o}-####",
                "+1{a}{o}####",
                "001 {a} {o} ####",
                "{a}/{o}-####",
            )
        )
        return fill(rng, shape.format(a=area, o=office + rng.choice("02345678") + "7"))
    if rng.random() < 0.5:
        return fill(rng, rng.choice(_DATA["national"]))
    code = rng.choice(list(_DATA["dial"]))
    national = fill(rng, rng.choice(_DATA["dial"][code]))
    code = code.replace("+", "00") if rng.random() < 0.15 else code
    return code + rng.choice((" ", " ", "-", "")) + national


def _phone_zh(rng: Random) -> str:
    start = "1" + rng.choice("35789") + rng.choice("0123456789")
    return fill(
        rng,
        rng.choice(
            (
                f"{start}########",
                f"{start}########",
                f"{start} #### ####",
                f"{start}-####-####",
                f"{start}.####.####",
                f"{start}# #### ###",
                f"{start}#-####-###",
                f"+86 {start} #### ####",
                f"0086{start}########",
                f"86-{start}########",
                f"(+86){start}########",
                f"{start}#### ####",
                f"{start}## ######",
                "010-6#######",
                "(0755)8#######",
                "0571 8### ####",
                "021—6#######",
                "0531-8#######转80#",
                "0769-2#######",
                "400-8##-####",
                "400 8## ####",
            )
        ),
    )


def _email(rng: Random) -> str:
    first, last = rng.choice(_WORDS["first"]), rng.choice(_WORDS["last"])
    first = first.replace("ü", "ue")
    name = rng.choice(
        (
            f"{first}.{last}",
            f"{first[0]}{last}",
            f"{first}_{last}##",
            f"{first}+shop",
            f"{last}-#",
            f"{first}##",
            "1########",
            f"{first}.{last[0]}.{last}",
            f"x{first}%{last}",
        )
    )
    address = fill(rng, f"{name}@{rng.choice(_WORDS['hosts'])}")
    return address if rng.random() < 0.2 else address.lower()


def _card(rng: Random) -> str:
    prefix, length, sizes = rng.choice(
        (
            ("4", 16, (4, 4, 4)),
            ("4", 13, (4, 3, 3)),
            ("52", 16, (4, 4, 4)),
            ("2345", 16, (4,) * 3),
            ("37", 15, (4, 6)),
            ("36", 14, (4, 6)),
            ("3530", 16, (4, 4, 4)),
            ("6011", 16, (4,) * 3),
            ("6212", 16, (4, 4, 4)),
            ("6225", 19, (4, 4, 4, 4)),
            ("621483", 19, (6,)),
            ("6759", 18, (4, 4, 4, 4)),
        )
    )
    body = prefix + fill(rng, "#" * (length - len(prefix) - 1))
    number = body + luhn_digit(body)
    mark = rng.choice(("", "", " ", " ", "-"))
    pieces, at = [], 0
    for size in sizes if mark else ():
        pieces.append(number[at : at + size])
        at += size
    return mark.join([*pieces, number[at:]])


def _iban(rng: Random) -> str:
    country = rng.choice(list(_DATA["iban"]))
    account = fill(rng, _DATA["iban"][country])
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


def _address(language: str) -> Maker:
    shapes: list[str] = _DATA["addresses"][language]
    names = [name for name in _WORDS if name in "".join(shapes)]

    def make(rng: Random) -> str:
        words = {name: rng.choice(_WORDS[name]) for name in names}
        return fill(rng, rng.choice(shapes).format(**words))

    return make


VALUES: dict[str, dict[str, Maker]] = {
    "phone": {"en": _phone_en, "zh": _phone_zh},
    "email": {"en": _email, "zh": _email},
    "card": {"en": _card, "zh": _card},
    "resident_id": {"zh": _resident_id},
    "iban": {"en": _iban},
    "address": {"en": _address("en"), "zh": _address("zh")},
    "order": {language: _of(shapes) for language, shapes in _DATA["orders"].items()},
}
DECOYS: dict[str, Maker] = {language: _of(shapes) for language, shapes in _DATA["decoys"].items()}

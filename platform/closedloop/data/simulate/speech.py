"""One customer's turn put into words: the phrase, the way to type it, the personal data in it."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import NamedTuple

from closedloop.core.privacy import Span
from closedloop.data.simulate import noise, personal
from closedloop.data.simulate.catalogue import Language
from closedloop.data.simulate.grammar import expand
from closedloop.data.simulate.values import VALUES

# Which personal data customers give away when they talk about a domain, the likelier more often.
_PERSONAL = {
    "orders": ("order", "order", "order", "address", "phone", "several"),
    "delivery": ("address", "phone", "order", "address", "several"),
    "received": ("order", "order", "phone", "address"),
    "returns": ("order", "iban", "phone", "address", "card", "several"),
    "promotions": ("phone", "order", "email"),
    "payment": ("card", "card", "order", "iban", "email"),
    "account": ("email", "phone", "resident_id", "phone", "email"),
    "products": ("phone", "email"),
    "service": ("phone", "order", "address", "email"),
    "burst": ("order", "phone", "order", "email"),
}
# What comes after a question now and then, by rule of the lexicon; details tell nothing of intent.
_TAILS = ("detail", "detail", "detail", "please", "urge")


class Manner(NamedTuple):
    """Who talks about what: the same through a dialogue."""

    product: str
    # Everything the tenant sells, to compare with.
    products: tuple[str, ...]
    # How carelessly the customer types, 0 to 1.
    sloppiness: float
    # Whether the turn is the transcript of a telephone call.
    spoken: bool


class Utterance(NamedTuple):
    """What was typed, and where the personal data in it is."""

    text: str
    pii: tuple[Span, ...]


class Speaker:
    """Puts turns into words in one language.

    Parameters
    ----------
    language : Language
        The compiled phrases.
    rng : Random
        Where every choice comes from.
    pii_share : float
        Part of turns that carry personal data.
    """

    def __init__(self, language: Language, rng: Random, pii_share: float) -> None:
        self._manner = Manner("", (), 0.0, False)
        self._language = language
        self._chinese = language.code == "zh"
        self._rng = rng
        self._draw = rng.random
        self._pii_share = pii_share
        self._values = VALUES[language.code]
        self._type: Callable[[str, Callable[[], float], float], str] = (
            noise.type_chinese if self._chinese else noise.type_english
        )

    def question(
        self, intent: str, domain: str, manner: Manner, *, opening: bool, again: bool
    ) -> Utterance:
        """Say a whole question; ``opening`` may greet first, ``again`` says it in other words."""
        draw = self._draw
        phrases = self._language.phrases[intent]
        pieces: list[str] = []
        self._manner = manner
        if opening:
            if draw() < 0.18:
                self._say(self._language.lexicon["hello"], pieces)
                pieces.append(self._joint())
        elif again and draw() < 0.45:
            self._say(self._language.lexicon["rephrase"], pieces)
            pieces.append("" if self._chinese else " ")
        if phrases.before is not None and draw() < 0.15:
            self._say(phrases.before, pieces)
            pieces.append(self._joint())
        self._say(phrases.say, pieces)
        if draw() < 0.24 and domain != "talk" and intent != "human_agent":
            self._tail(pieces)
        return self._finish(pieces, domain)

    def brief(self, intent: str, domain: str, manner: Manner) -> Utterance:
        """Say a short follow-up that leans on what was said before."""
        pieces: list[str] = []
        self._manner = manner
        self._say(self._language.phrases[intent].brief, pieces)
        return self._finish(pieces, domain)

    def nudge(self, domain: str, manner: Manner) -> Utterance:
        """Say something that means nothing without the dialogue."""
        pieces: list[str] = []
        self._manner = manner
        self._say(self._language.lexicon["nudge"], pieces)
        return self._finish(pieces, domain)

    def answer(self) -> Utterance:
        """Say what an assistant says."""
        pieces: list[str] = []
        self._say(self._language.lexicon["answer"], pieces)
        return Utterance("".join(pieces), ())

    def _say(self, node: object, pieces: list[str]) -> None:
        expand(node, self._draw, self._fill, pieces)

    def _fill(self, slot: str) -> str:
        if slot == "product":
            return self._manner.product
        table = self._manner.products if slot == "other" else self._values[slot]
        return table[int(self._draw() * len(table))]

    def _joint(self) -> str:
        if self._chinese:
            return "，" if self._draw() < 0.7 else " "
        return (", ", ". ", " ", ", ", " - ")[int(self._draw() * 5)]

    def _tail(self, pieces: list[str]) -> None:
        end = pieces[-1]
        pieces.append(self._joint() if self._chinese or not end.endswith("?") else " ")
        self._say(self._language.lexicon[_TAILS[int(self._draw() * len(_TAILS))]], pieces)

    def _finish(self, pieces: list[str], domain: str) -> Utterance:
        text = "".join(pieces)
        if "  " in text or text[:1] == " " or text[-1:] == " ":
            text = " ".join(text.split())
        if " ," in text or " ?" in text:
            text = text.replace(" ,", ",").replace(" ?", "?")
        if self._manner.spoken:
            text = noise.speak(text, self._draw, self._filler, self._chinese)
        else:
            text = self._type(text, self._draw, self._manner.sloppiness)
        if self._draw() < self._pii_share and domain in _PERSONAL:
            return self._give_away(text, domain)
        return Utterance(text, ())

    def _filler(self) -> str:
        pieces: list[str] = []
        self._say(self._language.lexicon["filler"], pieces)
        return "".join(pieces)

    def _give_away(self, text: str, domain: str) -> Utterance:
        kinds = _PERSONAL[domain]
        clause = self._language.personal[kinds[int(self._draw() * len(kinds))]]
        pieces: list[str] = []
        marks: list[tuple[int, str]] = []

        def fill(slot: str) -> str:
            if slot not in personal.KINDS:
                return self._fill(slot)
            marks.append((len(pieces), slot))
            return personal.KINDS[slot](self._rng, self._language.code)

        expand(clause, self._draw, fill, pieces)
        first = self._draw() < 0.25
        joint = ("，" if self._chinese else ", ") if text[-1] not in ".?!。？！" or first else " "
        at = 0 if first else len(text) + len(joint)
        spans = []
        for place, piece in enumerate(pieces):
            if marks and marks[0][0] == place:
                spans.append(Span(at, at + len(piece), marks.pop(0)[1]))
            at += len(piece)
        given = "".join(pieces)
        return Utterance(given + joint + text if first else text + joint + given, tuple(spans))

"""Chat texts with personal data whose places are known, and doubles of it beside and without it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from privacy_values import DECOYS, SAID, VALUES

from closedloop.core.privacy import Span

_NOTHING = "nothing"
_DECOY_TEXTS = 0.4  # share of texts without personal data
_WIDE = str.maketrans("0123456789@", "０１２３４５６７８９＠")
_WIDE_SHARE = 0.08  # of Chinese texts


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
        said = SAID[language]
        kinds = [kind for kind in said if kind != _NOTHING]
        kind = _NOTHING if rng.random() < _DECOY_TEXTS else rng.choice(kinds)
        made = _filled(rng, rng.choice(said[kind]), kind, language)
        if kind != _NOTHING and rng.random() < 0.15:  # two kinds in one text
            other = rng.choice([each for each in kinds if each != kind])
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

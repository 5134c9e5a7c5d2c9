"""The terms that a condition may be made of: what a rising issue's texts have in common.

Words and pairs of neighbouring words; a word with an asterisk where longer forms of it occur, too;
and in Chinese the runs of two to six characters that are *closed*: a run that only ever occurs
within one longer run says less than that one, which is what a person would call the word.
Personal data is masked, and what stands in its place is no term.

References
----------
Pasquier, N., Bastide, Y., Taouil, R., Lakhal, L. (1999). Discovering frequent closed itemsets for
association rules. ICDT.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from closedloop.defence.rules.expression import Term
from closedloop.samples.terms import HAN

_PART = re.compile(rf"<[a-z_]+>|[{HAN}]+|[^\W_{HAN}]+(?:['’-][^\W_{HAN}]+)*|[^\w\s]+")
_HAN_FIRST = re.compile(rf"[{HAN}]")
_LONGEST_GRAM = 6
_MOST = 400
# A word of so many letters may take up to so many more: coupon, coupons; deliver, delivered.
_STEM_LETTERS, _ENDING_LETTERS = 4, 3
# No word of Chinese begins or ends with these, but for a 了 that ends one.
_NEITHER_END = frozenset("的我你您他她它们在和就也都是吗呢吧呀啊哦")
_NOT_FIRST = _NEITHER_END | frozenset("了着过")
_ENGLISH = """
a about after again all am an and any are as at be because been before being but by can could did
do does doing for from get give had has have having he hello help her hi him his how i if in into
is it its just know let like me more my need no not of off on or our out please she should so some
still tell than thanks that the their them then there these they this those to too up us very want
was we were what when where which who why will with would yes you your i'm it's i've don't can't
"""
_CHINESE = (
    *("可以", "什么", "怎么", "为什么", "没有", "不是", "如何", "多少", "请问", "我们", "你们"),
    *("这个", "那个", "一下", "一个", "一点", "哪里", "是不", "能不", "不能", "怎么办"),
)
_FUNCTION_WORDS = frozenset((*_ENGLISH.split(), *_CHINESE))


def candidate_terms(texts: Sequence[str], *, least: int) -> list[Term]:
    """Return the terms of at least so many texts, those of most texts first.

    Parameters
    ----------
    texts : sequence of str
        Normalised.
    least : int
        In how many of them a term must be.

    Examples
    --------
    >>> [str(term) for term in candidate_terms(["券用不了", "零点券用不了"], least=2)]
    ['券用不了']
    """
    words: Counter[str] = Counter()
    phrases: Counter[str] = Counter()
    grams: Counter[str] = Counter()
    for text in texts:
        own_words, own_phrases, own_grams = _of(text)
        words.update(own_words)
        phrases.update(own_phrases)
        grams.update(own_grams)
    counts = Counter({Term(word): n for word, n in words.items() if n >= least})
    for phrase, n in phrases.items():
        if n >= least and not all(word in _FUNCTION_WORDS for word in phrase.split()):
            counts[Term(phrase)] = n
    counts.update(_prefixes(words, least=least))
    counts.update({Term(gram): n for gram, n in _closed(grams, least=least).items()})
    order = sorted(counts.items(), key=lambda item: (-item[1], item[0].text, item[0].is_prefix))
    return [term for term, _ in order[:_MOST]]


def has_content(term: Term) -> bool:
    """Tell whether a term says anything alone.

    Examples
    --------
    >>> has_content(Term("the")), has_content(Term("coupon"))
    (False, True)
    """
    return term.text not in _FUNCTION_WORDS and not (len(term.text) == 1 and term.text.isascii())


def _of(text: str) -> tuple[set[str], set[str], set[str]]:
    """Return words, phrases of two words, and runs of Chinese characters of a text."""
    words: set[str] = set()
    grams: set[str] = set()
    row: list[str] = []  # words with nothing but blanks between
    phrases: set[str] = set()
    last_end = 0
    for found in _PART.finditer(text):
        part = found[0]
        if part[0] == "<" and part[-1] == ">":
            row = []
        elif _HAN_FIRST.match(part):
            row = []
            grams.update(
                part[start : start + size]
                for size in range(2, min(_LONGEST_GRAM, len(part)) + 1)
                for start in range(len(part) - size + 1)
            )
        elif part[0].isalnum():
            if row and text[last_end : found.start()] != " ":
                row = []
            if any(character.isalpha() for character in part):
                words.add(part)
            row.append(part)
            phrases.update(f"{a} {b}" for a, b in pairwise(row[-2:]))
        else:
            row = []
        last_end = found.end()
    return words, phrases, grams


def _prefixes(words: Counter[str], *, least: int) -> dict[Term, int]:
    """Return stems with an asterisk and how many texts have one of their forms, at most."""
    found: dict[Term, int] = {}
    ordered = sorted(words)
    for place, stem in enumerate(ordered):
        if len(stem) < _STEM_LETTERS or not stem.isascii() or stem in _FUNCTION_WORDS:
            continue
        total, forms = words[stem], 1
        for word in ordered[place + 1 :]:
            if not word.startswith(stem):
                break
            if len(word) - len(stem) <= _ENDING_LETTERS:
                total, forms = total + words[word], forms + 1
        if forms > 1 and total >= least:
            found[Term(stem, is_prefix=True)] = total
    return found


def _closed(grams: Counter[str], *, least: int) -> dict[str, int]:
    frequent = {gram: n for gram, n in grams.items() if n >= least}
    within = {
        part
        for gram, n in frequent.items()
        if len(gram) > 2
        for part in (gram[1:], gram[:-1])
        if frequent.get(part) == n
    }
    return {
        gram: n
        for gram, n in frequent.items()
        if gram not in within
        and gram[0] not in _NOT_FIRST
        and gram[-1] not in _NEITHER_END
        and not (len(gram) == 2 and gram[1] == "了")
    }

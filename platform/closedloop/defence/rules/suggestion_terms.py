"""The terms that a condition may be made of: what a rising issue's texts have in common.

Words and pairs of neighbouring words; a word with an asterisk where longer forms of it occur, too;
and in Chinese one to three neighbouring words as jieba cuts them, which knows few names of the day
but cuts nothing in the middle of a word. Of these only the *closed* ones: what only ever occurs
within one longer term says less than that. Personal data is masked, and what stands in its place
is no term.

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
from closedloop.samples.keywords import words as segmented
from closedloop.samples.terms import HAN

_PART = re.compile(rf"<[a-z_]+>|[{HAN}]+|[^\W_{HAN}]+(?:['’-][^\W_{HAN}]+)*|[^\w\s]+")
_HAN_FIRST = re.compile(rf"[{HAN}]")
_MOST_WORDS, _MOST_HAN = 3, 8  # of a Chinese term, and characters
_MOST, _LONGEST = 400, 40  # terms, and characters of one that a person likes to read
# A word of so many letters may take up to so many more: coupon, coupons; deliver, delivered.
_STEM_LETTERS, _ENDING_LETTERS = 4, 3
_ENGLISH = """
a about after again all am an and any are as at be because been before being but by can could did
do does doing for from get give had has have having he hello help her hi him his how i if in into
is it its just know let like me more my need no not of off on or our out please she should so some
still tell than thanks that the their them then there these they this those to too up us very want
was we were what when where which who why will with would yes you your i'm it's i've don't can't
"""
_CHINESE = (
    *("可以", "什么", "怎么", "为什么", "没有", "不是", "如何", "多少", "请问", "我们", "你们"),
    *("这个", "那个", "一下", "一个", "一点", "哪里", "不能", "怎么办", "然后", "真的"),
    *("你好", "您好", "谢谢", "是不是", "不了", "不了了", "大家", "开始", "现在", "还是", "已经"),
    *"的了着过我你您他她它在和就也都还又要会能说是吗呢吧呀啊哦被把给让",
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
    >>> [str(term) for term in candidate_terms(["优惠券失效", "零点优惠券失效"], least=2)]
    ['优惠券失效']
    """
    words: Counter[str] = Counter()
    phrases: Counter[str] = Counter()
    runs: Counter[tuple[str, ...]] = Counter()
    for text in texts:
        own_words, own_phrases, own_runs = _of(text)
        words.update(own_words)
        phrases.update(own_phrases)
        runs.update(own_runs)
    counts = Counter({Term(word): n for word, n in words.items() if n >= least})
    for phrase, n in phrases.items():
        if n >= least and not all(word in _FUNCTION_WORDS for word in phrase.split()):
            counts[Term(phrase)] = n
    counts.update(_prefixes(words, least=least))
    counts |= Counter({Term(run): n for run, n in _closed(runs, least=least).items()})
    order = sorted(counts.items(), key=lambda item: (-item[1], item[0].text, item[0].is_prefix))
    return [term for term, _ in order if len(term.text) <= _LONGEST][:_MOST]


def has_content(term: Term) -> bool:
    """Tell whether a term says anything alone.

    Examples
    --------
    >>> has_content(Term("the")), has_content(Term("coupon"))
    (False, True)
    """
    return term.text not in _FUNCTION_WORDS and not (len(term.text) == 1 and term.text.isascii())


def _of(text: str) -> tuple[set[str], set[str], set[tuple[str, ...]]]:
    """Return words, phrases of two words, and runs of Chinese words of a text."""
    words: set[str] = set()
    runs: set[tuple[str, ...]] = set()
    row: list[str] = []  # words with nothing but blanks between
    phrases: set[str] = set()
    last_end = 0
    for found in _PART.finditer(text):
        part = found[0]
        if part[0] == "<" and part[-1] == ">":
            row = []
        elif _HAN_FIRST.match(part):
            row = []
            cut = segmented(part)
            runs.update(
                tuple(cut[start : start + size])
                for size in range(1, _MOST_WORDS + 1)
                for start in range(len(cut) - size + 1)
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
    return words, phrases, runs


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


def _closed(runs: Counter[tuple[str, ...]], *, least: int) -> dict[str, int]:
    frequent = {run: n for run, n in runs.items() if n >= least and _is_term(run)}
    within = {
        part
        for run, n in frequent.items()
        for size in range(1, len(run))
        for part in (run[:size], run[-size:])
        if frequent.get(part) == n
    }
    found: dict[str, int] = {}
    for run, n in frequent.items():
        if run not in within:
            term = "".join(run)
            found[term] = max(n, found.get(term, 0))
    return found


def _is_term(run: tuple[str, ...]) -> bool:
    """Tell whether Chinese words say something without a particle hanging on either end."""
    first, last = run[0], run[-1]
    return (
        1 < sum(map(len, run)) <= _MOST_HAN
        and first not in _FUNCTION_WORDS
        and (last not in _FUNCTION_WORDS or last == "了")
    )

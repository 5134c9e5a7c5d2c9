"""Finds every term of every rule in a text, in one pass over it (Aho and Corasick, 1975)."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import ahocorasick

from closedloop.defence.rules.expression import Term

# Scripts that set no blanks between words, or none before particles, by the first word of their
# letters' Unicode names.
_UNSPACED = (
    *("CJK", "HIRAGANA", "KATAKANA", "HALFWIDTH", "BOPOMOFO", "HANGUL"),
    *("THAI", "LAO", "KHMER", "MYANMAR"),
)


class TermIndex:
    """Terms, to be found in normalised texts.

    Examples
    --------
    >>> index = TermIndex([Term("art"), Term("优惠券"), Term("coupon", is_prefix=True)])
    >>> sorted(term.text for term in index.found_in("cart coupons 用优惠券"))
    ['coupon', '优惠券']
    """

    def __init__(self, terms: Iterable[Term]) -> None:
        by_text: dict[str, list[Term]] = {}
        for term in dict.fromkeys(terms):
            by_text.setdefault(term.text, []).append(term)
        self._automaton: Any = ahocorasick.Automaton()
        for text, same in by_text.items():
            spaced = (_is_spaced(text[0]), _is_spaced(text[-1]))
            self._automaton.add_word(text, (len(text), *spaced, tuple(same)))
        self._empty = not by_text
        if by_text:
            self._automaton.make_automaton()

    def found_in(self, text: str) -> set[Term]:
        """Return the terms that a normalised text has."""
        return {term for term, _, _ in self.spans(text)}

    def spans(self, text: str) -> Iterator[tuple[Term, int, int]]:
        """Yield every place of every term: it, where it begins and behind its end."""
        if self._empty:
            return
        for last, (length, spaced_start, spaced_end, same) in self._automaton.iter(text):
            start, end = last + 1 - length, last + 1
            if spaced_start and start and _is_spaced(text[start - 1]):
                continue
            goes_on = spaced_end and end < len(text) and _is_spaced(text[end])
            for term in same:
                if term.is_prefix or not goes_on:
                    yield term, start, end


@lru_cache(maxsize=8_192)
def _is_spaced(character: str) -> bool:
    """Tell whether a character is part of a word that blanks or punctuation end."""
    if not character.isalnum():
        return unicodedata.combining(character) != 0
    return character.isascii() or not unicodedata.name(character, "").startswith(_UNSPACED)

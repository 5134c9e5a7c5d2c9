"""The hashes of a short text's terms, put together from what is remembered of its words.

What a single request waits for is a few dozen small array operations, none of which has much to
do. Customers write the same words again and again; what a word adds is kept, and a text costs a
look-up for each of its words. A text that is long, or that sets no blanks, is taken apart anew.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from closedloop.models.lean.analysis import Analyser, Grams, Words
from closedloop.models.lean.hashing import BASE, Hashes, hashes_of

_SHORT_TEXT = 400  # characters
_SHORT_WORD = 16  # characters; longer ones are seldom written twice
_WORDS = 1 << 15  # remembered for each way to take a word apart, some hundred bytes each
_MODULUS_BITS = (1 << 64) - 1
_BLANK = ord(" ") + 1  # as it counts in a hash


def term_hashes(analyser: Analyser, text: str) -> Hashes:
    """Return the hashes of a text's terms, in any order; the array is the caller's.

    Examples
    --------
    >>> pairs = Words(pattern=r"\\w+", least=2, most=2)
    >>> bool(term_hashes(pairs, "my order")[0] == hashes_of(["my order"])[0])
    True
    """
    if len(text) <= _SHORT_TEXT:
        if isinstance(analyser, Words):
            found = _of_words(analyser, text)
        else:
            found = _of_grams(analyser, text)
        if found is not None:
            return found
    return analyser.terms((text,)).hashes


def _of_words(analyser: Words, text: str) -> Hashes | None:
    words = analyser.words(text)
    if not all(words):  # a pattern that matches nothing at all makes empty words
        return None
    known = [_word(word) for word in words]
    runs = [whole for whole, _ in known]
    hashes = runs.copy() if analyser.least == 1 else []
    for size in range(2, min(analyser.most, len(words)) + 1):
        # A run and one word more: what stood before moves up by a blank and that word.
        runs = [
            ((run * BASE + _BLANK) * power + whole) & _MODULUS_BITS
            for run, (whole, power) in zip(runs, known[size - 1 :], strict=False)
        ]
        if size >= analyser.least:
            hashes += runs
    return np.array(hashes, dtype=np.uint64)


def _of_grams(analyser: Grams, text: str) -> Hashes | None:
    if not analyser.within_words:
        return None
    remembered = _grams_of_word(
        analyser.least, analyser.most, analyser.short_words_whole, analyser.lone_blanks
    )
    parts = [
        remembered(word) if len(word) <= _SHORT_WORD else analyser.terms((word,)).hashes
        for word in text.split()
    ]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.uint64)


@lru_cache(maxsize=_WORDS)
def _word(word: str) -> tuple[int, int]:
    """Return a word's hash, and by what a hash grows that the word comes behind."""
    return int(hashes_of([word])[0]), pow(BASE, len(word), _MODULUS_BITS + 1)


@lru_cache(maxsize=64)
def _grams_of_word(
    least: int, most: int, short_words_whole: bool, lone_blanks: bool
) -> Callable[[str], Hashes]:
    """Return what gives the hashes of a word's grams, and remembers them."""
    analyser = Grams(
        least=least, most=most, short_words_whole=short_words_whole, lone_blanks=lone_blanks
    )

    @lru_cache(maxsize=_WORDS)
    def grams(word: str) -> Hashes:
        return analyser.terms((word,)).hashes

    return grams

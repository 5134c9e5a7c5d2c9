"""Texts taken apart into words or character n-grams, as spans with their hashes.

The analysers do what scikit-learn's ``TfidfVectorizer`` and the platform's own
:mod:`closedloop.samples.terms` do, for all texts of a batch in one go.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import chain

import numpy as np
import numpy.typing as npt

from closedloop.models.lean.hashing import Hashes, Offsets, Prefixes
from closedloop.samples.normal_form import normalise

_SPACES = re.compile(r"\s\s+")
_BLANK = ord(" ")
_SHORT = 400  # characters of a text whose spans are remembered


class Preparation(StrEnum):
    """What is done to a text before it is taken apart."""

    NOTHING = "nothing"
    LOWER = "lower"
    NORMAL = "normal"  # the platform's own form: NFKC, case folded, single blanks
    UNACCENT = "unaccent"  # scikit-learn's strip_accents="unicode"
    LOWER_UNACCENT = "lower-unaccent"

    def of_one(self, text: str) -> str:
        """Return a text as prepared."""
        return _PREPARED[self](text)

    def of(self, texts: Sequence[str]) -> list[str]:
        """Return the texts as prepared."""
        return [_PREPARED[self](text) for text in texts]


def _unaccented(text: str) -> str:
    if text.isascii():
        return text
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(c for c in decomposed if not unicodedata.combining(c))


_PREPARED: dict[Preparation, Callable[[str], str]] = {
    Preparation.NOTHING: str,
    Preparation.LOWER: str.lower,
    Preparation.NORMAL: normalise,
    Preparation.UNACCENT: _unaccented,
    Preparation.LOWER_UNACCENT: lambda text: _unaccented(text.lower()),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """All terms of a batch of texts: term ``i`` is ``joined[starts[i]:ends[i]]``."""

    joined: str
    starts: Offsets
    ends: Offsets
    hashes: Hashes
    documents: npt.NDArray[np.intp] | None  # which text each term is of; None: the only one


@dataclass(frozen=True, kw_only=True, slots=True)
class Words:
    """Runs of neighbouring words.

    Parameters
    ----------
    pattern : str
        Regular expression of a word; its one group, where it has one, is the word.
    least, most : int
        Words in a run.
    stop : frozenset of str
        Words left out before runs are made.
    """

    pattern: str
    least: int = 1
    most: int = 1
    stop: frozenset[str] = frozenset()

    def words(self, text: str) -> list[str]:
        """Return a text's words, without those left out."""
        found: list[str] = _compiled(self.pattern).findall(text)
        return [word for word in found if word not in self.stop] if self.stop else found

    def terms(self, texts: Sequence[str]) -> Terms:
        """Take texts apart."""
        found = [self.words(text) for text in texts]
        words = list(chain.from_iterable(found))
        # Joined by blanks, a run of words is a span of the text, whatever stood between them.
        joined = " ".join(words)
        lengths = np.fromiter(map(len, words), dtype=np.intp, count=len(words))
        ends = np.cumsum(lengths + 1) - 1
        starts = ends - lengths
        documents = None
        if len(texts) > 1:
            documents = np.repeat(np.arange(len(texts)), [len(words) for words in found])
        runs = [
            _run(starts, ends, documents, size)
            for size in range(self.least, min(self.most, len(words)) + 1)
        ]
        return _terms(joined, Prefixes(joined), runs)


@dataclass(frozen=True, kw_only=True, slots=True)
class Grams:
    """Character n-grams.

    Parameters
    ----------
    least, most : int
        Characters of a gram.
    within_words : bool
        Whether no gram crosses from one word to the next; a word then has a blank at each end.
    short_words_whole : bool
        Whether a word shorter than ``least`` counts as one gram (scikit-learn's ``char_wb``).
    lone_blanks : bool
        Whether the blank at a word's end is a gram of its own.
    """

    least: int
    most: int
    within_words: bool = True
    short_words_whole: bool = True
    lone_blanks: bool = True

    def terms(self, texts: Sequence[str]) -> Terms:
        """Take texts apart."""
        if self.within_words:
            split = [text.split() for text in texts]
            pieces = [f" {word} " for word in chain.from_iterable(split)]
            counts = [len(words) for words in split]
        else:
            pieces = [_SPACES.sub(" ", text) for text in texts]
            counts = [1] * len(texts)
        joined = "".join(pieces)
        prefixes = Prefixes(joined)
        lengths = np.fromiter(map(len, pieces), dtype=np.intp, count=len(pieces))
        piece = np.repeat(np.arange(len(pieces)), lengths)
        starts, ends = self._spans(prefixes, piece)
        if self.within_words and self.short_words_whole and (lengths < self.least).any():
            last = np.cumsum(lengths)
            short = lengths < self.least
            starts = np.concatenate([starts, (last - lengths)[short]])
            ends = np.concatenate([ends, last[short]])
        documents = None
        if len(texts) > 1:
            documents = np.repeat(np.arange(len(texts)), counts)[piece[starts]]
        return _terms(joined, prefixes, [(starts, ends, documents)])

    def _spans(self, prefixes: Prefixes, piece: Offsets) -> tuple[Offsets, Offsets]:
        total = len(prefixes)
        known = _short_spans if total <= _SHORT else _all_spans
        starts, ends = known(total, self.least, self.most)
        whole = piece[ends - 1] == piece[starts]
        if not self.lone_blanks:
            whole &= (ends - starts > 1) | (prefixes.characters[starts] != _BLANK)
        return starts[whole], ends[whole]


Analyser = Words | Grams
_Run = tuple[Offsets, Offsets, "Offsets | None"]


def _all_spans(total: int, least: int, most: int) -> tuple[Offsets, Offsets]:
    """Return starts and ends of all spans of a text of so many characters."""
    starts = np.repeat(np.arange(total), most - least + 1)
    ends = starts + np.tile(np.arange(least, most + 1), total)
    inside = ends <= total
    return starts[inside], ends[inside]


_short_spans = lru_cache(maxsize=2 * _SHORT)(_all_spans)  # a few kilobytes each


def _run(starts: Offsets, ends: Offsets, documents: Offsets | None, size: int) -> _Run:
    first, last = slice(0, len(starts) - size + 1), slice(size - 1, None)
    if documents is None:
        return starts[first], ends[last], None
    same = documents[first] == documents[last]
    return starts[first][same], ends[last][same], documents[first][same]


def _terms(joined: str, prefixes: Prefixes, runs: Sequence[_Run]) -> Terms:
    documents: Offsets | None
    if len(runs) == 1:
        ((starts, ends, documents),) = runs
    elif runs:
        starts = np.concatenate([run[0] for run in runs])
        ends = np.concatenate([run[1] for run in runs])
        owners = [run[2] for run in runs if run[2] is not None]
        documents = np.concatenate(owners) if owners else None
    else:
        starts = ends = np.zeros(0, dtype=np.intp)
        documents = None
    filled = ends > starts
    if not filled.all():  # a pattern that matches nothing at all makes empty words
        starts, ends = starts[filled], ends[filled]
        documents = None if documents is None else documents[filled]
    return Terms(
        joined=joined,
        starts=starts,
        ends=ends,
        hashes=prefixes.hashes(starts, ends),
        documents=documents,
    )


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)

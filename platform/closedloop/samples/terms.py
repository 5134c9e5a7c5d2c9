"""TF-IDF of words or of character n-grams, light enough for one text at a time.

The weights are those of scikit-learn's ``TfidfVectorizer`` with ``sublinear_tf``; its per-call
checks, of no matter for a corpus, cost a served request ten times the work itself.

References
----------
Salton, G., Buckley, C. (1988). Term-weighting approaches in automatic text retrieval.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

HAN = "㐀-䶿一-鿿豈-﫿"
WORD = re.compile(rf"[{HAN}]|[^\W{HAN}]+")
LONGEST_GRAM = 5
_MIN_COUNT_FROM_TEXTS = 1_000

Analyser = Callable[[str], list[str]]


def word_terms(text: str) -> list[str]:
    """Words and pairs of neighbours; a Han character counts as a word.

    Examples
    --------
    >>> word_terms("my 订单")
    ['my', '订', '单', 'my 订', '订 单']
    """
    words = WORD.findall(text)
    return words + [f"{left} {right}" for left, right in pairwise(words)]


def character_terms(text: str) -> list[str]:
    """Character n-grams of 1 to 5 within each blank-separated run, its borders marked by blanks.

    Examples
    --------
    >>> character_terms("ab")[:6]
    ['a', 'b', ' a', 'ab', 'b ', ' ab']
    """
    terms: list[str] = []
    for run in text.split():
        terms += run
        padded = f" {run} "
        for size in range(2, min(LONGEST_GRAM, len(padded)) + 1):
            terms += [padded[i : i + size] for i in range(len(padded) - size + 1)]
    return terms


class TermWeighter:
    """Learns a vocabulary with inverse document frequencies, and weighs texts by it.

    Parameters
    ----------
    analyse : callable
        Splits a text in terms.
    max_terms : int
        Ceiling of the vocabulary; the terms of most texts stay.
    """

    def __init__(self, analyse: Analyser, *, max_terms: int = 60_000) -> None:
        self._analyse = analyse
        self._max_terms = max_terms
        self._index: dict[str, int] = {}
        self._idf = np.zeros(0, dtype=np.float32)

    def __len__(self) -> int:
        return len(self._index)

    def fit(self, texts: Sequence[str]) -> TermWeighter:
        """Learn from texts how rare each term is."""
        frequency: Counter[str] = Counter()
        for text in texts:
            frequency.update(set(self._analyse(text)))
        # A term seen once says nothing of the next text, but a small log cannot spare any.
        least = 2 if len(texts) >= _MIN_COUNT_FROM_TEXTS else 1
        kept = [(count, term) for term, count in frequency.items() if count >= least]
        kept.sort(key=lambda item: (-item[0], item[1]))
        del kept[self._max_terms :]
        self._index = {term: i for i, (_, term) in enumerate(kept)}
        counts = np.asarray([count for count, _ in kept], dtype=np.float64)
        self._idf = (np.log((1 + len(texts)) / (1 + counts)) + 1).astype(np.float32)
        return self

    def transform(self, texts: Sequence[str]) -> sp.csr_matrix:
        """Weigh texts: (texts, terms), rows of unit length, unknown terms left out."""
        indices: list[int] = []
        data: list[float] = []
        indptr = [0]
        index, idf = self._index, self._idf
        for text in texts:
            counts = Counter(index[term] for term in self._analyse(text) if term in index)
            indices += counts
            data += [1.0 if n == 1 else 1.0 + math.log(n) for n in counts.values()]
            indptr.append(len(indices))
        columns = np.asarray(indices, dtype=np.int32)
        values = np.asarray(data, dtype=np.float32) * idf[columns]
        rows = np.repeat(np.arange(len(texts)), np.diff(indptr))
        squares = np.bincount(rows, weights=values.astype(np.float64) ** 2, minlength=len(texts))
        values /= np.sqrt(squares, dtype=np.float64).astype(np.float32)[rows]
        return sp.csr_matrix(
            (values, columns, np.asarray(indptr, dtype=np.int32)),
            shape=(len(texts), len(index)),
        )

    def state(self) -> dict[str, Any]:
        """Return what was learned as plain arrays."""
        return {"terms": np.asarray(list(self._index), dtype=np.str_), "idf": self._idf}

    @classmethod
    def from_state(cls, analyse: Analyser, state: Mapping[str, Any]) -> TermWeighter:
        """Rebuild from :meth:`state`."""
        weighter = cls(analyse)
        terms: npt.NDArray[np.str_] = state["terms"]
        weighter._index = {term: i for i, term in enumerate(terms.tolist())}
        weighter._idf = state["idf"]
        return weighter

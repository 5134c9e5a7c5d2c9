"""64-bit hashes of every piece of a text at once, from one pass over its characters.

The hash of a span is the polynomial of its characters modulo 2^64. A running sum over the text
gives that of any span by one subtraction, so that thousands of overlapping n-grams cost a few
array operations and no string is made of any of them.

References
----------
Karp, R., Rabin, M. (1987). Efficient randomized pattern-matching algorithms. IBM J. 31(2).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Offsets = npt.NDArray[np.intp]

BASE = 0x9E37_79B9_7F4A_7C15  # odd, so that it has an inverse modulo 2^64
_INVERSE = pow(BASE, -1, 1 << 64)
_FIRST_LENGTH = 1 << 12


class _Powers:
    """Powers of the base and of its inverse, as many as the longest text has needed."""

    def __init__(self) -> None:
        self._growing = threading.Lock()
        self.tables = self._made(_FIRST_LENGTH)

    def up_to(self, length: int) -> tuple[Hashes, Hashes]:
        tables = self.tables
        if len(tables[0]) < length:
            with self._growing:
                if len(self.tables[0]) < length:
                    self.tables = self._made(2 * length)
                tables = self.tables
        return tables

    @staticmethod
    def _made(length: int) -> tuple[Hashes, Hashes]:
        def powers(of: int) -> Hashes:
            table = np.full(length, of, dtype=np.uint64)
            table[0] = 1
            return np.multiply.accumulate(table)

        return powers(BASE), powers(_INVERSE)


_powers = _Powers()


class Prefixes:
    """A text prepared for hashing its spans.

    Examples
    --------
    >>> prefixes = Prefixes("my order, my parcel")
    >>> mine = prefixes.hashes(np.array([0, 10]), np.array([2, 12]))  # "my" twice
    >>> bool(mine[0] == mine[1]) and bool(mine[0] == hashes_of(["my"])[0])
    True
    """

    def __init__(self, text: str) -> None:
        # Text from JSON may hold lone surrogates; they are characters like others here.
        self.characters = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
        self._up, down = _powers.up_to(len(self.characters) + 1)
        # One more than the code point: NUL must count too.
        terms = (self.characters.astype(np.uint64) + np.uint64(1)) * down[: len(self.characters)]
        self._sums = np.zeros(len(terms) + 1, dtype=np.uint64)
        np.add.accumulate(terms, out=self._sums[1:])

    def __len__(self) -> int:
        return len(self.characters)

    def hashes(self, starts: Offsets, ends: Offsets) -> Hashes:
        """Return the hash of each span ``[start, end)``, none of them empty."""
        return (self._sums[ends] - self._sums[starts]) * self._up[ends - 1]


def hashes_of(terms: Sequence[str]) -> Hashes:
    """Return the hash of each term, shape (len(terms),); a term of no characters hashes to 0."""
    if not terms:
        return np.zeros(0, dtype=np.uint64)
    ends = np.cumsum([len(term) for term in terms])
    starts = np.concatenate([[0], ends[:-1]])
    hashes = np.zeros(len(terms), dtype=np.uint64)
    filled = ends > starts
    hashes[filled] = Prefixes("".join(terms)).hashes(starts[filled], ends[filled])
    return hashes

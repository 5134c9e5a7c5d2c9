"""Which words grow: a second opinion that clustering has no part in.

Micro-clusters come, take texts from each other and are grouped anew; that moves texts without
anybody asking anything new. Words stay what they are. So a subject is believed to rise where one
of its leading words rises too, judged by the same means as a micro-cluster. Rising words also
tell which of the many places that a new subject is spread over belong together.

References
----------
Mathioudakis, M., Koudas, N. (2010). TwitterMonitor: trend detection over the Twitter stream.
SIGMOD (bursty keywords, grouped to trends).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple
from zlib import crc32

import numpy as np

from closedloop.defence.issues.baseline import WINDOWS, outlook, season
from closedloop.defence.issues.growth import MEMORY_MINUTES, tested
from closedloop.defence.issues.newborns import Newborns
from closedloop.defence.issues.surprise import Dispersion
from closedloop.defence.issues.tally import MINUTE_S, Tally

RISING = 4.0  # surprise from which a word rises


class WordRise(NamedTuple):
    """How surprisingly a word grows, and the texts with it beyond those expected."""

    surprise: float
    excess: float


class TermGrowth:
    """Counts of a tenant's words, and what is known of calm ones.

    Parameters
    ----------
    limit : int
        Most words.
    half_life_s : float
        As of :class:`Tally`.
    """

    def __init__(self, *, limit: int, half_life_s: float) -> None:
        self.tally = Tally(limit=limit, half_life_s=half_life_s)
        self.varied = tuple(Dispersion(first=window.dispersion) for window in WINDOWS)
        self.newborn = tuple(Newborns() for _ in WINDOWS)

    def see(self, terms: Iterable[str], at: float) -> None:
        """Count the different words of a text."""
        if self.tally.advance(at):
            self.learn(at)
        self.tally.count_all([checksum(term) for term in terms], at)
        self.tally.dropped = []

    def learn(self, now: float) -> None:
        """Learn from the counts as of now; called once a minute."""
        tally, keep = self.tally, 2.0 ** (-1.0 / MEMORY_MINUTES)
        factors, live = season(tally, now), tally.live
        for number, window in enumerate(WINDOWS):
            seen = outlook(tally, window, now, factors)
            if seen.past_texts and seen.texts:
                old, fresh = live & ~seen.newborn, live & seen.newborn
                self.varied[number].learn(
                    seen.counts[old], seen.expected[old], seen.known[old], keep=keep
                )
                share = min(1.0, MINUTE_S / window.length_s)
                self.newborn[number].learn(
                    seen.counts[fresh], seen.texts, seen.past_texts, keep=keep, share=share
                )

    def rising(self, now: float, window_s: float) -> Mapping[int, WordRise]:
        """Return the words, by their checksum, that rise in a window."""
        number = next(n for n, window in enumerate(WINDOWS) if window.length_s == window_s)
        seen = outlook(self.tally, WINDOWS[number], now, season(self.tally, now))
        if not seen.texts:
            return {}
        found = tested(seen, self.varied[number], self.newborn[number])
        places = np.flatnonzero((found >= RISING) & self.tally.live)
        excess = seen.counts - np.where(seen.newborn, 0.0, seen.expected)
        values = map(WordRise, found[places].tolist(), excess[places].tolist())
        return dict(zip(self.tally.ids[places].tolist(), values, strict=True))


def checksum(term: str) -> int:
    """Return the number that a word is counted under."""
    return crc32(term.encode())

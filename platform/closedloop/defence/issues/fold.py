"""Rising micro-clusters and clusters of one subject, put together to one issue.

At arrival a new subject is spread: over micro-clusters, and these over clusters, some of them new
and some old ones that have a word in common with it. What rises in one cluster of today is a
*swell*. One none of whose leading words rises is an exchange between neighbours and dropped; those
whose rising words are alike are one issue. Each further unit that rises by itself adds to the
surprise what it has beyond a toll, which pays for having chosen it among its neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from closedloop.defence.issues.baseline import WINDOWS
from closedloop.defence.issues.growth import Growth, Rise
from closedloop.defence.issues.surprise import budgeted, looks_per_day
from closedloop.defence.issues.tally import NOBODY, Tally
from closedloop.defence.issues.term_growth import RISING, WordRise, checksum
from closedloop.defence.stream_clusters import StreamClusters

Whole = npt.NDArray[np.int64]
_MOST = 120  # swells that are compared
_ALIKE = 0.25  # cosine of the rising words from which swells are one issue
_LEADING = 0.25  # part of a swell's texts that hold a leading word
_NEAR = 0.3  # cosine from which a micro-cluster belongs to what rises in its cluster
_MATCH = 0.5  # part of a swell's excess that its words must show as well
_OWN = 0.2  # part of a word's excess below which the word grows for another reason
_ALL = ""  # stands for all texts among the words
_TOLL = 1.5  # of surprise
_GROWN = 1.5  # times what was expected
_NO_RISE = -math.inf
_WAYS = 2 * len(WINDOWS)  # kinds of tests by words


@dataclass(kw_only=True, slots=True)
class Swell:
    """What rises together."""

    # The unit that rises most.
    best: Rise
    # Surprise above the threshold, all units together; above 0 it is an issue.
    margin: float
    # Columns of its micro-clusters.
    slots: list[int]
    # Cluster of today to its texts in the window that are part of this, and to all there.
    clusters: dict[int, float]
    whole: dict[int, float]
    words: dict[str, float] = field(default_factory=dict)
    # The same as `margin`, by the word that rises most.
    said: float = _NO_RISE

    @property
    def cluster(self) -> int:
        """Return the cluster that is most this issue's own."""
        return max(
            self.clusters,
            key=lambda c: (self.clusters[c] ** 2 / max(self.whole[c], 1.0), -c),
        )


def swells(
    growth: Growth,
    tally: Tally,
    clusters: Whole,
    stream: StreamClusters,
    rising: Callable[[float], Mapping[int, WordRise]],
    *,
    alarms: float,
    vocabulary: int,
) -> list[Swell]:
    """Return the issues of now, the most surprising first.

    What rises by its clusters and by its words is judged by the weaker of the two: micro-clusters
    that make room and come back move texts between clusters, and words know nothing of that. The
    words that lead what rises by its clusters share the alarms that are allowed.

    Parameters
    ----------
    alarms : float
        False alarms a day that are allowed.
    vocabulary : int
        Words that are counted.
    rising : callable
        Returns the words that rise in a window of so many seconds (:class:`TermGrowth`).
    clusters : ndarray of int, shape (columns,)
        Today's cluster of each column.
    """
    inside: dict[int, list[tuple[Rise, int]]] = {name: [] for name in growth.clusters}
    for slot, rise in growth.micros.items():
        inside.setdefault(int(clusters[slot]), []).append((rise, slot))
    parts: list[tuple[float, int]] = []
    for name, units in inside.items():
        units.sort(key=lambda unit: (-unit[0].margin, unit[1]))
        whole = growth.clusters.get(name)
        margin = max(_pooled([r for r, _ in units]), whole.margin if whole else _NO_RISE)
        parts.append((margin, name))
    parts.sort(key=lambda part: (-part[0], part[1]))
    words = _Words(tally, stream)
    grown: list[Swell] = []
    for margin, name in parts[:_MOST]:
        rises = [rise for rise, _ in inside[name]]
        whole = growth.clusters.get(name)
        best = max([*rises, *([whole] if whole else [])], key=lambda rise: rise.margin)
        slots = [slot for _, slot in inside[name]]
        swell = _swell(name, best, margin, slots, growth, tally, clusters, words)
        swell.words = _held(swell.words)
        grown.append(swell)
    tests = sum(len(swell.words) for swell in grown)
    found: list[Swell] = []
    for swell in grown:
        seen, window_s = growth.seen[swell.best.window_s], swell.best.window_s
        looks = looks_per_day(window_s, seen.texts, seen.seconds)
        least = max(RISING, budgeted(alarms, tests, looks, _WAYS))
        excess = float((seen.counts - seen.expected)[swell.slots].sum())
        _lead(swell, rising(window_s), excess, least)
        if swell.words:
            _join(found, swell)
    for swell in _said(
        growth, tally, clusters, words, rising, alarms=alarms, vocabulary=vocabulary
    ):
        _join(found, swell)
    for one in found:
        one.margin = min(one.margin, one.said)
    return [one for one in found if one.margin > 0]


def _said(
    growth: Growth,
    tally: Tally,
    clusters: Whole,
    words: _Words,
    rising: Callable[[float], Mapping[int, WordRise]],
    *,
    alarms: float,
    vocabulary: int,
) -> list[Swell]:
    """Return what rises by a word alone, the most surprising first.

    A new subject that was put into a large old cluster does not show there, nor where most
    micro-clusters are new because room is made all the time.
    """
    found: list[Swell] = []
    for window_s, seen in growth.seen.items():
        if not seen.texts:
            continue
        looks = looks_per_day(window_s, seen.texts, seen.seconds)
        least = budgeted(alarms, vocabulary, looks, _WAYS)
        risen = {n: rise for n, rise in rising(window_s).items() if rise.surprise > least}
        if not risen:
            continue
        here = np.flatnonzero(tally.live & (seen.counts > 0) & (clusters > NOBODY))
        for term, slots in words.holding(here.tolist(), risen).items():
            rise = risen[checksum(term)]
            counts = seen.counts[slots]
            texts = float(counts.sum())
            best = Rise(
                surprise=rise.surprise,
                margin=rise.surprise - least,
                counts=texts,
                expected=max(0.0, texts - rise.excess),
                seconds=seen.seconds,
                window_s=window_s,
            )
            homes = clusters[slots]
            names = np.unique(homes).tolist()
            leading = {
                other: math.sqrt(part * risen[checksum(other)].surprise)
                for other, part in _held(words.of(slots)).items()
                if checksum(other) in risen
            }
            swell = Swell(
                best=best,
                margin=best.margin,
                said=best.margin,
                slots=slots,
                clusters={name: float(counts[homes == name].sum()) for name in names},
                whole={name: float(seen.counts[clusters == name].sum()) for name in names},
                words=leading or {term: math.sqrt(rise.surprise)},
            )
            found.append(swell)
    return sorted(found, key=lambda swell: (-swell.margin, swell.cluster))[:_MOST]


def _pooled(rises: list[Rise]) -> float:
    """Return the margin of units that rise side by side, the most surprising first."""
    if not rises:
        return _NO_RISE
    return rises[0].margin + sum(max(0.0, rise.surprise - _TOLL) for rise in rises[1:])


def _swell(
    name: int,
    best: Rise,
    margin: float,
    rising: list[int],
    growth: Growth,
    tally: Tally,
    clusters: Whole,
    words: _Words,
) -> Swell:
    seen = growth.seen[best.window_s]
    here = np.flatnonzero((clusters == name) & tally.live & (seen.counts > 0))
    grown = here[seen.counts[here] >= _GROWN * seen.expected[here]].tolist()
    whole = growth.clusters.get(name)
    slots = list(rising)
    if not rising or (whole is not None and whole.margin > 0):
        slots += [slot for slot in grown if slot not in set(rising)]
        core = words.of(slots)
    else:
        core = words.of(rising)
        slots += [s for s in grown if s not in set(rising) and cosine(core, words.of([s])) > _NEAR]
    return Swell(
        best=best,
        margin=margin,
        slots=slots,
        clusters={name: float(seen.counts[slots].sum())},
        whole={name: float(seen.counts[clusters == name].sum())},
        words=core,
    )


def _held(words: Mapping[str, float]) -> dict[str, float]:
    """Return the words that many texts hold, and in what part of the texts."""
    whole = words.get(_ALL, 0.0)
    return {
        term: weight / whole
        for term, weight in words.items()
        if term != _ALL and weight >= _LEADING * whole
    }


def _lead(swell: Swell, rising: Mapping[int, WordRise], excess: float, least: float) -> None:
    """Keep the words that rise as much as their swell does, and judge it by them, too."""
    found: dict[str, float] = {}
    best = _NO_RISE
    for term, part in swell.words.items():
        rise = rising.get(checksum(term))
        # Enough of the word's growth for the swell, and enough of the swell for the word's growth:
        # else another issue made the word grow.
        mine = excess * part
        if rise is not None and rise.excess >= _MATCH * mine and mine >= _OWN * rise.excess:
            found[term] = math.sqrt(part * rise.surprise)
            best = max(best, rise.surprise)
    swell.words = found
    swell.said = best - least


def _join(found: list[Swell], swell: Swell) -> None:
    """Put a swell to the issue that it resembles most, or make it one."""
    alike, best = _ALIKE, None
    for one in found:
        value = cosine(one.words, swell.words)
        if value >= alike:
            alike, best = value, one
    if best is None:
        found.append(swell)
        return
    best.margin += max(0.0, swell.best.surprise - _TOLL)
    best.said = max(best.said, swell.said)
    held = set(best.slots)
    best.slots += [slot for slot in swell.slots if slot not in held]
    for term, weight in swell.words.items():
        best.words[term] = max(weight, best.words.get(term, 0.0))
    # The same texts may be seen by their cluster and by their words, in windows of their own.
    for name, texts in swell.clusters.items():
        best.clusters[name] = max(texts, best.clusters.get(name, 0.0))
        best.whole[name] = max(swell.whole[name], best.whole.get(name, 0.0))


class _Words:
    """Terms of columns, by the texts that hold them."""

    def __init__(self, tally: Tally, stream: StreamClusters) -> None:
        self._ids = tally.ids
        self._micros = stream.micros.micros

    def of(self, slots: Iterable[int]) -> dict[str, float]:
        found: dict[str, float] = {}
        for slot in slots:
            micro = self._micros.get(int(self._ids[slot]))
            if micro is not None:
                found[_ALL] = found.get(_ALL, 0.0) + micro.mass
                for term, weight in micro.terms.items():
                    found[term] = found.get(term, 0.0) + weight
        return found

    def holding(self, slots: Iterable[int], wanted: Container[int]) -> dict[str, list[int]]:
        """Return for wanted words, by their checksum, the columns most of whose texts hold them."""
        found: dict[str, list[int]] = {}
        for slot in slots:
            micro = self._micros.get(int(self._ids[slot]))
            if micro is not None:
                for term, weight in micro.terms.items():
                    if weight >= 0.5 * micro.mass and checksum(term) in wanted:
                        found.setdefault(term, []).append(slot)
        return found


def cosine(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Return the cosine of two sparse vectors; 0 where one is empty."""
    if len(other) < len(one):
        one, other = other, one
    product = sum(weight * other.get(term, 0.0) for term, weight in one.items() if term)
    if not product:
        return 0.0
    squares = [sum(w * w for term, w in each.items() if term) for each in (one, other)]
    return product / math.sqrt(squares[0] * squares[1])

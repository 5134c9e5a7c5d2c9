"""Which micro-clusters and clusters grow beyond what their past explains.

Each unit is tested in each window: once a micro-cluster, once the sum over its cluster. That a
micro-cluster grows is only believed where its cluster grows too, at least a little: near-equal
micro-clusters take texts from each other. Thresholds follow from the alarms a day that are
allowed, shared evenly by the kinds of tests and by the units in each (Bonferroni).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from closedloop.defence.issues.baseline import SHAPE, WINDOWS, Outlook, Window, outlook, season
from closedloop.defence.issues.newborns import NEWBORN_SHAPE, Newborns
from closedloop.defence.issues.surprise import Dispersion, budgeted, looks_per_day, surprise
from closedloop.defence.issues.tally import MINUTE_S, NOBODY, Tally

Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
_WAYS = 2 * len(WINDOWS)
_NEARLY = 3.0  # surprise from which a unit may be part of an issue that several make up
_MILD = 1.3  # surprise of the cluster without which its micro-cluster's growth is an exchange
MEMORY_MINUTES = 1440.0


class Rise(NamedTuple):
    """How a unit grows in its most surprising window."""

    surprise: float
    # Above 0, the unit is an issue by itself: surprise above the threshold.
    margin: float
    counts: float
    expected: float
    seconds: float
    window_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Growth:
    """What rises now, the nearly surprising among it; and the windows it was judged by."""

    # Columns of micro-clusters, and clusters, to how they grow.
    micros: dict[int, Rise]
    clusters: dict[int, Rise]
    # Length of a window to the columns in it.
    seen: dict[float, Outlook]


class GrowthModel:
    """What is known of a tenant's calm counts, beyond the counts themselves."""

    def __init__(self) -> None:
        self.alone = tuple(Dispersion(first=window.dispersion) for window in WINDOWS)
        self.summed = tuple(Dispersion(first=window.dispersion) for window in WINDOWS)
        self.newborn = tuple(Newborns() for _ in WINDOWS)
        self.newborn_clusters = tuple(Newborns() for _ in WINDOWS)

    def learn(self, tally: Tally, now: float) -> None:
        """Learn from the counts as of now; called once a minute.

        The clusters are those as of each micro-cluster's last text.
        """
        keep = 2.0 ** (-1.0 / MEMORY_MINUTES)
        factors = season(tally, now)
        live, rests = tally.live, tally.rests
        homes = np.where(rests, -1 - tally.ids, np.where(live, tally.homes, NOBODY))
        names, groups = np.unique(homes, return_inverse=True)
        for number, window in enumerate(WINDOWS):
            seen = outlook(tally, window, now, factors)
            if not seen.past_texts or not seen.texts:
                continue
            old = live & ~seen.newborn
            self.alone[number].learn(
                seen.counts[old], seen.expected[old], seen.known[old], keep=keep
            )
            share = min(1.0, MINUTE_S / window.length_s)
            fresh = live & seen.newborn
            self.newborn[number].learn(
                seen.counts[fresh], seen.texts, seen.past_texts, keep=keep, share=share
            )
            summed = _summed(seen, rests, groups, len(names))
            old = ~summed.newborn & (names > NOBODY)
            self.summed[number].learn(
                summed.counts[old], summed.expected[old], summed.known[old], keep=keep
            )
            fresh = summed.newborn & (names > NOBODY)
            self.newborn_clusters[number].learn(
                summed.counts[fresh], seen.texts, seen.past_texts, keep=keep, share=share
            )

    def rising(self, tally: Tally, now: float, clusters: Whole, *, alarms: float) -> Growth:
        """Return what rises.

        Parameters
        ----------
        clusters : ndarray of int, shape (columns,)
            Today's cluster of each column, `NOBODY` where there is none.
        alarms : float
            False alarms a day that are allowed.
        """
        names, groups = np.unique(clusters, return_inverse=True)
        factors = season(tally, now)
        growth = Growth(micros={}, clusters={}, seen={})
        live, rests = tally.live & (clusters > NOBODY), tally.rests
        for number, window in enumerate(WINDOWS):
            seen = growth.seen[window.length_s] = outlook(tally, window, now, factors)
            if not seen.texts:
                continue
            looks = looks_per_day(window.length_s, seen.texts, seen.seconds)
            summed = _summed(seen, rests, groups, len(names))
            total = tested(summed, self.summed[number], self.newborn_clusters[number])
            least = budgeted(alarms, int((summed.counts > 0).sum()), looks, _WAYS)
            for place in np.flatnonzero((total > _NEARLY) & (names > NOBODY)).tolist():
                rise = _rise(summed, place, total, least, window)
                _keep(growth.clusters, int(names[place]), rise)
            alone = tested(seen, self.alone[number], self.newborn[number])
            least = budgeted(alarms, int((seen.counts > 0).sum()), looks, _WAYS)
            believed = live & (alone > _NEARLY) & (total[groups] > _MILD)
            for slot in np.flatnonzero(believed).tolist():
                _keep(growth.micros, slot, _rise(seen, slot, alone, least, window))
        return growth


def tested(seen: Outlook, varied: Dispersion, newborns: Newborns) -> Floats:
    """Return how surprising each count is; 0 where nothing is known of the past."""
    exposure = newborns.exposure(seen.past_texts)
    if exposure < 1.0:
        return np.zeros(len(seen.counts))
    newborn = NEWBORN_SHAPE * seen.texts / exposure
    expected = np.where(seen.newborn, newborn, seen.expected + seen.doubt)
    shape = 1.0 / (1.0 / (seen.known + SHAPE) + varied.value)
    shape = np.where(seen.newborn, NEWBORN_SHAPE, shape)
    return surprise(np.maximum(seen.counts - seen.newborn, 0.0), expected, shape)


def _summed(seen: Outlook, rests: Mask, groups: Whole, count: int) -> Outlook:
    """Return the outlook of clusters.

    Texts of newborns are in a cluster's count and not in its members' pasts; what is expected of
    them is in the rest of the cluster, or else as many for each old text as in all the traffic.
    """

    def total(values: Floats) -> Floats:
        return np.bincount(groups, weights=values, minlength=count).astype(np.float64)

    fresh_texts = float(seen.counts[seen.newborn].sum())
    churn = fresh_texts / max(1.0, seen.texts - fresh_texts)
    own = total(np.where(rests, 0.0, seen.expected)) * (1.0 + min(churn, 1.0))
    newborn = np.ones(count, np.bool_)
    newborn[groups[~seen.newborn]] = False
    doubt = np.full(count, np.inf)
    np.minimum.at(doubt, groups[~seen.newborn], seen.doubt[~seen.newborn])
    return Outlook(
        counts=total(seen.counts),
        expected=np.maximum(total(seen.expected), own),
        known=total(seen.known),
        doubt=doubt,
        newborn=newborn,
        texts=seen.texts,
        past_texts=seen.past_texts,
        seconds=seen.seconds,
    )


def _rise(seen: Outlook, place: int, tested: Floats, least: float, window: Window) -> Rise:
    return Rise(
        surprise=float(tested[place]),
        margin=float(tested[place]) - least,
        counts=float(seen.counts[place]),
        expected=float(seen.expected[place]),
        seconds=seen.seconds,
        window_s=window.length_s,
    )


def _keep(found: dict[int, Rise], name: int, rise: Rise) -> None:
    if name not in found or rise.margin > found[name].margin:
        found[name] = rise

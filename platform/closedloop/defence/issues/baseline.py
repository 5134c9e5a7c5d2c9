"""What is expected of micro-clusters and clusters in a window, from their own past.

A unit's part of the tenant's traffic is learnt, so that what all traffic does (nights, sales) is
no growth. Two pasts are asked, and the one that expects more counts:

- the last hour, up to a guard ahead of the window, so that a burst of now is not part of it;
- all hours before that, times how the unit's part in this hour of the week differs from its part
  on average, shrunk to that of the hour of the day and to 1.

A unit that is younger than a past says nothing about it. One that is younger than both is a
*newborn*: it was not met among the T texts before, so its part is about 1/T (Gamma-Poisson, shape
1/2 and one text); how large T really is, is learnt from how large newborns get in calm traffic
(empirical Bayes). With no past at all, T is nothing, and nothing is surprising: for the first four
minutes of a stream.

References
----------
Hutwagner, L. et al. (2003). The bioterrorism preparedness and response Early Aberration Reporting
System (EARS). J. Urban Health (short baselines with a guard band).
Robbins, H. (1956). An empirical Bayes approach to statistics.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from closedloop.defence.issues.tally import HOUR_S, HOURS, MINUTE_S, MINUTES, Tally

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


class Window(NamedTuple):
    """A stretch of time up to now, and how long before now its baseline ends."""

    length_s: float
    # Rows of the tally before the present one: of 5 s, or of a minute.
    rows: int
    fine: bool
    # Minutes before the present one that its baseline leaves out.
    guard: int
    # Square of the relative deviation that is assumed of calm counts until they are known.
    dispersion: float


WINDOWS = (
    Window(10.0, 2, True, 1, 0.02),
    Window(60.0, 12, True, 4, 0.02),
    Window(600.0, 10, False, 20, 0.05),
    Window(3600.0, 60, False, 60, 0.25),
)
SHAPE = 0.5  # Jeffreys' prior of a Poisson rate
_HOURLY = 20.0  # texts that "this hour is as any" is worth
_FIRST_MINUTES = 2  # of a stream, when dialogues have only begun, are no baseline
_EDGE_S = 600.0  # near the end of an hour the next one's factor counts too


@dataclass(frozen=True, kw_only=True, slots=True)
class Outlook:
    """The columns of a tally in one window; arrays have shape (columns,)."""

    # Texts in the window, and what the unit's own past expects there.
    counts: Floats
    expected: Floats
    # Texts that this was learnt from, and what half a text more there would make expect more.
    known: Floats
    doubt: Floats
    # Whether the unit is younger than all of the past.
    newborn: Mask
    # The tenant's texts in the window and in its past, and seconds that the window covers.
    texts: float
    past_texts: float
    seconds: float


def outlook(tally: Tally, window: Window, now: float, factors: Floats | None) -> Outlook:
    """Return what a window holds, and what was to be expected.

    Parameters
    ----------
    factors : ndarray of float, shape (columns,), optional
        How the hours of now differ, of :func:`season`.
    """
    minute = int(now // MINUTE_S)
    if window.fine:
        rows = tally.fine_rows(now, window.rows)
        counts, texts = tally.fine[rows].sum(axis=0), int(tally.fine_all[rows].sum())
        began = (now // 5.0 - window.rows) * 5.0
    else:
        rows = tally.minute_rows(minute - window.rows, minute)
        counts, texts = tally.minutes[rows].sum(axis=0), int(tally.minutes_all[rows].sum())
        began = (minute - window.rows) * MINUTE_S
    newest = minute - 1 - window.guard
    oldest = max(minute - MINUTES + 1, int(tally.first // MINUTE_S) + _FIRST_MINUTES)
    rows = tally.minute_rows(oldest, newest)
    known = tally.minutes[rows].sum(axis=0).astype(np.float64)
    exposure = _since(tally, rows, minute)
    expected = np.zeros(len(known))
    seen = exposure > 0
    expected[seen] = texts * known[seen] / exposure[seen]
    long_exposure = np.maximum(tally.past_texts - tally.past_before, 0.0)
    long_known = tally.past.sum(axis=0, dtype=np.float64)
    met = long_exposure >= 1.0
    long_expected = np.zeros(len(known))
    long_expected[met] = texts * long_known[met] / long_exposure[met]
    if factors is not None:
        long_expected *= factors
    longer = long_expected > expected
    past = float(tally.minutes_all[rows].sum()) + tally.past_texts
    return Outlook(
        counts=counts.astype(np.float64),
        expected=np.where(longer, long_expected, expected),
        known=np.where(longer, long_known, known),
        doubt=SHAPE * texts / np.maximum(np.where(longer | ~seen, long_exposure, exposure), 1.0),
        newborn=~seen & ~met,
        texts=float(texts),
        past_texts=past,
        seconds=max(1.0, now - max(began, tally.first)),
    )


def _since(tally: Tally, rows: list[int], minute: int) -> Floats:
    """Return the tenant's texts in some minutes since each column's first text."""
    ahead = np.zeros(MINUTES + 1)  # texts in minutes up to 0, 1, … before the present one
    for row in rows:
        ahead[minute - int(tally.minute_at[row])] += tally.minutes_all[row]
    age = np.clip(minute - tally.born, 0, MINUTES)
    return np.cumsum(ahead)[age]


def season(tally: Tally, now: float) -> Floats:
    """Return how each column's part of the traffic in this hour differs from its average.

    Returns
    -------
    ndarray of float, shape (columns,)
        1 where nothing is known; the larger one of two hours near their border.
    """
    exposure = np.maximum(tally.past_texts - tally.past_before, 0.0)
    held = tally.past.sum(axis=0, dtype=np.float64)
    # Texts to expect in an hour that has as many of the tenant's as one.
    part = held / max(tally.past_texts, 1.0)
    known = exposure >= 1.0
    found = np.zeros(len(held))
    for hour in sorted({int((now + edge) // HOUR_S) % HOURS for edge in (-_EDGE_S, 0.0, _EDGE_S)}):
        days = np.arange(hour % 24, HOURS, 24)
        daily = _HOURLY + tally.past[days].sum(axis=0, dtype=np.float64)
        daily /= _HOURLY + part * tally.past_all[days].sum()
        weekly = _HOURLY * daily + tally.past[hour]
        weekly /= _HOURLY + part * tally.past_all[hour]
        found = np.maximum(found, np.where(known, weekly, 1.0))
    return found

"""What the cluster counted of every trial: since it began, and of late.

The catalog watcher keeps one. It lives in memory: after a restart of the watcher the figures
begin again, and a version that fails is found out by the requests that follow.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from closedloop.models.trial import Trial
from closedloop.serve.catalog import Catalog
from closedloop.serve.trials.counts import Tally, TrialKey
from closedloop.serve.trials.verdict import TrialLimits, judge

_SLICES = 30  # of the window; what falls out of it does so a slice at a time


@dataclass(slots=True)
class _Page:
    """One trial's counts."""

    total: Tally = field(default_factory=Tally)
    slices: deque[tuple[float, Tally]] = field(default_factory=deque)  # (began, counts)
    unjudged: bool = False  # something was counted since the last verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class Breach:
    """A trial that must be rolled back."""

    trial: Trial
    reason: str


class TrialLedger:
    """Adds up what replicas send and says which trials must end.

    Parameters
    ----------
    limits : TrialLimits
        What a version on trial is held to.
    """

    def __init__(self, limits: TrialLimits, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._pages: dict[TrialKey, _Page] = {}
        self._on_trial: dict[TrialKey, Trial] = {}
        self._last_reports: dict[str, int] = {}  # by reporter; one a replica, ever

    def follow(self, catalog: Catalog) -> None:
        """Count only what is on trial now; a trial that ended takes its counts with it."""
        if not catalog.trials and not self._on_trial:
            return
        champions = {champion.ref: champion.version for champion in catalog.champions}
        self._on_trial = {
            TrialKey(model=str(t.ref), champion=champions[t.ref], trial=t.version): t
            for t in catalog.trials
        }
        self._pages = {key: p for key, p in self._pages.items() if key in self._on_trial}

    def count(
        self, tallies: Mapping[TrialKey, Tally], *, reporter: str = "", number: int = 0
    ) -> None:
        """Add what a replica counted since it last sent.

        Parameters
        ----------
        reporter : str, optional
            The replica; with one, a report that was added already is not added again.
        number : int, optional
            Of the report; each of a reporter's is greater than the one before.
        """
        if reporter:
            if number <= self._last_reports.get(reporter, 0):
                return
            self._last_reports[reporter] = number
        now = self._clock()
        for key, tally in tallies.items():
            if key not in self._on_trial:
                continue  # it ended while this was on its way
            page = self._pages.setdefault(key, _Page())
            page.total.add(tally)
            if not page.slices or now - page.slices[-1][0] >= self._limits.window_s / _SLICES:
                page.slices.append((now, Tally()))
            page.slices[-1][1].add(tally)
            page.unjudged = True

    def breaches(self) -> list[Breach]:
        """Return the trials that must end, each with its reason."""
        found = []
        for key, page in self._pages.items():
            if not page.unjudged:
                continue
            recent = self._recent(page)
            verdict = judge(recent.champion, recent.trial, self._limits)
            page.unjudged = verdict.roll_back  # until it is forgotten: the registry may be away
            if verdict.roll_back:
                why = verdict.reason
                if recent.trial.errors and recent.last_error:
                    why += f"; the last error: {recent.last_error}"
                found.append(Breach(trial=self._on_trial[key], reason=f"rolled back: {why}"))
        return found

    def forget(self, trial: Trial) -> None:
        """Drop a trial's counts: it has ended."""
        for key in [key for key, each in self._on_trial.items() if each.ref == trial.ref]:
            del self._on_trial[key]
            self._pages.pop(key, None)

    def totals(self) -> dict[TrialKey, Tally]:
        """Return what was counted of every trial since it began, or since the watcher did."""
        return {key: page.total for key, page in self._pages.items()}

    def _recent(self, page: _Page) -> Tally:
        oldest = self._clock() - self._limits.window_s
        while page.slices and page.slices[0][0] < oldest:
            page.slices.popleft()
        recent = Tally()
        for _, tally in page.slices:
            recent.add(tally)
        return recent

"""What is counted of a model on trial: requests, errors, latencies, agreement.

A replica counts into a `Tally` and sends it once a second; tallies add up, in any order, to
what the whole cluster saw. Latencies are those of the model alone, a request each, in bins that
are exact to 1 % (`closedloop.data.cube.sketches`), so that a tally stays small.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from closedloop.data.cube.sketches import latency_bin, quantile
from closedloop.serve.trials.outcome import Answers, Outcome, Side

_P95 = 0.95


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class TrialKey:
    """What is compared: a version on trial and the champion beside it."""

    model: str
    champion: int
    trial: int


@dataclass(kw_only=True, slots=True)
class Counts:
    """How often a version was asked, how often it failed, and how long it took."""

    requests: int = 0
    errors: int = 0
    latencies: Counter[int] = field(default_factory=Counter)  # bin → requests answered

    def answered(self, latency_ms: float) -> None:
        """Count an answer."""
        self.requests += 1
        self.latencies[int(latency_bin(np.array([latency_ms]))[0])] += 1

    def failed(self) -> None:
        """Count a request that got no answer."""
        self.requests += 1
        self.errors += 1

    def add(self, other: Counts) -> None:
        """Add what was counted elsewhere."""
        self.requests += other.requests
        self.errors += other.errors
        self.latencies.update(other.latencies)

    @property
    def p95_ms(self) -> float | None:
        """The latency that 95 % of the answers keep to; None without any.

        Examples
        --------
        >>> counts = Counts()
        >>> for latency_ms in range(1, 101):
        ...     counts.answered(latency_ms)
        >>> round(counts.p95_ms)
        95
        """
        bins = np.fromiter(self.latencies, dtype=np.int64)
        return quantile(bins, np.fromiter(self.latencies.values(), dtype=np.int64), _P95)

    def slower_than(self, latency_ms: float) -> int:
        """Return how many answers took longer."""
        border = int(latency_bin(np.array([latency_ms]))[0])
        return sum(count for each, count in self.latencies.items() if each > border)


@dataclass(kw_only=True, slots=True)
class Tally:
    """Both sides of a trial, and how they compare."""

    champion: Counts = field(default_factory=Counts)
    trial: Counts = field(default_factory=Counts)
    compared: int = 0  # texts that both answered
    agreed: int = 0  # of those, with the same label
    dropped: int = 0  # requests that only one was asked, because the replica was busy
    last_error: str = ""  # of the version on trial

    def add(self, other: Tally) -> None:
        """Add what was counted elsewhere, or later."""
        self.champion.add(other.champion)
        self.trial.add(other.trial)
        self.compared += other.compared
        self.agreed += other.agreed
        self.dropped += other.dropped
        self.last_error = other.last_error or self.last_error

    @property
    def agreement(self) -> float | None:
        """Share of the texts that both gave the same label; None without any."""
        return self.agreed / self.compared if self.compared else None


class Tallies:
    """What one replica counts of its trials, from any of its threads, until it is taken."""

    def __init__(self) -> None:
        self._changing = threading.Lock()
        self._counted: dict[TrialKey, Tally] = {}

    def count(self, key: TrialKey, side: Side, outcome: Outcome) -> None:
        """Count what came of asking a version."""
        with self._changing:
            tally = self._counted.setdefault(key, Tally())
            counts = tally.trial if side == "trial" else tally.champion
            if outcome.error:
                counts.failed()
                if side == "trial":
                    tally.last_error = outcome.problem
            elif outcome.problem:
                tally.dropped += 1
            else:
                counts.answered(outcome.latency_ms)

    def compare(self, key: TrialKey, one: Answers, other: Answers) -> None:
        """Count how often both versions gave the same label."""
        with self._changing:
            tally = self._counted.setdefault(key, Tally())
            tally.compared += len(one)
            tally.agreed += sum(a.label == b.label for a, b in zip(one, other, strict=True))

    def take(self) -> dict[TrialKey, Tally]:
        """Return what was counted since the last time."""
        with self._changing:
            taken, self._counted = self._counted, {}
        return taken

"""How a tenant's traffic is watched for issues."""

from __future__ import annotations

from dataclasses import dataclass

from closedloop.core.errors import InputError


@dataclass(frozen=True, kw_only=True, slots=True)
class WatchSettings:
    """What counts as an issue, and how much is remembered of the traffic.

    Raises
    ------
    InputError
        A figure is out of its range.
    """

    # Issues a day that a tenant's calm traffic may raise by chance; the thresholds follow from it.
    alarms_per_day: float = 1.0
    # Texts in a window below which nothing is an issue, each user's repeats counted once.
    least_texts: int = 10
    # Different users, where users are known.
    least_users: int = 4
    # Time after which what was learnt of the past weighs half.
    half_life_s: float = 28 * 86_400.0
    # Micro-clusters that are counted; 1.2 kB each once a week has been seen.
    micros: int = 12_000
    # Words that are counted.
    terms: int = 12_000
    # Texts that are kept of each of them.
    texts_each: int = 8
    # Users, and events that feedback may refer to, that are remembered; twice as many at most.
    recent_users: int = 50_000
    recent_events: int = 100_000
    # Confidence from which the champion's answer tells what a text is about.
    confident: float = 0.7
    # Intents whose words are learnt, and words of each, twice as many at most.
    intents: int = 500
    intent_terms: int = 128

    def __post_init__(self) -> None:
        counts = (self.least_texts, self.least_users, self.texts_each)
        bounds = (self.recent_users, self.recent_events, self.intents, self.intent_terms)
        if min(*counts, *bounds) < 1 or min(self.micros, self.terms) < 256:
            raise InputError(
                f"These settings cannot watch a stream: {self}.",
                remedy="Give counts of 1 or more, and 256 or more micro-clusters and words.",
            )
        if not (self.alarms_per_day > 0 and self.half_life_s > 0 and 0 <= self.confident <= 1):
            raise InputError(
                f"These settings cannot watch a stream: {self}.",
                remedy="Give alarms a day and a half-life above 0, a confidence from 0 to 1.",
            )

"""What traffic to simulate: how much, from whom, in which languages, with which outbreaks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from closedloop.core.errors import InputError
from closedloop.data.simulate.catalogue import LANGUAGES, burst_issues, tenants


@dataclass(frozen=True, kw_only=True, slots=True)
class Burst:
    """An outbreak of an issue that nobody has seen before, on top of usual traffic.

    Raises
    ------
    InputError
        The issue is unknown, or the figures make no sense.
    """

    # One of `burst_issues()`.
    issue: str
    # When it breaks out, after the start of the scenario.
    start_s: float
    duration_s: float
    # Part of all traffic that the issue makes up while it lasts, in (0, 1).
    share: float

    def __post_init__(self) -> None:
        if self.issue not in burst_issues():
            raise InputError(
                f"No burst brings the issue {self.issue!r}.",
                remedy=f"Choose among {', '.join(burst_issues())}.",
            )
        if not 0 < self.share < 1 or self.duration_s <= 0 or self.start_s < 0:
            raise InputError(
                f"The burst {self.issue!r} has share {self.share}, start {self.start_s} s and "
                f"duration {self.duration_s} s.",
                remedy="Give a share in (0, 1), a start of 0 s or later, a duration above 0 s.",
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """Traffic to simulate; equal scenarios make equal traffic, in every process.

    Raises
    ------
    InputError
        A tenant or language is unknown, or a figure is out of its range.

    Examples
    --------
    >>> night = Burst(issue="promo_coupon_outage", start_s=600, duration_s=300, share=0.2)
    >>> Scenario(turns=50_000, tenants=("bazaar",), bursts=(night,)).rate_per_s
    10.0
    """

    seed: int = 0
    # How many turns in all, the assistant's among them where they are asked for.
    turns: int = 10_000
    # Time of the first arrival; traffic follows the hours of the day in UTC+8.
    start: datetime = datetime(2025, 11, 10, 0, 0, tzinfo=UTC)
    # Customers' turns a second, averaged over a day without bursts.
    rate_per_s: float = 10.0
    # Names of tenants; none means all of them.
    tenants: tuple[str, ...] = ()
    languages: tuple[str, ...] = LANGUAGES
    bursts: tuple[Burst, ...] = ()
    # Part of customers' turns that carry personal data (greetings and thanks never do).
    pii_share: float = 0.04
    # How often the simulated assistant answers right; what customers say next depends on it.
    answer_accuracy: float = 0.85
    # Whether the assistant's own turns are in the traffic (role "assistant").
    assistant_turns: bool = False

    def __post_init__(self) -> None:
        for what, given, known in (
            ("tenant", self.tenants, tuple(tenants())),
            ("language", self.languages, LANGUAGES),
        ):
            unknown = [name for name in given if name not in known]
            if unknown:
                raise InputError(
                    f"The scenario names the {what} {unknown[0]!r}, which does not exist.",
                    remedy=f"Choose among {', '.join(known)}.",
                )
        if not self.languages:
            raise InputError(
                "The scenario names no language.", remedy=f"Choose among {', '.join(LANGUAGES)}."
            )
        if self.turns < 0 or not self.rate_per_s > 0:
            raise InputError(
                f"The scenario asks for {self.turns} turns at {self.rate_per_s} a second.",
                remedy="Ask for 0 or more turns at a rate above 0.",
            )
        for name, part in (
            ("pii_share", self.pii_share),
            ("answer_accuracy", self.answer_accuracy),
        ):
            if not 0 <= part <= 1:
                raise InputError(f"{name} is {part}.", remedy="Give a part between 0 and 1.")
        if self.start.tzinfo is None:
            raise InputError(
                f"The scenario starts at {self.start}, which has no time zone.",
                remedy="Give the start in UTC.",
            )

"""Simulated traffic with new issues that break out in it, as events whose truth is known.

The same arrivals can be given to a watch in this process, at event time, or be appended to an
event log as they come due.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import NamedTuple

from closedloop.data.event import Event, Kind
from closedloop.data.simulate.catalogue import burst_issues, intents
from closedloop.data.simulate.dialogues import SimulatedTurn, simulate_turns
from closedloop.data.simulate.feedback import simulate_user_feedback
from closedloop.data.simulate.scenario import Burst, Scenario

EVENING = datetime(2026, 11, 10, 12, tzinfo=UTC)  # 20:00 where the customers are
_TENANT = "bazaar"
_THUMB_S = 5.0
_RIGHT = 0.9  # part of the champion's answers


class Arrival(NamedTuple):
    """An event, and the new issue that it is about, or None."""

    event: Event
    issue: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A stream: some time of calm, then one new issue after another."""

    seed: int
    seconds: float
    # Texts a second, averaged over a day; evenings have nearly twice as many.
    rate_per_s: float
    languages: tuple[str, ...] = ("en", "zh")
    start: datetime = EVENING
    # None for calm traffic; each issue is new once.
    issues: tuple[str, ...] = ()
    calm_s: float = 0.0
    # Part of the dialogues of that time that come; less past is cheaper to run, and harder.
    calm_part: float = 1.0
    every_s: float = 15.0
    burst_s: float = 12.0
    share: float = 0.02
    # Seconds between two looks at the board.
    look_s: float = 1.0
    intents: tuple[str, ...] = field(default_factory=lambda: tuple(i.name for i in intents()))

    @property
    def scenario(self) -> Scenario:
        """Return the simulator's scenario, which ends later than the plan."""
        bursts = tuple(
            Burst(
                issue=issue,
                start_s=self.calm_s + place * self.every_s,
                duration_s=self.burst_s,
                share=self.share,
            )
            for place, issue in enumerate(self.issues)
        )
        return Scenario(
            seed=self.seed,
            turns=int(4 * self.seconds * self.rate_per_s) + 1000,
            rate_per_s=self.rate_per_s,
            tenants=(_TENANT,),
            languages=self.languages,
            start=self.start,
            bursts=bursts,
        )


def burst_plan(seed: int, languages: tuple[str, ...], count: int, *, calm_s: float = 600.0) -> Plan:
    """Return a thousand texts a second, with new issues at 2 % of them each."""
    issues = tuple(burst_issues())[:count]
    return Plan(
        seed=seed,
        languages=languages,
        rate_per_s=670.0,
        issues=issues,
        calm_s=calm_s,
        seconds=calm_s + len(issues) * 12.0,
        every_s=12.0,
        burst_s=10.0,
    )


def arrivals(plan: Plan) -> Iterator[Arrival]:
    """Yield the events of a plan in the order of their time: answered texts and thumbs."""
    end = plan.start + timedelta(seconds=plan.seconds)
    rng = Random(plan.seed)
    due: list[Arrival] = []  # thumbs, in the order of their time
    calm_end = plan.start + timedelta(seconds=plan.calm_s)
    left_out: set[str] = set()
    for number, turn in enumerate(simulate_turns(plan.scenario)):
        while due and due[0].event.ts <= turn.ts:
            yield due.pop(0)
        if turn.ts >= end:
            return
        if turn.turn == 0 and turn.ts < calm_end and rng.random() >= plan.calm_part:
            left_out.add(turn.dialogue_id)
        if turn.dialogue_id in left_out:
            continue
        issue = turn.burst if turn.intent == turn.burst else None
        event = _answered(turn, f"{plan.seed:x}-{number:09x}", plan, rng)
        yield Arrival(event, issue)
        thumb = simulate_user_feedback(turn, event.prediction or "", rng)
        if thumb is not None:
            due.append(Arrival(_thumb(event, thumb), None))


def _answered(turn: SimulatedTurn, event_id: str, plan: Plan, rng: Random) -> Event:
    right = turn.intent in plan.intents and rng.random() < _RIGHT
    return Event(
        event_id=event_id,
        ts=turn.ts,
        tenant=turn.tenant,
        kind=Kind.PREDICTION,
        channel=turn.channel,
        dialogue_id=turn.dialogue_id,
        turn=turn.turn,
        user_id=turn.user_id,
        text=_masked(turn),
        model=f"{turn.tenant}.intent.main",
        model_version=1,
        prediction=turn.intent if right else rng.choice(plan.intents),
        confidence=rng.uniform(0.75, 1.0) if right else rng.uniform(0.2, 0.8),
    )


def _masked(turn: SimulatedTurn) -> str:
    """Return the text as the door leaves it: personal data by the name of its kind."""
    text = turn.text
    for span in sorted(turn.pii, reverse=True):
        start, stop, kind = span
        text = f"{text[:start]}<{kind}>{text[stop:]}"
    return text


def _thumb(event: Event, thumb: str) -> Event:
    return Event(
        event_id=f"f-{event.event_id}",
        ts=event.ts + timedelta(seconds=_THUMB_S),
        tenant=event.tenant,
        kind=Kind.FEEDBACK,
        feedback=thumb,
        refers_to=event.event_id,
    )

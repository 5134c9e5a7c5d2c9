"""Dialogues of many customers, interleaved in time: the stream of turns of a scenario.

Dialogues arrive as a Poisson process whose rate follows the hours of the day. Each is a small
Markov chain: an opening question; after a right answer an end, thanks, a short follow-up or the
next concern; after a wrong one the same question in other words, a nudge, a call for a person, or
silence. Active dialogues wait in a heap by the time of their next turn, so that memory grows with
the rate and not with the number of turns.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate
from random import Random

from closedloop.core.privacy import Span
from closedloop.data.simulate.catalogue import Tenant, intents, language, tenants
from closedloop.data.simulate.scenario import Scenario
from closedloop.data.simulate.speech import Manner, Speaker, Utterance

MAX_DIALOGUE_TURNS = 9
# How many turns a customer takes in a dialogue, on average over the chain below.
_MEAN_TURNS = 1.95
# Part of a day's traffic in each hour of UTC+8: quiet nights, a peak after dinner.
_HOURS = (
    2.4,
    1.4,
    0.9,
    0.7,
    0.6,
    0.8,
    1.5,
    2.6,
    4.0,
    5.2,
    5.8,
    5.6,
    5.0,
    5.0,
    5.2,
    5.4,
    5.3,
    5.0,
    5.2,
    6.2,
    7.4,
    7.8,
    6.6,
    4.4,
)
_UTC_OFFSET_S = 8 * 3600
_REGIONS = {
    "zh": (
        "广东",
        "浙江",
        "江苏",
        "上海",
        "北京",
        "四川",
        "湖北",
        "山东",
        "河南",
        "福建",
        "湖南",
        "陕西",
        "安徽",
        "河北",
        "辽宁",
        "重庆",
        "江西",
        "云南",
        "新疆",
        "西藏",
    ),
    "en": ("GB", "US", "DE", "SG", "IE", "NL", "FR", "AU", "CA", "ES", "SE", "HK"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class SimulatedTurn:
    """One turn of a dialogue, with the truth about it."""

    ts: datetime
    tenant: str
    channel: str
    dialogue_id: str
    # Place in the dialogue, from 0; the assistant's turns count only where they are simulated.
    turn: int
    user_id: str
    merchant: str
    region: str
    language: str
    text: str
    # What the customer wants: a name of `intents()`, or the issue of a burst.
    intent: str
    # Where the text holds personal data.
    pii: tuple[Span, ...]
    # The burst that caused the dialogue, or None.
    burst: str | None
    # "user" or "assistant".
    role: str


@dataclass(kw_only=True, slots=True)
class _Dialogue:
    """What an active dialogue remembers."""

    tenant: str
    channel: str
    id: str
    turn: int
    user_id: str
    merchant: str
    region: str
    language: str
    intent: str
    domain: str
    burst: str | None
    manner: Manner
    # What the customer does when the next turn is due.
    act: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Mix:
    """What a tenant's customers ask, sell and use, as tables to draw from."""

    tenant: Tenant
    openings: tuple[str, ...]
    opening_weights: tuple[float, ...]
    channels: tuple[str, ...]
    channel_weights: tuple[float, ...]
    products: dict[str, tuple[str, ...]]


def simulate_turns(scenario: Scenario) -> Iterator[SimulatedTurn]:
    """Yield the turns of a scenario in the order of time.

    Parameters
    ----------
    scenario : Scenario
        What to simulate; the same scenario yields the same turns in every process.

    Yields
    ------
    SimulatedTurn
        ``scenario.turns`` of them.

    Examples
    --------
    >>> turns = list(simulate_turns(Scenario(turns=3, languages=("en",))))
    >>> [turn.language for turn in turns]
    ['en', 'en', 'en']
    """
    return _Traffic(scenario).turns()


class _Traffic:
    """The state of a simulation: the clock, the active dialogues, the random numbers."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._rng = Random(scenario.seed)
        self._draw = self._rng.random
        self._domains = {intent.name: intent.domain for intent in intents()}
        self._follow_ups = {intent.name: intent.follow_ups for intent in intents()}
        self._speakers = {
            code: Speaker(language(code), self._rng, scenario.pii_share)
            for code in scenario.languages
        }
        chosen = [tenants()[name] for name in scenario.tenants or tenants()]
        self._mixes = tuple(_mix(tenant, scenario.languages) for tenant in chosen)
        self._mix_weights = tuple(accumulate(tenant.share for tenant in chosen))
        self._active: list[tuple[float, int, _Dialogue]] = []
        self._count = 0
        self._ties = 0
        self._midnight_s = _UTC_OFFSET_S + scenario.start.timestamp()

    def turns(self) -> Iterator[SimulatedTurn]:
        left = self._scenario.turns
        arrival_s = self._wait(0.0)
        while left > 0:
            if self._active and self._active[0][0] < arrival_s:
                now_s, _, dialogue = heapq.heappop(self._active)
            else:
                now_s = arrival_s
                dialogue = self._arrive(now_s)
                arrival_s += self._wait(arrival_s)
            yield self._turn(now_s, dialogue, self._speak(dialogue), "user")
            left -= 1
            if self._scenario.assistant_turns and left > 0 and dialogue.act != "thank":
                reply = self._speakers[dialogue.language].answer()
                yield self._turn(now_s + 0.4, dialogue, reply, "assistant")
                left -= 1
            self._go_on(now_s, dialogue)

    def _wait(self, now_s: float) -> float:
        """Draw the time until the next dialogue; a burst adds to the usual rate."""
        hour = _HOURS[int((self._midnight_s + now_s) / 3600) % 24]
        rate = self._scenario.rate_per_s / _MEAN_TURNS * hour * len(_HOURS) / 100
        return self._rng.expovariate(rate / (1 - min(self._burst_share(now_s), 0.95)))

    def _burst_share(self, now_s: float) -> float:
        return sum(
            burst.share
            for burst in self._scenario.bursts
            if burst.start_s <= now_s < burst.start_s + burst.duration_s
        )

    def _burst_issue(self, now_s: float) -> str | None:
        lot = self._draw() if self._scenario.bursts else 1.0
        for burst in self._scenario.bursts:
            if burst.start_s <= now_s < burst.start_s + burst.duration_s:
                lot -= burst.share
                if lot < 0:
                    return burst.issue
        return None

    def _arrive(self, now_s: float) -> _Dialogue:
        draw = self._draw
        mix = self._rng.choices(self._mixes, cum_weights=self._mix_weights)[0]
        tenant = mix.tenant
        # A power law with exponent 0.6: a few customers write often, most write once.
        user = int(tenant.users * draw() ** 2.5)
        code = self._language_of(user, tenant)
        regions = _REGIONS[code]
        burst = self._burst_issue(now_s)
        intent = burst or self._rng.choices(mix.openings, cum_weights=mix.opening_weights)[0]
        products = mix.products[code]
        channel = self._rng.choices(mix.channels, cum_weights=mix.channel_weights)[0]
        self._count += 1
        return _Dialogue(
            tenant=tenant.name,
            channel=channel,
            id=f"{self._scenario.seed:x}-{self._count:07x}",
            turn=0,
            user_id=f"{tenant.name}-u{user:07d}",
            merchant=f"{tenant.name}-m{int(tenant.merchants * draw() ** 2):03d}",
            region=regions[int(len(regions) * _trait(user, 3) ** 1.6)],
            language=code,
            intent=intent,
            domain=self._domains.get(intent, "burst"),
            burst=burst,
            manner=Manner(
                product=products[int(draw() * len(products))],
                products=products,
                sloppiness=_trait(user, 2),
                spoken=channel == "phone_transcript",
            ),
            act="open",
        )

    def _language_of(self, user: int, tenant: Tenant) -> str:
        if len(self._scenario.languages) == 1:
            return self._scenario.languages[0]
        return "zh" if _trait(user, 1) < tenant.chinese_share else "en"

    def _speak(self, dialogue: _Dialogue) -> Utterance:
        speaker = self._speakers[dialogue.language]
        if dialogue.act == "brief":
            return speaker.brief(dialogue.intent, dialogue.domain, dialogue.manner)
        if dialogue.act == "nudge":
            return speaker.nudge(dialogue.domain, dialogue.manner)
        return speaker.question(
            dialogue.intent,
            dialogue.domain,
            dialogue.manner,
            opening=dialogue.act == "open",
            again=dialogue.act == "again",
        )

    def _go_on(self, now_s: float, dialogue: _Dialogue) -> None:
        """Decide what the customer does next, and when; drop the dialogue where that is nothing."""
        draw = self._draw
        if dialogue.act == "thank" or dialogue.turn >= MAX_DIALOGUE_TURNS:
            return
        lot = draw()
        follow_ups = self._follow_ups.get(
            dialogue.intent, ("human_agent", "order_cancel", "refund_status")
        )
        if dialogue.intent == "greeting" and dialogue.burst is None:
            if lot > 0.8:
                return
            self._turn_to(dialogue, follow_ups[int(draw() * len(follow_ups))], "next")
        elif draw() < self._scenario.answer_accuracy:
            if lot < 0.52:
                return
            if lot < 0.67:
                self._turn_to(dialogue, "thanks", "thank")
            elif lot < 0.79 or not follow_ups:
                dialogue.act = "brief"
            else:
                self._turn_to(dialogue, follow_ups[int(draw() * len(follow_ups))], "next")
        elif lot < 0.5:
            dialogue.act = "again"
        elif lot < 0.58:
            dialogue.act = "nudge"
        elif lot < 0.8:
            self._turn_to(dialogue, "human_agent", "next")
        else:
            return
        dialogue.turn += 1
        self._ties += 1  # dialogues whose turns are due at the same time must not be compared
        heapq.heappush(
            self._active, (now_s + 4 + self._rng.expovariate(1 / 25), self._ties, dialogue)
        )

    def _turn_to(self, dialogue: _Dialogue, intent: str, act: str) -> None:
        dialogue.intent = intent
        dialogue.domain = self._domains[intent]
        dialogue.act = act

    def _turn(self, now_s: float, dialogue: _Dialogue, said: Utterance, role: str) -> SimulatedTurn:
        turn = dialogue.turn
        if role == "assistant":
            dialogue.turn = turn = turn + 1
        return SimulatedTurn(
            ts=self._scenario.start + timedelta(seconds=now_s),
            tenant=dialogue.tenant,
            channel=dialogue.channel,
            dialogue_id=dialogue.id,
            turn=turn,
            user_id=dialogue.user_id,
            merchant=dialogue.merchant,
            region=dialogue.region,
            language=dialogue.language,
            text=said.text,
            intent=dialogue.intent,
            pii=said.pii,
            burst=dialogue.burst,
            role=role,
        )


def _trait(user: int, which: int) -> float:
    """Return a customer's fixed trait in [0, 1), by multiplicative hashing (Knuth, TAOCP 6.4)."""
    mixed = (user * 2654435761 + which * 0x9E3779B9) & 0xFFFFFFFF
    mixed ^= mixed >> 16
    return (mixed * 0x45D9F3B & 0xFFFFFFFF) / 2**32


def _mix(tenant: Tenant, codes: tuple[str, ...]) -> _Mix:
    openings = [
        (intent.name, intent.weight**2 * tenant.domain_factors.get(intent.domain, 1.0))
        for intent in intents()
        if tenant.name in intent.tenants
    ]
    return _Mix(
        tenant=tenant,
        openings=tuple(name for name, _ in openings),
        opening_weights=tuple(accumulate(weight for _, weight in openings)),
        channels=tuple(tenant.channels),
        channel_weights=tuple(accumulate(tenant.channels.values())),
        products={
            code: tuple(
                name for group in tenant.product_groups for name in language(code).products[group]
            )
            for code in codes
        },
    )

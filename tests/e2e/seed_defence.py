"""Fill a home with a night of promotion: traffic of the last hour, and the issues that rise in it.

Usage: python tests/e2e/seed_defence.py HOME

The traffic is simulated, clustered by the real stream clusterer and kept where rules are tried on
it; figures of issues are those of the traffic. For tests and for the pictures of the documentation.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from zlib import crc32

import pyarrow as pa

from closedloop.core.settings import Settings
from closedloop.core.store import Store
from closedloop.data.simulate.dialogues import simulate_turns
from closedloop.data.simulate.scenario import Burst, Scenario
from closedloop.defence.issues.issue import Issue
from closedloop.defence.issues.issue_book import IssueBook
from closedloop.defence.issues.sighting import Sighting, TypicalText
from closedloop.defence.recent_traffic import SCHEMA, RecentTraffic
from closedloop.defence.shard_figures import ShardFigures
from closedloop.defence.shards import Shards
from closedloop.defence.stream_clusters import StreamClusters

HOUR_S = 3600.0
# What breaks out in which tenant: (issue, minutes ago, share of the traffic).
NIGHT = {
    "bazaar": [("promo_coupon_outage", 14, 0.5), ("fake_refund_sms", 34, 0.06)],
    "voltio": [("checkout_crash", 22, 0.3)],
    "harbour": [("payment_partner_down", 9, 0.35)],
    "freshgo": [("baby_formula_recall", 27, 0.15)],
}
_TURNS = 1_500  # a tenant's
_ANSWERS = {"promo_coupon_outage": "coupon_invalid", "checkout_crash": "app_error"}
_BAD = {"promo_coupon_outage": 0.63, "checkout_crash": 0.41, "fake_refund_sms": 0.2}
_NOVEL = {"promo_coupon_outage": 0.82, "fake_refund_sms": 0.91, "payment_partner_down": 0.4}


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """A text and where it went."""

    at: float
    text: str
    channel: str
    burst: str
    micro: int
    cluster: int
    event_id: str
    answer: str
    model: str


def seed(settings: Settings, store: Store) -> list[Issue]:
    """Write the last hour of traffic and publish what rises in it; return the issues."""
    book = IssueBook(store)
    night = write_night(settings, now=time.time())
    watched(store, texts=_TURNS * len(NIGHT), tenants=len(NIGHT))
    return [one for tenant, seen in night.items() for one in book.publish(tenant, seen)]


def watched(store: Store, *, texts: int, tenants: int) -> None:
    """Report what was clustered, as the shard that does it would; it counts for half a minute."""
    shards = Shards(store)
    place = shards.take(0, epoch=shards.deal(1).epoch)
    figures = ShardFigures(texts=texts, tenants=tenants, events_per_s=texts / HOUR_S)
    place.report(figures)


def write_night(settings: Settings, *, now: float) -> dict[str, list[Sighting]]:
    """Write the hour before a time, in Unix seconds; return what rises in it, by tenant."""
    night = {}
    for tenant, bursts in NIGHT.items():
        seen = _last_hour(tenant, bursts, now)
        _keep(settings, tenant, seen)
        night[tenant] = [_sighting(tenant, seen, issue, now) for issue, _, _ in bursts]
    return night


def _last_hour(tenant: str, bursts: Sequence[tuple[str, int, float]], now: float) -> list[Seen]:
    scenario = Scenario(
        seed=crc32(tenant.encode()),
        turns=_TURNS,
        tenants=(tenant,),
        rate_per_s=_TURNS / HOUR_S,
        bursts=tuple(
            Burst(issue=issue, start_s=HOUR_S - 60 * ago, duration_s=60 * ago, share=share)
            for issue, ago, share in bursts
        ),
    )
    turns = list(simulate_turns(scenario))
    first, last = turns[0].ts.timestamp(), turns[-1].ts.timestamp()
    stream = StreamClusters()
    placed = []
    for turn in turns:
        # However fast the simulated day was, its turns fill the hour.
        at = now - HOUR_S * (last - turn.ts.timestamp()) / (last - first)
        placed.append((turn, at, stream.add(turn.text, at)))
    stream.refresh()
    return [
        Seen(
            at=at,
            text=turn.text,
            channel=turn.channel,
            burst=turn.burst or "",
            micro=placement.micro,
            cluster=stream.cluster_of(placement),
            event_id=f"{tenant}-{place:06}",
            answer=_ANSWERS.get(turn.burst or "", "other"),
            model=f"{tenant}.intent.main",
        )
        for place, (turn, at, placement) in enumerate(placed)
    ]


def _keep(settings: Settings, tenant: str, seen: Sequence[Seen]) -> None:
    columns = {
        "at": [one.at for one in seen],
        "event_id": [one.event_id for one in seen],
        "text": [one.text for one in seen],
        "channel": [one.channel for one in seen],
        "model": [one.model for one in seen],
        "prediction": [one.answer for one in seen],
        "confidence": [0.5] * len(seen),
        "micro": [one.micro for one in seen],
    }
    rows = pa.table({name: columns[name] for name in SCHEMA.names}, schema=SCHEMA)
    RecentTraffic(settings.defence_folder / "recent").append(tenant, rows, name="seed")


def _sighting(tenant: str, seen: Sequence[Seen], burst: str, now: float) -> Sighting:
    """Return what the stream would say of a burst, from the micro-clusters it fills."""
    of_micro: dict[int, list[Seen]] = {}
    for one in seen:
        of_micro.setdefault(one.micro, []).append(one)
    micros = [
        micro
        for micro, texts in of_micro.items()
        if sum(one.burst == burst for one in texts) * 2 > len(texts)
    ]
    mine = [one for micro in micros for one in of_micro[micro]]
    mine.sort(key=lambda one: one.at)
    began = min(one.at for one in mine if one.burst == burst)
    minutes = max(1.0, (now - began) / 60)
    series = Counter(59 - int((now - one.at) // 60) for one in mine)
    terms = _terms(mine, seen)
    typical = _typical_of(mine, terms)
    return Sighting(
        tenant=tenant,
        cluster=Counter(one.cluster for one in mine).most_common(1)[0][0],
        began_at=began,
        seen_at=mine[-1].at,
        texts=len(mine),
        window_s=600.0,
        rate_per_min=len(mine) / minutes,
        expected_per_min=max(0.0, sum(one.at < began for one in mine) / 60),
        surprise=len(mine) / 4,
        false_alarms_per_day=1e-6,
        bad_share=_BAD.get(burst),
        novelty=_NOVEL.get(burst, 0.7),
        channels=dict(Counter(one.channel for one in mine).most_common()),
        models={f"{tenant}.intent.main": len(mine)},
        intents={_ANSWERS.get(burst, "other"): len(mine)},
        terms=terms,
        typical=tuple(map(_typical, typical)),
        samples=tuple(map(_typical, mine[:200])),
        micros=tuple(micros),
        series=tuple(series.get(minute, 0) for minute in range(60)),
    )


def _terms(mine: Sequence[Seen], seen: Sequence[Seen]) -> tuple[str, ...]:
    """Return the terms that are in many of the texts, and in few others."""
    from closedloop.defence.terms import stream_terms

    here = Counter(term for one in mine for term in stream_terms(one.text))
    everywhere = Counter(term for one in seen for term in stream_terms(one.text))
    ranked = sorted(here, key=lambda t: (-here[t] * here[t] / (everywhere[t] + 5), t))
    return tuple(ranked[:8])


def _typical_of(mine: Sequence[Seen], terms: Sequence[str]) -> list[Seen]:
    """Return different texts, those first that were said often and have many of the terms."""
    said = Counter(one.text for one in mine)
    first = {one.text: one for one in mine}
    score = {text: said[text] * sum(term in text.lower() for term in terms) for text in said}
    return [first[text] for text in sorted(score, key=lambda text: (-score[text], text))[:8]]


def _typical(one: Seen) -> TypicalText:
    return TypicalText(
        text=one.text,
        event_id=one.event_id,
        at=one.at,
        channel=one.channel,
        answer=one.answer,
        model=one.model,
    )


def main() -> None:
    """Fill the home that the command names."""
    settings = Settings(home=Path(sys.argv[1]))
    store = Store.open(settings.store_url)
    began = datetime.now(UTC)
    issues = seed(settings, store)
    store.close()
    for issue in issues:
        print(f"{issue.id}  {issue.tenant:8} {issue.title}  ({issue.sighting.texts} texts)")
    print(f"{(datetime.now(UTC) - began).total_seconds():.1f} s")


if __name__ == "__main__":
    main()

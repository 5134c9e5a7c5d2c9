"""Rising issues measured: how soon a new one is on the board, and how often calm traffic is.

    python benchmarks/defence_issues.py --json issues.json [--quick]

Streams of a thousand texts a second, in which, after ten minutes of calm, new issues break out at
2 % of the traffic each, go through the clusters and the watch in this process at event time. An
issue is on the board when `IssueBook.publish` opened it; it is found where most of its texts are
of the burst. Processing is taken into account as a queue with one server: a text is done when the
one before is done and its own CPU time has passed, and the board is asked once a second of that
clock.

Calm traffic of several rates tells the false alarms; an upper bound (95 %, Poisson) is given, for
a few days without one show little.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from defence_traffic import Plan, arrivals, burst_plan
from scipy.stats import chi2

from closedloop.core.store import Store
from closedloop.data.event import Kind
from closedloop.defence.issues.issue_book import IssueBook
from closedloop.defence.issues.sighting import Sighting
from closedloop.defence.issues.watch import IssueWatch
from closedloop.defence.issues.watch_settings import WatchSettings
from closedloop.defence.stream_clusters import StreamClusters, StreamSettings
from closedloop.samples.embedding import load_embedding

_HALF_LIFE_S = 6 * 3600.0
_FROM = 50  # texts of a burst, from which the time to the board counts
_MOST = 0.5  # part of an issue's texts that are of one burst
_DAY_S = 86_400.0


@dataclass(kw_only=True)
class Found:
    """What a stream showed."""

    texts: int
    seconds: float
    # Of the time in which bursts come.
    busy_texts: int
    busy_s: float
    # Burst to the seconds from its 50th text until it was on the board, and its issues.
    waits: dict[str, float]
    issues: dict[str, int]
    missed: list[str]
    # What came onto the board and is of no burst.
    false: list[str]
    cluster_us: float
    watch_us: float
    sightings_ms: float
    most_sightings_ms: float


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one stream, four bursts, an hour")
    options = parser.parse_args()
    report = figures(options.seed, quick=options.quick)
    report |= {"cores": os.cpu_count(), "python": sys.version.split()[0]}
    if options.json:
        options.json.write_text(json.dumps(report, indent=2), encoding="utf-8")


def figures(seed: int, *, quick: bool) -> dict[str, Any]:
    """Return what bursts and calm traffic showed."""
    load_embedding()
    plans = [burst_plan(seed + n, codes, 8) for n, codes in enumerate((("zh",), ("en",)))]
    plans.append(burst_plan(seed + 2, ("en", "zh"), 8))
    # Texts a second, hours, seconds between looks: slow traffic is looked at more seldom.
    hours = ((670.0, 0.1, 1.0), (5.0, 6.0, 5.0), (1 / 6, 7 * 24.0, 60.0))
    if quick:
        plans, hours = (
            [burst_plan(seed, ("en", "zh"), 3, calm_s=300.0)],
            ((1.0, 2.0, 5.0), (1 / 6, 24.0, 60.0)),
        )
    bursts = [_told(watched(plan)) for plan in plans]
    calm = [
        _told(
            watched(Plan(seed=seed + 100 + n, rate_per_s=rate, seconds=h * 3600.0, look_s=look_s))
        )
        for n, (rate, h, look_s) in enumerate(hours)
    ]
    waits = [wait for each in bursts for wait in each.waits.values()]
    injected = sum(len(plan.issues) for plan in plans)
    alarms = sum(len(each.false) for each in calm)
    days = sum(each.seconds for each in calm) / _DAY_S
    report = {
        "bursts": injected,
        "bursts_found": len(waits),
        "seconds_to_board_p50": _percentile(waits, 50),
        "seconds_to_board_p95": _percentile(waits, 95),
        "issues_per_burst": sum(sum(each.issues.values()) for each in bursts) / max(1, len(waits)),
        "false_issues_beside_bursts": sum(len(each.false) for each in bursts),
        "burst_texts_per_s": sum(e.busy_texts for e in bursts) / sum(e.busy_s for e in bursts),
        "false_alarms": alarms,
        "calm_days": days,
        "calm_texts": sum(each.texts for each in calm),
        "false_alarms_per_day": alarms / days,
        "false_alarms_per_day_at_most": float(chi2.ppf(0.95, 2 * alarms + 2) / 2.0 / days),
        "cluster_us": float(np.mean([each.cluster_us for each in bursts])),
        "watch_us": float(np.mean([each.watch_us for each in bursts])),
        "sightings_ms": float(np.mean([each.sightings_ms for each in bursts])),
        "sightings_ms_max": max(each.most_sightings_ms for each in bursts),
        "streams": [asdict(each) for each in bursts],
        "calm_streams": [asdict(each) for each in calm],
        "watch_settings": asdict(WatchSettings()),
    }
    for name, value in report.items():
        if isinstance(value, int | float):
            print(f"{name:30} {value:.4g}")
    return report


def watched(plan: Plan) -> Found:
    """Return what a stream showed on the board."""
    stream = StreamClusters(StreamSettings(half_life=_HALF_LIFE_S))
    watch = IssueWatch()
    truth: dict[str, str] = {}
    told: Counter[str] = Counter()
    due: dict[str, float] = {}
    waits: dict[str, float] = {}
    issues: Counter[str] = Counter()
    false: list[str] = []
    spent, asked = [0.0, 0.0], [0.0]
    begun, done, at = None, 0.0, 0.0
    texts, busy, told_texts = 0, 0, 0
    with TemporaryDirectory(prefix="cl-issues-") as folder:
        store = Store.open(f"sqlite:///{folder}/store.db")
        book = IssueBook(store)
        for event, issue in arrivals(plan):
            at = event.ts.timestamp()
            if begun is None:
                begun = done = next_ask = at
            done = max(done, at)
            if done >= next_ask and texts > told_texts:
                next_ask, told_texts = done + plan.look_s, texts
                before = time.process_time()
                seen = watch.sightings(stream, now=at, known=book.clusters(event.tenant), parts={})
                asked.append(time.process_time() - before)
                opened = book.publish(event.tenant, seen)
                done += time.process_time() - before
                for one in opened:
                    about = _about(one.sighting, truth)
                    if about is None:
                        false.append(_described(one.sighting, at - begun))
                        continue
                    issues[about] += 1
                    waits.setdefault(about, done)
            before = time.process_time()
            if event.kind is Kind.FEEDBACK:
                watch.heed(event)
                done += time.process_time() - before
                continue
            placement = stream.add(event.text or "", at)
            placed = time.process_time()
            watch.see(event, placement)
            now = time.process_time()
            spent[0] += placed - before
            spent[1] += now - placed
            done += now - before
            texts += 1
            busy += at - begun >= plan.calm_s
            if issue is not None:
                truth[event.event_id] = issue
                told[issue] += 1
                if told[issue] == _FROM:
                    due[issue] = at
        store.close()
    found = {issue: waits[issue] - due[issue] for issue in waits if issue in due}
    return Found(
        texts=texts,
        seconds=at - (begun or at),
        busy_texts=busy,
        busy_s=at - (begun or at) - plan.calm_s,
        waits=found,
        issues={issue: issues[issue] for issue in found},
        missed=[issue for issue in plan.issues if issue not in found],
        false=false,
        cluster_us=1e6 * spent[0] / max(1, texts),
        watch_us=1e6 * spent[1] / max(1, texts),
        sightings_ms=1e3 * float(np.mean(asked)),
        most_sightings_ms=1e3 * max(asked),
    )


def _about(sighting: Sighting, truth: dict[str, str]) -> str | None:
    """Return the burst that most of an issue's texts are of, since it began."""
    since = [said for said in sighting.samples if said.at >= sighting.began_at]
    held = Counter(truth.get(said.event_id) for said in since)
    held.pop(None, None)
    if not held:
        return None
    issue, count = held.most_common(1)[0]
    return issue if count >= _MOST * len(since) else None


def _described(sighting: Sighting, second: float) -> str:
    said = " / ".join(each.text for each in sighting.typical[:3])
    return (
        f"second {second:.0f}, window {sighting.window_s:.0f} s, {sighting.rate_per_min:.0f} a"
        f" minute for {sighting.expected_per_min:.1f}, surprise {sighting.surprise:.1f}: {said}"
    )


def _told(found: Found) -> Found:
    print(
        f"{found.texts:,} texts in {found.seconds:,.0f} s: {len(found.waits)} bursts found after"
        f" {', '.join(f'{wait:.1f}' for wait in found.waits.values())} s,"
        f" missed {found.missed}, false: {found.false}",
        flush=True,
    )
    return found


def _percentile(values: list[float], q: float) -> float | None:
    return float(np.percentile(values, q)) if values else None


if __name__ == "__main__":
    main()

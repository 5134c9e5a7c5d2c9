"""Rising issues from end to end: the event log, the clusterer's Ray actor, the board.

    python benchmarks/defence_live.py --json live.json [--quick]

The traffic of `defence_traffic` is appended to the embedded event log as it comes due, a thousand
texts a second by the clock; the calm before the first burst is in the log already. A burst is on
the board when the store, asked ten times a second, has an issue most of whose texts are of it;
the time counts from the acknowledgement of its 50th event.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from defence_traffic import Arrival, arrivals, burst_plan

from closedloop.actors.cluster import ray_cluster
from closedloop.actors.stream_clusterer import host_clusterer, retire_clusterer
from closedloop.core.ports import free_port
from closedloop.core.settings import Settings
from closedloop.core.store import Store
from closedloop.data.event_log.opening import open_event_log
from closedloop.data.event_log.protocol import EventLog
from closedloop.defence.issues.issue_book import IssueBook
from closedloop.defence.issues.sighting import Sighting

_FROM = 50  # events of a burst, from which the time to the board counts
_MOST = 0.5  # part of an issue's texts that are of one burst
_POLL_S = 0.1
_TICK_S = 0.05
_AFTER_S = 20.0  # that the board is watched for after the last event
_CATCH_UP_S = 600.0
_LEAST_CATCH_UP = 2_000  # events a second
_CALM_S = 240.0


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one stream of three bursts")
    options = parser.parse_args()
    report = figures(options.seed, quick=options.quick)
    report |= {"cores": os.cpu_count(), "python": sys.version.split()[0]}
    if options.json:
        options.json.write_text(json.dumps(report, indent=2), encoding="utf-8")


def figures(seed: int, *, quick: bool) -> dict[str, Any]:
    """Return how soon bursts were on the board."""
    streams = [(("en", "zh"), 3)] if quick else [(("zh",), 8), (("en",), 8), (("en", "zh"), 8)]
    runs = [_stream(seed + n, codes, count) for n, (codes, count) in enumerate(streams)]
    waits = [wait for run in runs for wait in run["waits"].values()]
    report = {
        "bursts": sum(run["bursts"] for run in runs),
        "bursts_found": len(waits),
        "seconds_to_board_p50": round(float(np.percentile(waits, 50)), 2) if waits else None,
        "seconds_to_board_p95": round(float(np.percentile(waits, 95)), 2) if waits else None,
        "issues_per_burst": sum(sum(run["issues"].values()) for run in runs) / max(1, len(waits)),
        "false_issues_beside_bursts": sum(len(run["false"]) for run in runs),
        "events_per_s": round(float(np.mean([run["events_per_s"] for run in runs]))),
        "catch_up_events_per_s": round(float(np.mean([run["catch_up"] for run in runs]))),
        "lag_s_max": max(run["lag_s"] for run in runs),
        "streams": runs,
    }
    for name, value in report.items():
        if name != "streams":
            print(f"{name:30} {value}")
    return report


def _stream(seed: int, languages: tuple[str, ...], count: int) -> dict[str, Any]:
    plan = burst_plan(seed, languages, count, calm_s=_CALM_S)
    planned = list(arrivals(plan))
    begin = plan.start.timestamp()
    calm = [each for each in planned if each.event.ts.timestamp() - begin < plan.calm_s - 5.0]
    live = planned[len(calm) :]
    with tempfile.TemporaryDirectory(prefix="cl-board-") as name:
        settings = Settings(
            home=Path(name) / "home", api_port=free_port(), dashboard_port=free_port()
        )
        store = Store.open(settings.store_url)
        log = open_event_log(settings.event_log_url)
        with ray_cluster(settings):
            shards = host_clusterer(settings)
            began = time.perf_counter()
            # The calm is read faster than it would have happened, and ends when the rest begins.
            start = time.time() + len(calm) / _LEAST_CATCH_UP
            shift = start - live[0].event.ts.timestamp()
            for n in range(0, len(calm), 2_000):
                log.append([_moved(each, shift) for each in calm[n : n + 2_000]])
            _until_read(shards, len(calm))
            catch_up = len(calm) / (time.perf_counter() - began)
            time.sleep(max(0.0, start - time.time()))
            try:
                told = _live(store, log, shards, live)
            finally:
                retire_clusterer()
        log.close()
        store.close()
    told |= {"languages": languages, "bursts": count, "catch_up": catch_up}
    print(told, flush=True)
    return told


def _until_read(shards: Any, events: int) -> None:
    deadline = time.monotonic() + _CATCH_UP_S
    while time.monotonic() < deadline:
        if sum(each.events for each in shards.figures()) >= events:
            return
        time.sleep(0.2)
    raise SystemExit("The clusterer has not caught up with the calm traffic.")


def _live(store: Store, log: EventLog, shards: Any, live: Sequence[Arrival]) -> dict[str, Any]:
    """Append traffic as it comes due, and watch the board."""
    truth: dict[str, str] = {}
    due: dict[str, float] = {}
    fed = threading.Event()
    watcher = _BoardWatcher(IssueBook(store), truth, fed)
    watcher.start()
    counts: Counter[str] = Counter()
    first = live[0].event.ts.timestamp()
    start = time.time()
    lag_s, sent = 0.0, 0
    while sent < len(live):
        now = time.time()
        batch = []
        while sent < len(live) and live[sent].event.ts.timestamp() - first <= now - start:
            batch.append(live[sent])
            sent += 1
        for each in batch:
            if each.issue is not None:
                truth[each.event.event_id] = each.issue
        if batch:
            log.append([_moved(each, start - first) for each in batch])
        acknowledged = time.time()
        for each in batch:
            if each.issue is not None:
                counts[each.issue] += 1
                if counts[each.issue] == _FROM:
                    due[each.issue] = acknowledged
                    lag_s = max(lag_s, *(shard.lag_s for shard in shards.figures()))
        time.sleep(max(0.0, _TICK_S - (time.time() - now)))
    seconds = time.time() - start
    fed.set()
    watcher.join()
    waits = {issue: at - due[issue] for issue, at in watcher.seen.items() if issue in due}
    return {
        "waits": {issue: round(wait, 2) for issue, wait in waits.items()},
        "missed": [issue for issue in due if issue not in waits],
        "issues": {issue: watcher.issues[issue] for issue in waits},
        "false": watcher.false,
        "events_per_s": len(live) / seconds,
        "lag_s": round(lag_s, 2),
    }


class _BoardWatcher(threading.Thread):
    """Asks the board for issues that it has not seen."""

    def __init__(self, book: IssueBook, truth: dict[str, str], fed: threading.Event) -> None:
        super().__init__(name="board", daemon=True)
        self._book, self._truth, self._fed = book, truth, fed
        # Issues of the calm before are not of these bursts.
        self._known = {issue.id for issue in book.board()}
        self.seen: dict[str, float] = {}
        self.issues: Counter[str] = Counter()
        self.false: list[str] = []

    def run(self) -> None:
        """Look until some time after the last event."""
        ends = float("inf")
        while time.time() < ends:
            if ends == float("inf") and self._fed.is_set():
                ends = time.time() + _AFTER_S
            for issue in self._book.board():
                if issue.id not in self._known:
                    self._known.add(issue.id)
                    self._judge(self._book.get(issue.id).sighting, time.time())
            time.sleep(_POLL_S)

    def _judge(self, sighting: Sighting, at: float) -> None:
        held = Counter(self._truth.get(said.event_id) for said in sighting.samples)
        held.pop(None, None)
        issue, count = held.most_common(1)[0] if held else ("", 0)
        if not issue or count < _MOST * len(sighting.samples):
            self.false.append(" / ".join(each.text for each in sighting.typical[:3]))
            return
        self.issues[issue] += 1
        self.seen.setdefault(issue, at)


def _moved(each: Arrival, shift: float) -> Any:
    event = each.event
    return replace(event, ts=datetime.fromtimestamp(event.ts.timestamp() + shift, tz=UTC))


if __name__ == "__main__":
    main()

"""What runs inside an actor of the stream clusterer: a shard in a thread, and answers about it."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import Any

from closedloop.core.settings import Settings
from closedloop.core.store import Store
from closedloop.defence.alerts.alerting import LiveAlerts
from closedloop.defence.issues.issue_board import IssueBoard
from closedloop.defence.issues.issue_book import IssueBook
from closedloop.defence.issues.watching import issue_watching
from closedloop.defence.shard_figures import ShardFigures
from closedloop.defence.shard_run import ShardRun

_GAUGES = {
    "lag_events": "Events in the log that the shard has not read.",
    "lag_s": "Seconds since the shard was at the end of the log.",
    "events_per_s": "Events read a second.",
    "memory_bytes": "Memory of the shard's process.",
    "checkpoints": "Checkpoints since the process started.",
    "checkpoint_s": "Seconds that the last checkpoint took.",
    "tenants": "Tenants of the shard.",
    "clusters": "Clusters of the tenants in memory.",
    "missed": "Events that the log removed before they were read.",
    "restarts": "Failures since the process started.",
}


def actor_name(shard: int) -> str:
    """Return the name of a shard's actor."""
    return f"stream-clusterer-{shard}"


class HostedShard:
    """What runs inside an actor: a shard in a thread, and answers about it.

    Parameters
    ----------
    environment : mapping
        `Settings.environment` of the installation.
    shard, epoch : int
        Its number, and the dealing that it belongs to.
    """

    def __init__(self, environment: Mapping[str, str], shard: int, epoch: int) -> None:
        self._settings = settings_of(environment)
        self._epoch = epoch
        self._gauges = _gauges(shard)
        self._run = ShardRun(
            self._settings,
            shard=shard,
            epoch=epoch,
            watching=issue_watching(),
            board=self._board,
            tell=self._measure,
        )
        self._thread = threading.Thread(target=self._run.run, name=actor_name(shard), daemon=True)
        self._thread.start()
        self._ended = threading.Event()
        if shard == 0:  # one sends all there are
            threading.Thread(target=self._deliver, name="alerts", daemon=True).start()

    def host(self) -> tuple[str, int, int]:
        """Return the store's URL, the dealing's epoch and this process's id."""
        return self._settings.store_url, self._epoch, os.getpid()

    def figures(self) -> ShardFigures:
        """Return how the shard stands."""
        return self._run.figures

    def stop(self, timeout_s: float) -> bool:
        """Save and end; return whether that was done in time."""
        self._run.stop()
        self._ended.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _board(self, store: Store) -> IssueBoard:
        alerts = LiveAlerts(self._settings, store)
        return IssueBoard(IssueBook(store), raise_for=alerts.raise_for)

    def _deliver(self) -> None:
        store = Store(self._settings.store_url)
        try:
            LiveAlerts(self._settings, store).deliver_until(self._ended)
        finally:
            store.close()

    def _measure(self, figures: ShardFigures) -> None:
        for name, gauge in self._gauges.items():
            gauge.set(getattr(figures, name))


def settings_of(environment: Mapping[str, str]) -> Settings:
    """Return the settings that `Settings.environment` told."""
    prefix = "CLOSEDLOOP_"
    return Settings.model_validate(
        {name.removeprefix(prefix).lower(): value for name, value in environment.items()}
    )


def _gauges(shard: int) -> dict[str, Any]:
    from ray.util.metrics import Gauge

    gauges = {}
    for name, told in _GAUGES.items():
        gauge = Gauge(f"closedloop_clusterer_{name}", description=told, tag_keys=("shard",))
        gauge.set_default_tags({"shard": str(shard)})
        gauges[name] = gauge
    return gauges

"""Shards of the stream clusterer as Ray actors, one process each.

An actor is a thread that runs a shard (`closedloop.defence.shard_run`) and a door to ask how it
stands; that of the first shard delivers alerts, too. It may be killed at any moment: Ray starts
it again (``max_restarts=-1``) with the arguments that it had; it takes its place in the metadata
store from the process before, and goes on from its files. Its place is void once the shards are
dealt anew; it then ends by itself.

The files are below ``CLOSEDLOOP_HOME``, so that every shard runs on the node that starts them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from closedloop.core.errors import EngineError
from closedloop.core.settings import Settings
from closedloop.core.store import Store
from closedloop.data.event_log.opening import open_event_log
from closedloop.defence.alerts.alerting import LiveAlerts
from closedloop.defence.checkpoint import SlotFiles
from closedloop.defence.issues.issue_board import IssueBoard
from closedloop.defence.issues.issue_book import IssueBook
from closedloop.defence.issues.watching import issue_watching
from closedloop.defence.recent_traffic import RecentTraffic
from closedloop.defence.shard_figures import ShardFigures
from closedloop.defence.shard_run import ShardRun
from closedloop.defence.shards import Shards
from closedloop.defence.slots import dealt

NAMESPACE = "closedloop"
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 60.0
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


@dataclass(frozen=True, kw_only=True, slots=True)
class HostedShards:
    """The shards that run."""

    actors: tuple[Any, ...]  # ray.actor.ActorHandle, by shard
    epoch: int

    def figures(self) -> list[ShardFigures]:
        """Ask each shard how it stands.

        Raises
        ------
        EngineError
            One does not answer.
        """
        answered: list[ShardFigures] = _asked([a.figures.remote() for a in self.actors])
        return answered

    def process_ids(self) -> list[int]:
        """Return the process of each shard; raises as `figures`."""
        return [told[2] for told in _asked([a.host.remote() for a in self.actors])]


def host_clusterer(settings: Settings, *, shards: int | None = None) -> HostedShards:
    """Return the shards, starting them where they do not run as wanted.

    They are detached: they outlive the driver that started them, until `retire_clusterer` or the
    end of the Ray cluster. Where another number of them runs, those save and end first. Ray must
    be connected already.

    Parameters
    ----------
    shards : int, optional
        By default as many as the settings say.

    Raises
    ------
    InputError
        There is no such number of shards.
    EngineError
        An actor cannot start, or another installation's shards run in this cluster.
    """
    wanted = settings.defence_shards if shards is None else shards
    found = find_clusterer(settings)
    if found is not None and len(found.actors) == wanted:
        return found
    return _started(settings, wanted, rebuild=False)


def rebuild_clusterer(settings: Settings, *, shards: int | None = None) -> HostedShards:
    """Forget all clusters, and start shards that read the event log from its first event.

    Issues stay as they are; what the new clusters show becomes new ones. Raises as
    `host_clusterer`.
    """
    found = find_clusterer(settings)
    there = len(found.actors) if found is not None else settings.defence_shards
    return _started(settings, (there or 1) if shards is None else shards, rebuild=True)


def find_clusterer(settings: Settings) -> HostedShards | None:
    """Return the shards that run, None where not all of a dealing do.

    Raises
    ------
    EngineError
        They belong to another installation.
    """
    store = Store.open(settings.store_url)
    try:
        dealing = Shards(store).dealing()
    finally:
        store.close()
    actors = [actor for number in range(dealing.shards) if (actor := _actor(number)) is not None]
    if not actors or len(actors) < dealing.shards:
        return None
    epochs = _epochs(actors, settings)
    if epochs != [dealing.epoch] * dealing.shards:
        return None
    return HostedShards(actors=tuple(actors), epoch=dealing.epoch)


def retire_clusterer() -> None:
    """Let every shard save, and end its actor for good; the files stay."""
    import ray

    there = _all_actors()
    stopping = [actor.stop.remote(STOP_TIMEOUT_S) for actor in there]
    # One that hangs, or is being started again, is not waited for longer: a kill loses nothing.
    if stopping:
        ray.wait(stopping, num_returns=len(stopping), timeout=STOP_TIMEOUT_S)
    for actor in there:
        ray.kill(actor, no_restart=True)


def settings_of(environment: Mapping[str, str]) -> Settings:
    """Return the settings that `Settings.environment` told."""
    prefix = "CLOSEDLOOP_"
    return Settings.model_validate(
        {name.removeprefix(prefix).lower(): value for name, value in environment.items()}
    )


def _started(settings: Settings, shards: int, *, rebuild: bool) -> HostedShards:
    import ray

    dealt(shards)  # refuses a number that is none, before anything ends
    _epochs(_all_actors(), settings)
    retire_clusterer()
    store = Store.open(settings.store_url)
    try:
        dealing = Shards(store).deal(shards, rebuild=rebuild)
    finally:
        store.close()
    if rebuild:
        _forget(settings)
    here = ray.get_runtime_context().get_node_id()
    options: dict[str, Any] = {
        "namespace": NAMESPACE,
        "lifetime": "detached",
        "max_restarts": -1,
        "max_task_retries": -1,
        "num_cpus": 0,  # it must never wait for a processor that a replica or a trial has
        "scheduling_strategy": ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            node_id=here, soft=False
        ),
    }
    host: Any = ray.remote(HostedShard)
    actors = tuple(
        host.options(name=actor_name(n), **options).remote(settings.environment(), n, dealing.epoch)
        for n in range(shards)
    )
    _asked([actor.host.remote() for actor in actors])
    return HostedShards(actors=actors, epoch=dealing.epoch)


def _forget(settings: Settings) -> None:
    log = open_event_log(settings.event_log_url)
    try:
        SlotFiles(settings.defence_folder / "slots", log.identity).remove_all()
    finally:
        log.close()
    RecentTraffic(settings.defence_folder / "recent").remove_all()


def _all_actors() -> list[Any]:
    """Return the actors of every shard there may be, also of a dealing that has ended."""
    import ray

    named = ray.util.list_named_actors(all_namespaces=True)
    mine = [
        each["name"]
        for each in named
        if each["namespace"] == NAMESPACE and each["name"].startswith(actor_name(0)[:-1])
    ]
    found = [_actor(int(name.rpartition("-")[2])) for name in sorted(mine)]
    return [actor for actor in found if actor is not None]


def _actor(shard: int) -> Any:
    import ray

    try:
        return ray.get_actor(actor_name(shard), namespace=NAMESPACE)
    except ValueError:
        return None


def _epochs(actors: list[Any], settings: Settings) -> list[int]:
    """Return the dealings of the actors that answer; a cluster may remember some that are gone.

    Raises
    ------
    EngineError
        One belongs to another installation.
    """
    import ray

    asked = [actor.host.remote() for actor in actors]
    if not asked:
        return []
    ready, _ = ray.wait(asked, num_returns=len(asked), timeout=START_TIMEOUT_S)
    epochs = []
    for answer in ready:
        with suppress(ray.exceptions.RayError):
            url, epoch, _ = ray.get(answer)
            if url != settings.store_url:
                raise EngineError(
                    "The stream clusterer of this Ray cluster works on another metadata store.",
                    remedy="Give both the same CLOSEDLOOP_STORE, or use another Ray cluster.",
                )
            epochs.append(epoch)
    return epochs


def _asked(answers: list[Any]) -> list[Any]:
    import ray

    try:
        return ray.get(answers, timeout=START_TIMEOUT_S) if answers else []
    except ray.exceptions.RayError as error:
        raise EngineError(
            f"A shard of the stream clusterer did not answer: {str(error).splitlines()[0]}",
            remedy="See 'closedloop defence status'; 'closedloop up' starts it again.",
        ) from error


def _gauges(shard: int) -> dict[str, Any]:
    from ray.util.metrics import Gauge

    gauges = {}
    for name, told in _GAUGES.items():
        gauge = Gauge(f"closedloop_clusterer_{name}", description=told, tag_keys=("shard",))
        gauge.set_default_tags({"shard": str(shard)})
        gauges[name] = gauge
    return gauges

"""Shards of the stream clusterer as Ray actors, one process each.

An actor is a thread that runs a shard (`closedloop.defence.shard_run`) and a door to ask how it
stands; that of the first shard delivers alerts, too. It may be killed at any moment: Ray starts
it again (``max_restarts=-1``) with the arguments that it had; it takes its place in the metadata
store from the process before, and goes on from its files. Its place is void once the shards are
dealt anew; it then ends by itself.

The files are below ``CLOSEDLOOP_HOME``, so that every shard runs on the node that starts them.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from closedloop.actors.hosted_shard import HostedShard, actor_name
from closedloop.core.errors import EngineError
from closedloop.core.settings import Settings
from closedloop.core.store import Store
from closedloop.data.event_log.opening import open_event_log
from closedloop.defence.checkpoint import SlotFiles
from closedloop.defence.recent_traffic import RecentTraffic
from closedloop.defence.shard_figures import ShardFigures
from closedloop.defence.shards import Shards
from closedloop.defence.slots import dealt

NAMESPACE = "closedloop"
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 60.0


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

"""One actor that watches the registry for the whole cluster, and how replicas follow it.

Only this actor imports MLflow. It polls all aliases with one query; replicas wait in a long
poll that returns when the catalog's digest is not the one they hold. The actor keeps nothing
that matters: killed, it is restarted, reads the registry and finds the same digest.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

from closedloop.core.errors import ClosedLoopError
from closedloop.core.settings import Settings
from closedloop.serve.catalog import Catalog, CatalogPoller
from closedloop.serve.model_host import ModelHost

if TYPE_CHECKING:
    from ray.actor import ActorHandle

logger = logging.getLogger(__name__)

ACTOR_NAME = "catalog-watcher"
NAMESPACE = "closedloop"
_LONG_POLL_S = 10.0
_RETRY_S = 1.0


class CatalogWatcher:
    """Follows the registry's champions.

    Parameters
    ----------
    open_poller : callable
        Opens the registry; called in a thread, again after a failure.
    poll_s : float
        Pause between two looks.
    """

    def __init__(self, open_poller: Callable[[], CatalogPoller], *, poll_s: float = 0.5) -> None:
        self._open_poller = open_poller
        self._poll_s = poll_s
        self._catalog: Catalog | None = None
        self._changed: asyncio.Event | None = None
        self._watching: asyncio.Task[None] | None = None

    async def changes(self, known_digest: str, wait_s: float) -> Catalog | None:
        """Return the catalog as soon as its digest is another one.

        Parameters
        ----------
        known_digest : str
            What the caller holds, "" for nothing.
        wait_s : float
            After this long the present catalog is returned regardless; None where the registry
            has not answered yet.
        """
        if self._watching is None or self._watching.done():
            self._changed = asyncio.Event()
            self._watching = asyncio.create_task(self._watch())
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_s
        while self._catalog is None or self._catalog.digest == known_digest:
            assert self._changed is not None
            try:
                await asyncio.wait_for(self._changed.wait(), timeout=deadline - loop.time())
            except TimeoutError:
                break
        return self._catalog

    async def _watch(self) -> None:
        poller: CatalogPoller | None = None
        while True:
            try:
                if poller is None:
                    poller = await asyncio.to_thread(self._open_poller)
                catalog = await asyncio.to_thread(poller.poll)
            except ClosedLoopError as error:
                logger.warning("the registry was not read: %s", error)
            else:
                if self._catalog is None or catalog.digest != self._catalog.digest:
                    self._catalog = catalog
                    assert self._changed is not None
                    self._changed.set()  # wakes all who wait; later ones wait for the next
                    self._changed = asyncio.Event()
            # An alias may be moved by any process, so there is no event to wait for.
            await asyncio.sleep(self._poll_s)


def watcher_actor(settings: Settings, *, poll_s: float = 0.5) -> ActorHandle:
    """Return the cluster's watcher, started where there is none."""
    import ray

    def open_poller() -> CatalogPoller:
        from closedloop.models.registry import Registry

        return CatalogPoller(Registry(settings.registry_url, settings.artifacts_url))

    actor_class: Any = ray.remote(CatalogWatcher)  # Ray's types say it may be the class itself
    return actor_class.options(
        name=ACTOR_NAME,
        namespace=NAMESPACE,
        lifetime="detached",
        get_if_exists=True,
        max_restarts=-1,
        max_task_retries=-1,
        num_cpus=0,
        max_concurrency=1_000,  # one waiting call a replica
    ).remote(open_poller, poll_s=poll_s)


def stop_watcher() -> None:
    """End the cluster's watcher; nothing happens where there is none."""
    import ray

    try:
        actor = ray.get_actor(ACTOR_NAME, namespace=NAMESPACE)
    except ValueError:
        return
    ray.kill(actor, no_restart=True)


async def follow(
    find_watcher: Callable[[], Any],
    host: ModelHost,
    loading: Executor,
    *,
    on_contact: Callable[[bool], None] = lambda _: None,
) -> None:
    """Keep a host at the watcher's catalog until cancelled.

    Parameters
    ----------
    find_watcher : callable
        Returns the actor's handle; called in a thread, again when the actor is lost.
    loading : Executor
        Where models are loaded, apart from the threads that answer requests.
    on_contact : callable
        Told True when the watcher's catalog was applied and False when there was none.
    """
    from ray.exceptions import RayError

    loop = asyncio.get_running_loop()
    watcher: Any = None
    digest = ""
    while True:
        try:
            if watcher is None:
                watcher = await loop.run_in_executor(loading, find_watcher)
            catalog = await watcher.changes.remote(digest, _LONG_POLL_S)
        except (RayError, ValueError, TimeoutError) as error:
            logger.warning("the catalog watcher did not answer: %s", error)
            on_contact(False)
            watcher = None
            await asyncio.sleep(_RETRY_S)
            continue
        if catalog is not None:
            # Also when the digest is the same: what failed to load is tried again.
            await loop.run_in_executor(loading, host.apply, catalog)
            digest = catalog.digest
        on_contact(catalog is not None)

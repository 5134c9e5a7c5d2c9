"""One actor that watches the registry for the whole cluster, and how replicas follow it.

Only this actor imports MLflow. It polls all aliases with one query; replicas wait in a long
poll that returns when the catalog's digest is not the one they hold. It also adds up what they
count of versions on trial, and takes a version back that is worse than its champion. The actor
keeps nothing that matters: killed, it is restarted, reads the registry and finds the same
digest, and counts anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

from closedloop.core.errors import ClosedLoopError, NotFound
from closedloop.core.settings import Settings
from closedloop.models.trial import Trial
from closedloop.serve.catalog import Catalog, CatalogPoller
from closedloop.serve.model_host import ModelHost
from closedloop.serve.trials.counts import Tally, TrialKey
from closedloop.serve.trials.ledger import TrialLedger
from closedloop.serve.trials.verdict import TrialLimits

if TYPE_CHECKING:
    from ray.actor import ActorHandle

logger = logging.getLogger(__name__)

ACTOR_NAME = "catalog-watcher"
NAMESPACE = "closedloop"
_LONG_POLL_S = 10.0
_RETRY_S = 1.0


class CatalogWatcher:
    """Follows the registry's champions and judges what is on trial beside them.

    Parameters
    ----------
    open_poller : callable
        Opens the registry; called in a thread, again after a failure.
    poll_s : float
        Pause between two looks.
    limits : TrialLimits, optional
        When a trial is rolled back.
    record : callable, optional
        Told, in a thread, each trial that was rolled back and why.
    """

    def __init__(
        self,
        open_poller: Callable[[], CatalogPoller],
        *,
        poll_s: float = 0.5,
        limits: TrialLimits | None = None,
        record: Callable[[Trial, str], object] = lambda *_: None,
    ) -> None:
        self._open_poller = open_poller
        self._record = record
        self._poll_s = poll_s
        self._ledger = TrialLedger(limits or TrialLimits())
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

    async def count(
        self, tallies: Mapping[TrialKey, Tally], reporter: str = "", number: int = 0
    ) -> None:
        """Add what a replica counted of its trials; see `TrialLedger.count`."""
        self._ledger.count(tallies, reporter=reporter, number=number)

    async def trial_totals(self) -> dict[TrialKey, Tally]:
        """Return what was counted of every trial since it, or this actor, began."""
        return self._ledger.totals()

    async def _roll_back(self, poller: CatalogPoller) -> None:
        for breach in self._ledger.breaches():
            trial = breach.trial
            try:
                ended = await asyncio.to_thread(poller.roll_back, trial, breach.reason)
            except NotFound:
                ended = None  # the model was deleted
            self._ledger.forget(trial)
            if ended is not None:
                logger.warning(
                    "%s version %d (%s) was %s",
                    trial.ref,
                    trial.version,
                    trial.stage,
                    breach.reason,
                )
                try:
                    await asyncio.to_thread(self._record, trial, breach.reason)
                except Exception:  # the trial has ended, which matters more than its record
                    logger.exception("the rollback is not in the audit trail")

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
                # Each time: a trial that was rolled back and begun again leaves the same digest.
                self._ledger.follow(catalog)
                if self._catalog is None or catalog.digest != self._catalog.digest:
                    self._catalog = catalog
                    assert self._changed is not None
                    self._changed.set()  # wakes all who wait; later ones wait for the next
                    self._changed = asyncio.Event()
                try:
                    await self._roll_back(poller)
                except ClosedLoopError as error:
                    logger.warning("a trial was not rolled back, and will be: %s", error)
            # An alias may be moved by any process, so there is no event to wait for.
            await asyncio.sleep(self._poll_s)


def watcher_actor(
    settings: Settings, *, poll_s: float = 0.5, limits: TrialLimits | None = None
) -> ActorHandle:
    """Return the cluster's watcher, started where there is none."""
    import ray

    def open_poller() -> CatalogPoller:
        from closedloop.models.registry import Registry

        return CatalogPoller(Registry(settings.registry_url, settings.artifacts_url))

    def record(trial: Trial, reason: str) -> None:
        from closedloop.core.audit import Audit
        from closedloop.core.store import Store

        store = Store(settings.store_url)
        Audit(store).record(
            who=ACTOR_NAME,
            action="models.end-trial",
            target=str(trial.ref),
            version=trial.version,
            reason=reason,
        )
        store.close()

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
    ).remote(open_poller, poll_s=poll_s, limits=limits, record=record)


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

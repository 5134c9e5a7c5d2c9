"""The Ray Serve application: one kind of replica that takes HTTP and holds the models itself.

There is no second actor on the way of a request. `start` brings serving up on the Ray cluster
that this process has joined, `stop` takes it down.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from closedloop.core.errors import Conflict, EngineError, last_line
from closedloop.core.ports import port_is_free
from closedloop.core.settings import Settings
from closedloop.serve.options import ServingOptions

if TYPE_CHECKING:
    from fastapi import FastAPI

    from closedloop.core.pseudonyms import Pseudonyms
    from closedloop.data.log_file import Refused
    from closedloop.models.model_version import Champion
    from closedloop.serve.model_host import Model
    from closedloop.serve.service import Service

logger = logging.getLogger(__name__)

APP_NAME = "closedloop"
_END_S = 60.0
_FIRST_CATALOG_S = 120.0  # MLflow's import and a new store's migration are in it
_REPLICA_ENVIRONMENT = {
    # One loop takes a request and answers it: handing it to a second thread and back costs more
    # than scoring it. What takes long runs in threads of the service's own.
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    # A replica has a fraction of a core; a pool of BLAS threads would fight over it.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


class Replica:
    """Holds a service and its application; Ray Serve makes one a replica."""

    def __init__(self, settings: Settings, options: ServingOptions, pseudonyms: Pseudonyms) -> None:
        self._settings = settings
        self._options = options
        self._pseudonyms = pseudonyms
        self._service: Service | None = None

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Return the application; Ray Serve calls it once the replica is made."""
        from closedloop.serve.http.api import build_app

        service = build_service(self._settings, self._options, self._pseudonyms)
        self._service = service
        return build_app(
            service,
            max_body_bytes=self._options.max_body_bytes,
            lifespan=partial(self._life, service),
        )

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Return what the number of replicas goes by; Ray Serve calls it every few seconds."""
        from closedloop.serve.admission.replica_scaling import METRIC

        return {METRIC: self._service.load() if self._service else 0.0}

    @asynccontextmanager
    async def _life(self, service: Service, _: FastAPI) -> AsyncIterator[None]:
        from closedloop.serve.accepting import accept_many
        from closedloop.serve.catalog_watcher import follow, watcher_actor
        from closedloop.serve.trials.reports import report

        find = partial(
            watcher_actor,
            self._settings,
            poll_s=self._options.poll_s,
            limits=self._options.trial_limits,
        )

        loaded = asyncio.Event()

        def on_contact(answered: bool) -> None:
            service.watcher_answers = answered
            if service.host.ready:
                loaded.set()

        with (
            accept_many(asyncio.get_running_loop()),
            ThreadPoolExecutor(1, thread_name_prefix="load") as loading,
            ThreadPoolExecutor(1, thread_name_prefix="rules") as looking,
        ):
            following = asyncio.create_task(
                follow(find, service.host, loading, on_contact=on_contact)
            )
            reporting = asyncio.create_task(report(find, service.trials))
            obeying = asyncio.create_task(
                service.rules.follow(looking, every_s=self._options.rules_poll_s)
            )
            try:
                # A new replica must not answer 404 for a model that the others serve.
                try:
                    await asyncio.wait_for(loaded.wait(), _FIRST_CATALOG_S)
                except TimeoutError:
                    logger.warning("the registry does not answer; starting without models")
                yield
            finally:
                for task in (following, reporting, obeying):
                    task.cancel()
                    with suppress(asyncio.CancelledError):
                        await task
                await asyncio.to_thread(service.close)


def build_service(settings: Settings, options: ServingOptions, pseudonyms: Pseudonyms) -> Service:
    """Connect a service to the places that settings name; it holds no models yet."""
    from closedloop.core.identity import Identities
    from closedloop.core.privacy import mask
    from closedloop.core.store import Store
    from closedloop.data.dead_letters import bury
    from closedloop.data.event_log.opening import open_event_log
    from closedloop.data.event_lookup import find_event
    from closedloop.data.lake import Lake
    from closedloop.defence.rules.rule_book import RuleBook
    from closedloop.serve.admission.access import KeyRing
    from closedloop.serve.event_writer import EventWriter
    from closedloop.serve.model_host import ModelHost
    from closedloop.serve.rule_follower import RuleFollower
    from closedloop.serve.service import Service

    store = Store(settings.store_url)
    identities = Identities(store)
    log = open_event_log(settings.event_log_url)
    lake = Lake(settings.lake_url)

    def keep_refused(refused: Sequence[Refused], source: str, tenant: str) -> None:
        now = datetime.now(UTC)
        bury(lake, refused, source=source, tenant=tenant, pseudonyms=pseudonyms, at=now)

    return Service(
        host=ModelHost(
            load_champion, memory_bytes=options.model_memory_bytes, pinned=options.pinned_models
        ),
        keys=KeyRing(identities.check_key, keep_s=options.key_cache_s),
        log=log,
        writer=EventWriter(log, capacity_events=options.buffer_events),
        mask=mask,
        pseudonym=lambda user_id, tenant: pseudonyms.of(user_id, tenant=tenant),
        options=options,
        archive=partial(find_event, lake, "predictions"),
        bury=keep_refused,
        rules=RuleFollower(RuleBook(store).since),
    )


def load_champion(champion: Champion) -> Model:
    """Map a model's lean form, or make it of a model registered without one."""
    from pathlib import Path

    from closedloop.models.artifacts import LEAN_FILE
    from closedloop.models.lean.file import load_lean

    path = Path(champion.path)
    if path.name == LEAN_FILE:
        return load_lean(path, champion.sha256)
    from closedloop.models.lean.compiling import lean_of_classifier
    from closedloop.models.model_file import load

    return lean_of_classifier(load(path, champion.sha256))


def start(settings: Settings, options: ServingOptions | None = None) -> str:
    """Bring serving up and return its base URL; running already, it is updated in place.

    Raises
    ------
    Conflict
        Another program listens on the port.
    EngineError
        The replicas did not come up.
    """
    from ray import serve
    from ray.serve.exceptions import RayServeException

    from closedloop.core.pseudonyms import load_pseudonyms
    from closedloop.core.store import Store
    from closedloop.serve.catalog_watcher import watcher_actor

    options = options or ServingOptions.of(settings)
    if not _serving() and not port_is_free(settings.api_port, host=options.host):
        raise Conflict(
            f"Port {settings.api_port} on {options.host} is taken, so the API cannot start.",
            remedy="End the program that holds it, or set CLOSEDLOOP_API_PORT to a free port.",
        )
    Store.open(settings.store_url).close()  # replicas expect a store that is up to date
    watcher_actor(settings, poll_s=options.poll_s, limits=options.trial_limits)
    pseudonyms = load_pseudonyms(settings.root)
    logging.getLogger("ray.serve").setLevel(logging.WARNING)  # our callers show progress themselves
    try:
        serve.start(http_options={"host": options.host, "port": settings.api_port})
        serve.run(_application(settings, options, pseudonyms), name=APP_NAME, route_prefix="/")
    except (RayServeException, RuntimeError) as error:
        raise EngineError(
            f"Serving did not come up: {last_line(error)}",
            remedy="See the replica's log below the Ray session's logs/serve folder.",
        ) from error
    return f"http://{options.host}:{settings.api_port}"


def stop() -> None:
    """Take serving down; requests in flight are answered and waiting events written first."""
    from ray import serve

    from closedloop.serve.catalog_watcher import stop_watcher

    serve.shutdown()
    _wait_for_the_end_of_serve()
    stop_watcher()


def _wait_for_the_end_of_serve() -> None:
    """Wait until the controller is gone; Serve waits half a minute, which draining may outlast.

    Who starts serving again before that talks to a controller that is ending.
    """
    import ray
    from ray.serve._private.constants import SERVE_CONTROLLER_NAME, SERVE_NAMESPACE

    deadline = time.monotonic() + _END_S
    while time.monotonic() < deadline:
        try:
            ray.get_actor(SERVE_CONTROLLER_NAME, namespace=SERVE_NAMESPACE)
        except ValueError:
            return
        time.sleep(0.1)  # Ray tells nobody when an actor has gone
    logger.warning("Ray Serve's controller has not ended within %g s", _END_S)


def _application(settings: Settings, options: ServingOptions, pseudonyms: Pseudonyms) -> Any:
    from ray import serve

    deployment = serve.deployment(
        name="api",
        **_replicas(options),
        ray_actor_options={
            "num_cpus": options.replica_cpus,
            "runtime_env": {"env_vars": _REPLICA_ENVIRONMENT},
        },
        # More than the replica admits, so that it can refuse the rest itself, with a body.
        max_ongoing_requests=options.max_in_flight * 4,
        graceful_shutdown_timeout_s=20,
        health_check_period_s=5,
        logging_config={"enable_access_log": False},
    )
    return deployment(serve.ingress()(Replica)).bind(settings, options, pseudonyms)


def _replicas(options: ServingOptions) -> dict[str, Any]:
    """Say how many replicas there are: a number, or what Serve's autoscaler goes by."""
    if options.min_replicas == options.max_replicas:
        return {"num_replicas": options.min_replicas}
    return {
        "autoscaling_config": {
            "min_replicas": options.min_replicas,
            "max_replicas": options.max_replicas,
            "target_ongoing_requests": options.target_requests_per_replica,
            "upscale_delay_s": options.upscale_delay_s,
            "downscale_delay_s": options.downscale_delay_s,
            "policy": {
                "policy_function": "closedloop.serve.admission.replica_scaling:desired_replicas"
            },
        }
    }


def _serving() -> bool:
    from ray import serve
    from ray.serve.exceptions import RayServeException

    try:
        return bool(serve.status().proxies)
    except RayServeException:
        return False

"""The running platform: Ray, queue, clusterer, Serve and the app, started and ended together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from closedloop.core.engine_log import engine_log
from closedloop.core.errors import Conflict, EngineError, NotFound
from closedloop.core.identity import Identities
from closedloop.core.ports import port_is_free
from closedloop.core.settings import Settings
from closedloop.core.store import Store
from closedloop.samples.annotation import AnnotationQueue

_APP_START_S = 60.0
_APP_STOP_S = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Stack:
    """A platform that is up."""

    settings: Settings
    store: Store
    queue: AnnotationQueue
    api_url: str
    app_url: str  # empty where the app was not asked for
    dashboard_url: str
    embedded: bool  # this process holds Ray; it ends with this process


@contextmanager
def running_stack(
    settings: Settings, *, app: bool = True, tell: Callable[[str], None] = lambda _: None
) -> Iterator[Stack]:
    """Start what is not running yet and end, on leaving, what was started here.

    Parameters
    ----------
    settings : Settings
        Of the installation.
    app : bool
        Whether annotators will need the Streamlit app.
    tell : callable
        Receives a short sentence before each slow step.

    Raises
    ------
    Conflict
        A port is taken.
    EngineError
        An engine did not start.
    """
    from closedloop.actors.cluster import prepare_ray, ray_cluster, running_address

    joined = bool(settings.ray_address or running_address(settings))
    if not joined:
        _check_ports(settings, app=app)
    prepare_ray(settings)
    with ExitStack() as ending:
        ending.enter_context(engine_log(settings.root / "logs" / "engines.log"))
        tell("opening the metadata store")
        store = Store.open(settings.store_url)
        ending.callback(store.close)

        tell("joining Ray" if joined else "starting Ray")
        cluster = ending.enter_context(ray_cluster(settings))

        from closedloop.actors.annotation_queue import host_queue
        from closedloop.actors.stream_clusterer import host_clusterer, retire_clusterer
        from closedloop.serve import deployment

        queue = host_queue(settings)
        if settings.defence_shards:
            tell("starting the stream clusterer")
            host_clusterer(settings)
            if cluster.embedded:  # behind Serve, whose last events it reads
                ending.callback(retire_clusterer)
        api_url = f"http://127.0.0.1:{settings.api_port}"
        if cluster.embedded or not _answers(api_url):
            tell("starting Serve")
            api_url = deployment.start(settings)
            if cluster.embedded:
                ending.callback(deployment.stop)

        app_url = ""
        if app:
            app_url = f"http://127.0.0.1:{settings.app_port}"
            if not _answers_app(app_url):
                tell("starting the app")
                ending.enter_context(_app(settings, cluster.address))
        yield Stack(
            settings=settings,
            store=store,
            queue=queue,
            api_url=api_url,
            app_url=app_url,
            dashboard_url=cluster.dashboard_url,
            embedded=cluster.embedded,
        )


@contextmanager
def temporary_key(store: Store, client: str, tenant: str) -> Iterator[str]:
    """Lend an API key to one run and revoke it afterwards."""
    identities = Identities(store)
    key, secret = identities.add_key(client, tenant=tenant, valid_days=1)
    try:
        yield secret
    finally:
        with suppress(NotFound):
            identities.revoke_key(key.id)


def stop_running(settings: Settings) -> bool:
    """Ask the process that holds this home's embedded platform to end; False if none runs."""
    from closedloop.actors.cluster import running_address

    if not running_address(settings):
        return False
    pid = json.loads((settings.root / "ray.json").read_text())["pid"]
    os.kill(pid, signal.SIGINT)
    return True


def _check_ports(settings: Settings, *, app: bool) -> None:
    """Look before anything starts, so that a taken port costs a second and leaves nothing."""
    wanted = [
        ("the API", settings.api_port, "CLOSEDLOOP_API_PORT"),
        ("the Ray dashboard", settings.dashboard_port, "CLOSEDLOOP_DASHBOARD_PORT"),
    ]
    if app:
        wanted.append(("the app", settings.app_port, "CLOSEDLOOP_APP_PORT"))
    for name, port, variable in wanted:
        if not port_is_free(port):
            raise Conflict(
                f"Port {port} of {name} is taken by another program.",
                remedy=f"End that program, or set {variable} to a free port.",
            )


@contextmanager
def _app(settings: Settings, ray_address: str) -> Iterator[None]:
    from closedloop.ui.app.launch import app_command, app_environment

    log_file = settings.root / "logs" / "app.log"
    log_file.parent.mkdir(parents=True, exist_ok=True)
    joined = settings.model_copy(update={"ray_address": ray_address})
    with log_file.open("ab") as log:
        process = subprocess.Popen(
            app_command(settings),
            env=app_environment(joined),
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C reaches us first; we end it in order
        )
    try:
        _await_app(process, f"http://127.0.0.1:{settings.app_port}", log_file)
        yield
    finally:
        process.terminate()
        try:
            process.wait(_APP_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_app(process: subprocess.Popen[bytes], url: str, log_file: Path) -> None:
    for _ in range(int(_APP_START_S / 0.2)):
        if _answers_app(url):
            return
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.2)
            break
    raise EngineError("The app did not start.", remedy=f"See {log_file}.")


def _answers(api_url: str) -> bool:
    from closedloop.core.errors import ClosedLoopError
    from closedloop.serve.client import Client

    try:
        with Client(api_url, attempts=1, timeout_s=2.0) as client:
            client.health()
    except ClosedLoopError:
        return False
    return True


def _answers_app(url: str) -> bool:
    import httpx

    try:
        return httpx.get(f"{url}/_stcore/health", timeout=2.0, trust_env=False).is_success
    except httpx.HTTPError:
        return False

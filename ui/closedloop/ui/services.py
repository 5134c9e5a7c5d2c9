"""Services of a platform that outlives the command that started it, and their health."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from closedloop.core.errors import ClosedLoopError, EngineError
from closedloop.core.settings import Settings
from closedloop.core.store import Store
from closedloop.ui.console import console

_APP_END_MS = 10_000


def start_detached(settings: Settings) -> None:
    """Start all services on the cluster, and return; `stop_detached` ends them.

    Raises
    ------
    EngineError
        No cluster is configured, or a service does not start.
    """
    from closedloop.actors.annotation_queue import host_queue
    from closedloop.actors.cluster import prepare_ray, ray_cluster
    from closedloop.actors.gcs_state import start_keeper
    from closedloop.actors.stream_clusterer import host_clusterer
    from closedloop.serve import deployment
    from closedloop.ui.app.launch import app_command, app_environment

    if not settings.ray_address:
        raise EngineError(
            "--detach needs a Ray cluster that outlives this command.",
            remedy="Set CLOSEDLOOP_RAY_ADDRESS (auto on the head node), or leave --detach out.",
        )
    prepare_ray(settings)
    Store.open(settings.store_url).close()
    with ray_cluster(settings):
        if settings.ray_state:
            start_keeper()
        host_queue(settings)
        if settings.defence_shards:
            host_clusterer(settings)
        api_url = deployment.start(settings)
    end_app(_pid_file(settings))  # of an earlier start, whose Ray may be gone
    logs = settings.root / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    with (logs / "app.log").open("ab") as log:
        app = subprocess.Popen(
            app_command(settings),
            env=app_environment(settings),
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    _pid_file(settings).write_text(json.dumps({"app": app.pid}))
    console.print(
        f"The platform is up: API {api_url}, app http://127.0.0.1:{settings.app_port}",
        soft_wrap=True,
    )


def stop_detached(settings: Settings) -> bool:
    """End what `start_detached` started; False where nothing was."""
    from closedloop.actors.annotation_queue import retire_queue
    from closedloop.actors.cluster import ray_cluster
    from closedloop.actors.stream_clusterer import retire_clusterer
    from closedloop.serve import deployment

    file = _pid_file(settings)
    if not file.exists():
        return False
    end_app(file)
    if settings.ray_address:
        with ray_cluster(settings):
            deployment.stop()
            retire_clusterer()
            retire_queue()
    file.unlink()
    return True


def end_app(pid_file: Path) -> None:
    """End the app whose process a file names, if it still runs, and wait until it has ended."""
    with suppress(OSError, ValueError, KeyError):
        app = json.loads(pid_file.read_text())["app"]
        process = os.pidfd_open(app)
        try:
            # After a restart of the machine the number may be another program's.
            if b"streamlit" in Path(f"/proc/{app}/cmdline").read_bytes():
                os.kill(app, signal.SIGTERM)
                waiting = select.poll()
                waiting.register(process, select.POLLIN)
                waiting.poll(_APP_END_MS)
        finally:
            os.close(process)


def checks(settings: Settings) -> list[dict[str, Any]]:
    """Ask each part whether it answers."""
    from closedloop.actors.cluster import running_address
    from closedloop.core.java import java_version
    from closedloop.data.event_log.opening import open_event_log
    from closedloop.data.lake import Lake
    from closedloop.defence.shards import standing
    from closedloop.serve.client import Client

    def store() -> str:
        Store.open(settings.store_url).close()
        return settings.store_url

    def log() -> str:
        opened = open_event_log(settings.event_log_url)
        try:
            return f"{opened.size():,} events"
        finally:
            opened.close()

    def lake() -> str:
        opened = Lake(settings.lake_url)
        return f"{opened.count('turns'):,} turns, {opened.count('dead_letters'):,} dead letters"

    def java() -> str:
        return f"Java {java_version()}"

    def ray() -> str:
        address = settings.ray_address or running_address(settings)
        if not address:
            raise EngineError("not running", remedy="Start it with 'closedloop up'.")
        return address

    def clusterer() -> str:
        opened = Store.open(settings.store_url)
        try:
            return standing(opened)
        finally:
            opened.close()

    def serve() -> str:
        with Client(f"http://127.0.0.1:{settings.api_port}", attempts=1, timeout_s=2) as client:
            health = client.health()
        return f"{health.models_serving} models on port {settings.api_port}"

    parts: dict[str, Callable[[], str]] = {
        "store": store,
        "event log": log,
        "lake": lake,
        "Java for Spark": java,
        "Ray": ray,
        "Serve": serve,
        "stream clusterer": clusterer,
    }
    return [_check(name, ask) for name, ask in parts.items()]


def last_runs(settings: Settings) -> list[dict[str, Any]]:
    """Return the last runs, newest first, as a line each."""
    from closedloop.workflows.records import RunRecords

    store = Store.open(settings.store_url)
    try:
        found = RunRecords(store).recent(limit=5)
    finally:
        store.close()
    return [
        {
            "started": datetime.fromtimestamp(run.started_at, UTC).isoformat(" ", "seconds"),
            "workflow": run.workflow,
            "model": run.model,
            "state": run.state if not run.error else f"{run.state}: {run.error}",
        }
        for run in found
    ]


def _check(part: str, ask: Callable[[], str]) -> dict[str, Any]:
    try:
        return {"part": part, "ok": True, "said": ask()}
    except ClosedLoopError as error:
        return {"part": part, "ok": False, "said": str(error)}


def _pid_file(settings: Settings) -> Path:
    settings.root.mkdir(parents=True, exist_ok=True)
    return settings.root / "services.json"

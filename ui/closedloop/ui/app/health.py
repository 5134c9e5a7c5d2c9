"""Is each engine well? One plain sentence each, and what to do where it is not."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import sqlalchemy as sa

from closedloop.core.errors import ClosedLoopError
from closedloop.core.settings import Settings
from closedloop.core.store import Store
from closedloop.ui.app.queue_route import QueueRoute
from closedloop.ui.app.standing import last_stage
from closedloop.workflows.records import RunRecord

_SERVE_TIMEOUT_S = 1.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """How one engine is."""

    engine: str
    ok: bool
    sentence: str
    remedy: str = ""


def check_health(
    settings: Settings, store: Store, route: QueueRoute, runs: Sequence[RunRecord]
) -> list[Health]:
    """Ask every engine at once; an engine that fails its check is reported, not raised."""
    checks: dict[str, Callable[[], Health]] = {
        "Ray": lambda: check_ray(route),
        "Serve": lambda: check_serve(settings),
        "Spark": lambda: check_spark(runs),
        "Store": lambda: check_store(store),
        "Queue": lambda: check_queue(route),
        "Lake": lambda: check_lake(settings),
    }
    with ThreadPoolExecutor(len(checks)) as pool:
        futures = {engine: pool.submit(check) for engine, check in checks.items()}
        return [_outcome(engine, future.result) for engine, future in futures.items()]


def check_ray(route: QueueRoute) -> Health:
    """Look at the cluster through the connection that the queue uses."""
    route.queue()
    if route.detour:
        return Health(
            engine="Ray", ok=False, sentence=route.detour, remedy="Start it: closedloop up."
        )
    ray = sys.modules["ray"]
    nodes = sum(node["Alive"] for node in ray.nodes())
    total, free = ray.cluster_resources(), ray.available_resources()
    return Health(
        engine="Ray",
        ok=nodes > 0,
        sentence=f"{nodes} node{'s' * (nodes != 1)}, "
        f"{free.get('CPU', 0):g} of {total.get('CPU', 0):g} logical CPUs free.",
    )


def check_serve(settings: Settings) -> Health:
    """Ask the API whether it answers."""
    import httpx

    url = f"http://127.0.0.1:{settings.api_port}/healthz"
    started = time.monotonic()
    try:
        answer = httpx.get(url, timeout=_SERVE_TIMEOUT_S, trust_env=False)
    except httpx.HTTPError:
        return Health(
            engine="Serve",
            ok=False,
            sentence=f"The API does not answer on port {settings.api_port}.",
            remedy="Start it: closedloop up.",
        )
    took_ms = (time.monotonic() - started) * 1000
    if answer.is_success:
        return Health(
            engine="Serve",
            ok=True,
            sentence=f"The API answers on port {settings.api_port} in {took_ms:.0f} ms.",
        )
    return Health(
        engine="Serve",
        ok=False,
        sentence=f"The API on port {settings.api_port} reports status {answer.status_code}.",
        remedy=f"Read what it says: {url}",
    )


def check_spark(runs: Sequence[RunRecord]) -> Health:
    """Tell how the last Spark stage ended; where none ran, whether Java is there for one."""
    stage = last_stage(runs, "lake")
    if stage is not None and stage.state == "failed":
        return Health(
            engine="Spark",
            ok=False,
            sentence=f"The last ETL stage, {stage.name}, failed.",
            remedy="The run below says why; start it again.",
        )
    if stage is not None:
        doing = "is running" if stage.state == "running" else f"took {stage.seconds:.0f} s"
        return Health(
            engine="Spark", ok=True, sentence=f"The last ETL stage {doing}, {stage.rows:,} rows."
        )
    from closedloop.core.java import engine_environment

    java = engine_environment()["JAVA_HOME"]
    return Health(engine="Spark", ok=bool(java), sentence="Java 17 is there; no ETL has run yet.")


def check_store(store: Store) -> Health:
    """Ask the metadata store for its answer time."""
    started = time.monotonic()
    with store.read() as connection:
        connection.execute(sa.text("SELECT 1"))
        kind = connection.dialect.name
    took_ms = (time.monotonic() - started) * 1000
    name = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}.get(kind, kind)
    return Health(engine="Store", ok=True, sentence=f"{name} answers in {took_ms:.0f} ms.")


def check_queue(route: QueueRoute) -> Health:
    """Tell which way labels go."""
    route.queue().counts()
    if route.detour:
        return Health(
            engine="Queue",
            ok=True,
            sentence="Labels go straight to the store, since Ray is away; nothing is lost.",
        )
    return Health(engine="Queue", ok=True, sentence="Labels go through the queue’s Ray actor.")


def check_lake(settings: Settings) -> Health:
    """Count the lake's turns."""
    from closedloop.data.lake import Lake

    rows = Lake(settings.lake_url).count("turns")
    if not rows:
        return Health(
            engine="Lake",
            ok=True,
            sentence="The lake is empty.",
            remedy="To fill it: closedloop demo.",
        )
    return Health(engine="Lake", ok=True, sentence=f"{rows:,} turns in Delta tables.")


def _outcome(engine: str, result: Callable[[], Health]) -> Health:
    try:
        return result()
    except ClosedLoopError as error:
        return Health(engine=engine, ok=False, sentence=error.message, remedy=error.remedy)
    except Exception as error:  # a health page that dies of what it reports is of no use
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        return Health(
            engine=engine, ok=False, sentence=first_line[:200], remedy="See closedloop status."
        )

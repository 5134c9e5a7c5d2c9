"""Serving measured against a hand-written server that holds the same pipelines.

    python benchmarks/serving.py --models 300 --json serving.json [--quick]

The platform is the real one: MLflow's registry, Ray Serve behind HAProxy, API keys, masking and
an event for each answer on the embedded log. The peer (``serving_peer.py``) is FastAPI and
uvicorn with as many processes as the platform has replicas; it calls ``predict`` and nothing
else. Both are up together and take turns; wrk loads them from a process of its own.

Then: requests of 64 texts; champions moved under load; a tenant at ten times its quota beside
others; and, in a process of its own, a host with 1,000 models in memory and one that answers
from 5,000 on disk.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import joblib
from serving_load import Load, Target, need_wrk
from serving_models import pipelines, texts
from serving_neighbours import Tenant, beside_a_storm, with_quotas

from closedloop.actors.cluster import ray_cluster
from closedloop.core.identity import Identities
from closedloop.core.ports import free_port
from closedloop.core.settings import Settings
from closedloop.core.store import Store
from closedloop.models.artifacts import LEAN_FILE
from closedloop.models.lean.compiling import PipelineProbabilities, check_equal, lean_of_pipeline
from closedloop.models.lean.file import save_lean
from closedloop.models.model_version import LeanFile
from closedloop.models.reference import ModelRef
from closedloop.models.registry import Registry
from closedloop.serve.deployment import start, stop
from closedloop.serve.options import ServingOptions

_CONNECTIONS = 16
_BATCH = 64
_PROBES = 50


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--models", type=int, default=300)
    parser.add_argument("--replicas", type=int, default=1, help="processes of either server")
    parser.add_argument("--seconds", type=float, default=10, help="of each load")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--swaps", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="shorter loads, a tenth of the swaps")
    options = parser.parse_args()
    if options.quick:
        options.seconds, options.rounds, options.swaps = 4, 2, options.swaps // 10
    need_wrk()
    figures = measure(options)
    figures |= {
        "replicas": options.replicas,
        "connections": _CONNECTIONS,
        "seconds": options.seconds,
        "seed": options.seed,
        "cores": os.cpu_count(),
        "python": sys.version.split()[0],
        "versions": {n: version(n) for n in ("ray", "scikit-learn", "fastapi", "uvicorn")},
    }
    options.json.write_text(json.dumps(figures, indent=2), encoding="utf-8")
    for name, value in figures.items():
        print(f"{name:32} {value}")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return the figures."""
    made = pipelines(options.models, seed=options.seed)
    asked = texts(options.seed)[:200]
    with tempfile.TemporaryDirectory(prefix="cl-serving-") as name:
        folder = Path(name)
        settings = Settings(home=folder / "home", api_port=free_port(), dashboard_port=free_port())
        with ray_cluster(settings):
            registry = Registry(settings.registry_url, settings.artifacts_url)
            figures = _register(registry, made, asked, folder)
            key = _key(settings, tenant="*")
            serving = ServingOptions(
                min_replicas=options.replicas,
                max_replicas=options.replicas,
                rate_per_key_s=1e9,
                burst_per_key=10**9,
                rate_per_tenant_s=1e9,
                burst_per_tenant=10**9,
            )
            url = start(settings, serving)
            try:
                with _peer(made, folder, options.replicas) as peer_url:
                    figures |= _compared(options, url, key, peer_url, list(made), asked)
                figures |= _swapped(options, url, key, registry, list(made), asked)
                start(settings, with_quotas(serving))
                tenants = [
                    Tenant(name, _key(settings, tenant=name.partition(".")[0]))
                    for name in list(made)[:2]
                ]
                figures |= beside_a_storm(url, *tenants, asked, options.seconds, options.rounds)
            finally:
                stop()
    figures |= _host(options)
    return figures


def _register(
    registry: Registry, made: dict[str, Any], asked: list[str], folder: Path
) -> dict[str, Any]:
    """Register every model twice, so that there is a version to swap to."""
    largest, difference, seconds = 0, 0.0, 0.0
    for name, pipeline in made.items():
        ref = ModelRef.parse(name)
        started = time.perf_counter()
        lean = lean_of_pipeline(pipeline)
        file = folder / LEAN_FILE
        sha256 = save_lean(lean, file)
        made_version = registry.register(ref, file, sha256, {}, lean=LeanFile(file, sha256))
        registry.promote(ref, made_version)
        seconds += time.perf_counter() - started
        registry.register(ref, file, sha256, {}, lean=LeanFile(file, sha256))
        largest = max(largest, lean.size_bytes)
        if int(name[1:5]) < _PROBES:
            found = check_equal(lean, PipelineProbabilities(pipeline), asked)
            difference = max(difference, found)
    return {
        "models": len(made),
        "model_bytes": largest,
        "register_seconds": round(seconds, 1),
        "max_difference": difference,
    }


def _compared(
    options: argparse.Namespace,
    url: str,
    key: str,
    peer_url: str,
    names: list[str],
    asked: list[str],
) -> dict[str, Any]:
    single = [{"text": text} for text in asked]
    ours = Target(url, [f"/v1/models/{name}:predict" for name in names], single, key=key)
    peer = Target(peer_url, [f"/models/{name}/predict" for name in names], single)
    groups = [asked[i : i + _BATCH] for i in range(0, len(asked) - _BATCH, 8)]
    batches = Target(
        url,
        [f"/v1/models/{name}:predict" for name in names],
        [{"texts": group} for group in groups],
        key=key,
    )
    loads: dict[str, list[Load]] = {name: [] for name in ("ours", "peer", "one", "peer_one")}
    for target in (ours, peer):
        target.run(connections=_CONNECTIONS, seconds=min(3, options.seconds))  # both warm
    for _ in range(options.rounds):
        loads["ours"].append(ours.run(connections=_CONNECTIONS, seconds=options.seconds))
        loads["peer"].append(peer.run(connections=_CONNECTIONS, seconds=options.seconds))
        loads["one"].append(ours.run(connections=1, seconds=options.seconds / 2))
        loads["peer_one"].append(peer.run(connections=1, seconds=options.seconds / 2))
    batch = batches.run(connections=4, seconds=options.seconds)

    def middle(which: str, figure: str) -> float:
        return statistics.median(getattr(load, figure) for load in loads[which])

    rps, peer_rps = middle("ours", "rps"), middle("peer", "rps")
    return {
        "rps": round(rps),
        "peer_rps": round(peer_rps),
        "ratio_rps": round(rps / peer_rps, 2),
        "p50_ms": round(middle("ours", "p50_ms"), 2),
        "p99_ms": round(middle("ours", "p99_ms"), 2),
        "peer_p50_ms": round(middle("peer", "p50_ms"), 2),
        "peer_p99_ms": round(middle("peer", "p99_ms"), 2),
        "one_connection_p50_ms": round(middle("one", "p50_ms"), 2),
        "peer_one_connection_p50_ms": round(middle("peer_one", "p50_ms"), 2),
        "batch_texts_per_second": round(batch.rps * _BATCH),
        "ratio_batch": round(batch.rps * _BATCH / peer_rps, 1),
        "failed_requests": sum(load.failed for of in loads.values() for load in of) + batch.failed,
    }


def _swapped(
    options: argparse.Namespace,
    url: str,
    key: str,
    registry: Registry,
    names: list[str],
    asked: list[str],
) -> dict[str, Any]:
    """Move champions to and fro while requests run."""
    paths = [f"/v1/models/{name}:predict" for name in names]
    target = Target(url, paths, [{"text": text} for text in asked], key=key)
    running = target.begin(connections=4, seconds=600)
    started = time.perf_counter()
    wanted = dict.fromkeys(names, 1)
    for number in range(options.swaps):
        name = names[number % len(names)]
        wanted[name] = 3 - wanted[name]
        registry.promote(ModelRef.parse(name), wanted[name])
    seconds = time.perf_counter() - started
    followed_s = _until_served(url, key, wanted)
    running.stop()
    load = running.result()
    return {
        "swaps": options.swaps,
        "swap_seconds": round(seconds, 1),
        "last_swap_served_after_s": round(followed_s, 2),
        "requests_during_swap": load.requests,
        "failed_requests_during_swap": load.failed,
    }


def _until_served(url: str, key: str, wanted: dict[str, int]) -> float:
    started = time.perf_counter()
    while True:
        said = httpx.get(f"{url}/v1/models", headers={"authorization": f"Bearer {key}"}).json()
        if {m["model"]: m["serving"] for m in said["models"]} == wanted:
            return time.perf_counter() - started
        if time.perf_counter() - started > 60:
            sys.exit("The swapped champions were not served within a minute.")
        time.sleep(0.1)


def _host(options: argparse.Namespace) -> dict[str, Any]:
    script = Path(__file__).with_name("serving_host.py")
    disk = 1_000 if options.quick else 5_000
    command = [sys.executable, str(script), "--on-disk", str(disk), "--seed", str(options.seed)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def _key(settings: Settings, *, tenant: str) -> str:
    store = Store.open(settings.store_url)
    _, secret = Identities(store).add_key("benchmark", tenant=tenant)
    store.close()
    return secret


@contextmanager
def _peer(made: dict[str, Any], folder: Path, processes: int) -> Iterator[str]:
    """Run the hand-written server."""
    file = folder / "peer.joblib"
    joblib.dump(made, file)
    port = free_port()
    environment = os.environ | {
        "PEER_MODELS": str(file),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "uvicorn", "serving_peer:app", "--port", str(port)]
    command += ["--workers", str(processes), "--no-access-log", "--log-level", "warning"]
    with subprocess.Popen(command, env=environment, cwd=Path(__file__).parent) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            for _ in range(600):
                try:
                    if httpx.get(f"{url}/openapi.json").is_success:
                        break
                except httpx.TransportError:
                    time.sleep(0.1)
            yield url
        finally:
            process.terminate()


if __name__ == "__main__":
    main()

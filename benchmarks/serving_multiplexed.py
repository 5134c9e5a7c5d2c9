"""Who holds the models of a replica: Ray Serve's ``@serve.multiplexed`` or the platform's host.

    python benchmarks/serving_multiplexed.py --json multiplexed.json [--models 300] [--quick]

Two applications behind the same HAProxy, one replica each, differ only in that: the handler, the
lean models, the request (the model's name in the header ``serve_multiplexed_model_id``) and the
answer are the same, and each answer of a sample is compared before any load. Loads take turns.

First all models fit in memory, and each is asked alike. Then a third fits, and nine requests of ten
go to a tenth of the models. The decorator counts models, the host counts bytes; both may hold as
much.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
from serving_load import Load, Target, need_wrk
from serving_models import pipelines, texts

from closedloop.actors.cluster import ray_cluster
from closedloop.core.ports import free_port
from closedloop.core.settings import Settings
from closedloop.models.lean.compiling import lean_of_pipeline
from closedloop.models.lean.file import load_lean, save_lean
from closedloop.models.reference import ModelRef
from closedloop.models.registry import Champion
from closedloop.serve.catalog import Catalog
from closedloop.serve.model_host import ModelHost

_HEADER = "serve_multiplexed_model_id"
_CONNECTIONS = 16
_HOLDERS = ("multiplexed", "host")
_COMPARED = 20
# As the platform's replicas have it.
_REPLICA_ENVIRONMENT = {
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--models", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=8, help="of each load")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="shorter loads")
    options = parser.parse_args()
    if options.quick:
        options.seconds, options.rounds = 3, 2
    need_wrk()
    figures = measure(options)
    figures |= {
        "models": options.models,
        "connections": _CONNECTIONS,
        "seconds": options.seconds,
        "rounds": options.rounds,
        "seed": options.seed,
        "cores": os.cpu_count(),
        "python": sys.version.split()[0],
        "versions": {"ray": version("ray")},
    }
    options.json.write_text(json.dumps(figures, indent=2), encoding="utf-8")
    for name, value in figures.items():
        print(f"{name:24} {value}")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return the figures, for each of both loads."""
    from ray import serve

    from closedloop.serve.deployment import stop

    asked = [{"text": text} for text in texts(options.seed)[:200]]
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="cl-multiplexed-") as name:
        folder = Path(name)
        champions = _write(folder, options)
        names = [str(champion.ref) for champion in champions]
        hot = names[: max(1, len(names) // 10)]
        loads = {
            "all_fit": (len(champions), names),
            "third_fits": (len(champions) // 3, names + hot * (9 * len(names) // len(hot))),
        }
        settings = Settings(home=folder / "home", api_port=free_port(), dashboard_port=free_port())
        with ray_cluster(settings):
            serve.start(http_options={"host": "127.0.0.1", "port": settings.api_port})
            try:
                for load, (held, drawn) in loads.items():
                    url = _serve(champions, held, settings.api_port)
                    _compare(url, names, asked)
                    figures[load] = _loaded(url, drawn, asked, options)
            finally:
                stop()
    return figures


def _write(folder: Path, options: argparse.Namespace) -> list[Champion]:
    champions = []
    for name, pipeline in pipelines(options.models, seed=options.seed).items():
        file = folder / f"{name}.safetensors"
        sha256 = save_lean(lean_of_pipeline(pipeline), file)
        ref = ModelRef.parse(name)
        champions.append(Champion(ref=ref, version=1, path=str(file), sha256=sha256))
    return champions


def _serve(champions: list[Champion], held: int, port: int) -> str:
    """Put both applications behind the ingress, each with room for so many models."""
    from ray import serve
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response

    by_name = {str(champion.ref): champion for champion in champions}

    def mapped(champion: Champion) -> Any:
        return load_lean(Path(champion.path), champion.sha256)

    async def answer(request: Request, model: Any) -> Response:
        body = await request.json()
        [found] = model.predict_many([body["text"]])
        return JSONResponse({"label": found.label, "confidence": float(found.confidence)})

    class Multiplexed:
        """As Ray's documentation has it."""

        @serve.multiplexed(max_num_models_per_replica=held)  # type: ignore[untyped-decorator]
        async def model(self, name: str) -> Any:
            return mapped(by_name[name])

        async def __call__(self, request: Request) -> Response:
            return await answer(request, await self.model(serve.get_multiplexed_model_id()))

    class Host:
        """As a replica of the platform does it."""

        def __init__(self) -> None:
            size = max(mapped(champion).size_bytes for champion in champions[:8])
            self._host = ModelHost(mapped, memory_bytes=size * held)
            self._host.apply(Catalog.of(champions)).result()

        async def __call__(self, request: Request) -> Response:
            name = request.headers[_HEADER]
            served = self._host.get(name) or await self._host.fetch(name)
            assert served is not None
            return await answer(request, served.model)

    for holder, kind in zip(_HOLDERS, (Multiplexed, Host), strict=True):
        environment = {"env_vars": _REPLICA_ENVIRONMENT}
        deployment = serve.deployment(
            name=holder,
            ray_actor_options={"num_cpus": 0.2, "runtime_env": environment},
            max_ongoing_requests=256,
            logging_config={"enable_access_log": False},
        )
        serve.run(deployment(kind).bind(), name=holder, route_prefix=f"/{holder}")
    return f"http://127.0.0.1:{port}"


def _compare(url: str, names: list[str], asked: list[dict[str, str]]) -> None:
    """Ask both the same; exit where one fails or answers otherwise."""
    step = max(1, len(names) // _COMPARED)
    with httpx.Client(base_url=url, trust_env=False, timeout=30) as http:
        for name, body in zip(names[::step], asked, strict=False):
            got = [http.post(f"/{h}", json=body, headers={_HEADER: name}) for h in _HOLDERS]
            if {answer.status_code for answer in got} != {200} or got[0].json() != got[1].json():
                sys.exit(f"{name}: {[(answer.status_code, answer.text[:500]) for answer in got]}")


def _loaded(
    url: str, names: list[str], asked: list[dict[str, str]], options: argparse.Namespace
) -> dict[str, Any]:
    targets = {h: Target(url, [f"/{h}"], asked, header=(_HEADER, names)) for h in _HOLDERS}
    loads: dict[str, list[Load]] = {holder: [] for holder in _HOLDERS}
    for target in targets.values():
        target.run(connections=_CONNECTIONS, seconds=options.seconds)  # warm
    for _ in range(options.rounds):
        for holder, target in targets.items():
            loads[holder].append(target.run(connections=_CONNECTIONS, seconds=options.seconds))

    def middle(holder: str, figure: str) -> float:
        return statistics.median(getattr(load, figure) for load in loads[holder])

    figures: dict[str, Any] = {}
    for holder in _HOLDERS:
        figures |= {
            f"{holder}_rps": round(middle(holder, "rps")),
            f"{holder}_p50_ms": round(middle(holder, "p50_ms"), 2),
            f"{holder}_p99_ms": round(middle(holder, "p99_ms"), 2),
            f"{holder}_failed": sum(load.failed for load in loads[holder]),
        }
    return figures | {"ratio_rps": round(middle("host", "rps") / middle("multiplexed", "rps"), 2)}


if __name__ == "__main__":
    main()

"""Who holds the models of a replica: Ray Serve's ``@serve.multiplexed`` or the platform's host.

    python benchmarks/serving_multiplexed.py --json multiplexed.json [--models 300] [--quick]

One handler, the same lean models, one replica behind HAProxy; a third of the models fit in
memory. Nine requests of ten go to a tenth of the models, the others to any. The multiplexed
decorator counts models, the host counts bytes; both may hold as much.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import ray
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

_CONNECTIONS = 16


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--models", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=10, help="of each load")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="shorter loads")
    options = parser.parse_args()
    if options.quick:
        options.seconds, options.rounds = 4, 2
    need_wrk()
    figures = measure(options)
    options.json.write_text(json.dumps(figures, indent=2), encoding="utf-8")
    for name, value in figures.items():
        print(f"{name:24} {value}")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return the figures."""
    asked = [{"text": text} for text in texts(options.seed)[:200]]
    with tempfile.TemporaryDirectory(prefix="cl-multiplexed-") as name:
        folder = Path(name)
        champions = _write(folder, options)
        settings = Settings(home=folder / "home", api_port=free_port(), dashboard_port=free_port())
        with ray_cluster(settings):
            loads = {}
            for holder in ("multiplexed", "host"):
                url = _serve(holder, champions, settings.api_port)
                loads[holder] = _load(url, champions, asked, options)
                _end()
    return {
        "models": options.models,
        **{f"{holder}_rps": round(load["rps"]) for holder, load in loads.items()},
        **{f"{holder}_p99_ms": round(load["p99_ms"], 1) for holder, load in loads.items()},
        "failed": sum(load["failed"] for load in loads.values()),
        "ratio_rps": round(loads["host"]["rps"] / loads["multiplexed"]["rps"], 2),
    }


def _write(folder: Path, options: argparse.Namespace) -> list[Champion]:
    champions = []
    for name, pipeline in pipelines(options.models, seed=options.seed).items():
        file = folder / f"{name}.safetensors"
        sha256 = save_lean(lean_of_pipeline(pipeline), file)
        ref = ModelRef.parse(name)
        champions.append(Champion(ref=ref, version=1, path=str(file), sha256=sha256))
    return champions


def _mapped(champion: Champion) -> Any:
    return load_lean(Path(champion.path), champion.sha256)


class Multiplexed:
    """Models held by Ray Serve."""

    def __init__(self, champions: list[Champion]) -> None:
        from ray import serve

        by_name = {str(champion.ref): champion for champion in champions}

        @serve.multiplexed(max_num_models_per_replica=len(champions) // 3)  # type: ignore[untyped-decorator]
        async def hold(_: Any, name: str) -> Any:
            return _mapped(by_name[name])

        self._hold = hold

    async def model(self, name: str) -> Any:
        """Return a model, loading it where it is not in memory."""
        return await self._hold(self, name)


class Host:
    """Models held by the platform."""

    def __init__(self, champions: list[Champion]) -> None:
        size = Path(champions[0].path).stat().st_size
        self._host = ModelHost(_mapped, memory_bytes=size * (len(champions) // 3))
        self._host.apply(Catalog.of(champions))

    async def model(self, name: str) -> Any:
        """Return a model, loading it where it is not in memory."""
        served = self._host.get(name) or await self._host.fetch(name)
        assert served is not None
        return served.model


def _serve(holder: str, champions: list[Champion], port: int) -> str:
    from ray import serve
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response

    kind = {"multiplexed": Multiplexed, "host": Host}[holder]

    class Handler:
        def __init__(self) -> None:
            self._held = kind(champions)

        async def __call__(self, request: Request) -> Response:
            body = await request.json()
            model = await self._held.model(request.url.path.strip("/"))
            [answer] = model.predict_many([body["text"]])
            return JSONResponse({"label": answer.label, "confidence": float(answer.confidence)})

    environment = {"env_vars": {"RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0"}}
    deployment = serve.deployment(
        name=holder,
        ray_actor_options={"num_cpus": 0.2, "runtime_env": environment},
        max_ongoing_requests=256,
        logging_config={"enable_access_log": False},
    )
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(deployment(Handler).bind(), name=holder, route_prefix="/")
    return f"http://127.0.0.1:{port}"


def _end() -> None:
    from closedloop.serve.deployment import stop

    stop()
    assert ray.is_initialized()


def _load(
    url: str, champions: list[Champion], asked: list[Any], options: argparse.Namespace
) -> dict[str, float]:
    names = [f"/{champion.ref}" for champion in champions]
    hot = names[: len(names) // 10]
    paths = names + hot * (9 * len(names) // len(hot))
    target = Target(url, paths, asked)
    target.run(connections=_CONNECTIONS, seconds=min(3, options.seconds))
    loads: list[Load] = [
        target.run(connections=_CONNECTIONS, seconds=options.seconds) for _ in range(options.rounds)
    ]
    return {
        "rps": statistics.median(load.rps for load in loads),
        "p99_ms": statistics.median(load.p99_ms for load in loads),
        "failed": float(sum(load.failed for load in loads)),
    }


if __name__ == "__main__":
    main()

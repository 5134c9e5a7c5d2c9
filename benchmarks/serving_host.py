"""A replica's host alone: memory of 1,000 models, and answers from many more on disk.

    python benchmarks/serving_host.py --on-disk 5000

Prints JSON: resident bytes that 1,000 models add, and the 95th percentile of an answer by a
model that is not in memory, while memory holds a fifth of those on disk.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from closedloop.models.lean.file import load_lean, save_lean
from closedloop.models.model_version import Champion
from closedloop.models.reference import ModelRef
from closedloop.serve.catalog import Catalog
from closedloop.serve.model_host import ModelHost

_IN_MEMORY = 1_000
_COLD = 1_000


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--on-disk", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cl-host-") as folder:
        champions, texts = _write(Path(folder), options.on_disk, options.seed)
        print(json.dumps(_measure(champions, texts, options.seed)))


def _measure(champions: list[Champion], texts: list[str], seed: int) -> dict[str, Any]:
    before = _resident_bytes()
    host = ModelHost(_load, memory_bytes=1 << 40)
    host.apply(Catalog.of(champions[:_IN_MEMORY])).result()
    added = _resident_bytes() - before
    size = host.held_bytes // _IN_MEMORY
    host.close()

    few = ModelHost(_load, memory_bytes=size * len(champions) // 5)
    few.apply(Catalog.of(champions)).result()
    cold, warm = asyncio.run(_ask(few, champions, texts, random.Random(seed)))
    few.close()
    cold.sort()
    return {
        "rss_bytes_1000_models": added,
        "models_on_disk": len(champions),
        "cold_p95_ms": round(cold[int(len(cold) * 0.95)] * 1000, 2),
        "cold_p50_ms": round(statistics.median(cold) * 1000, 2),
        "warm_p50_ms": round(statistics.median(warm) * 1000, 3),
    }


async def _ask(
    host: ModelHost, champions: list[Champion], texts: list[str], draw: random.Random
) -> tuple[list[float], list[float]]:
    cold: list[float] = []
    warm: list[float] = []
    while len(cold) < _COLD:
        name = str(draw.choice(champions).ref)
        held = host.get(name) is not None
        started = time.perf_counter()
        served = await host.fetch(name)
        assert served is not None
        served.model.predict_many([draw.choice(texts)])
        (warm if held else cold).append(time.perf_counter() - started)
    return cold, warm


def _load(champion: Champion) -> Any:
    return load_lean(Path(champion.path), champion.sha256)


def _write(folder: Path, count: int, seed: int) -> tuple[list[Champion], list[str]]:
    # Imported here: a replica has no training code in memory, and this one should not either.
    import subprocess
    import sys

    script = (
        "import sys, json; sys.path.insert(0, sys.argv[1]); import serving_host as s; "
        "print(json.dumps(s.write_models(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))"
    )
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", script, here, str(folder), str(count), str(seed)]
    said = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    champions = [
        Champion(ref=ModelRef.parse(name), version=1, path=path, sha256=sha256)
        for name, path, sha256 in said["models"]
    ]
    return champions, said["texts"]


def write_models(folder: str, count: int, seed: int) -> dict[str, Any]:
    """Write model files that differ in every weight; what the other process calls."""
    import numpy as np
    from serving_models import pipelines, texts

    from closedloop.models.lean.compiling import lean_of_pipeline

    base = lean_of_pipeline(next(iter(pipelines(1, seed=seed).values())))
    models = []
    for number in range(count):
        base.bias = base.bias + np.float64(1e-6)
        path = Path(folder, f"{number}.safetensors")
        models.append((f"t{number:04}.intent.main", str(path), save_lean(base, path)))
    return {"models": models, "texts": texts(seed)[:200]}


def _resident_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("this system does not tell resident memory")


if __name__ == "__main__":
    main()

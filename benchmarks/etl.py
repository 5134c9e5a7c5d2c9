"""Measures the ETL on RayDP against the same job on plain local Spark.

    python benchmarks/etl.py --json etl.json [--rows 10000000] [--quick]

The job is what ``closedloop etl run`` does: interactions, dialogues, daily figures and features
from predictions and feedback in a lake, every day of it, through to the Delta commits. Both
engines get the same files, cores, memory and settings, and take turns; each run has a fresh
session, as the job has, whose start is not counted. ``--warm`` measures each run a second time
in its session, when the JVMs have compiled what they need.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from closedloop.core.java import prepare_environment
from closedloop.data.etl import update
from closedloop.data.etl_plan import OUTPUTS
from closedloop.data.event import SCHEMA
from closedloop.data.lake import Lake
from closedloop.data.simulate.dialogues import simulate_turns
from closedloop.data.simulate.scenario import Scenario
from closedloop.data.spark import Engine, SparkSize, spark_session

_DAYS = 10
_START = datetime(2026, 1, 1, tzinfo=UTC)
_TEXTS = 20_000
_USERS = 200_000
_INTENTS = 60
_FEEDBACK_SHARE = 0.04
_DAY_US = 86_400_000_000


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=10_000_000, help="predictions")
    parser.add_argument("--runs", type=int, default=3, help="sessions of each engine")
    parser.add_argument("--warm", action="store_true", help="run twice in each session")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--memory", default="4g", help="of the JVM that works")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows, two sessions")
    options = parser.parse_args()
    rows, count = options.rows, options.runs
    if options.quick:
        rows, count = rows // 10, 2

    with tempfile.TemporaryDirectory(prefix="closedloop-bench-") as folder, _ray(options.cores):
        lake = Lake(f"{folder}/lake")
        make_lake(lake, rows, np.random.default_rng(options.seed))
        size = SparkSize(cores=options.cores, memory=options.memory)
        runs: list[dict[str, Any]] = []
        for number in range(count):
            # Each engine goes first every other time: what a run leaves in the page cache
            # must not always serve the same one.
            for engine in (
                (Engine.LOCAL, Engine.RAY)
                if number % 2 == 0
                else (
                    Engine.RAY,
                    Engine.LOCAL,
                )
            ):
                runs.append(_run(engine, size, lake, Path(folder, "spark.log"), warm=options.warm))
                print(json.dumps(runs[-1]), flush=True)
    report = figures(runs) | {
        "rows": rows,
        "cores": options.cores,
        "memory": options.memory,
        "seed": options.seed,
        "runs": runs,
        "versions": {n: version(n) for n in ("pyspark", "raydp", "ray", "deltalake")},
        "python": sys.version.split()[0],
    }
    options.json.write_text(json.dumps(report, indent=2), encoding="utf-8")
    print(
        f"{rows:,} rows: RayDP takes {report['ratio_raydp_local']:.2f} times as long as local"
        f" Spark ({report['seconds_raydp']:.1f} s, {report['seconds_local']:.1f} s)"
    )


def figures(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return medians and ratios of runs; the rows must be the same in all of them.

    Raises
    ------
    ValueError
        Two runs wrote different rows.
    """
    for one, other in pairwise(runs):
        if one["written"] != other["written"]:
            raise ValueError(f"the runs differ: {one['written']}, {other['written']}")

    def median(engine: Engine, which: str) -> float:
        return statistics.median(r[which] for r in runs if r["engine"] == engine.value)

    seconds = {engine: median(engine, "seconds") for engine in Engine}
    report = {
        "ratio_raydp_local": seconds[Engine.RAY] / seconds[Engine.LOCAL],
        "seconds_raydp": seconds[Engine.RAY],
        "seconds_local": seconds[Engine.LOCAL],
        "start_seconds_raydp": median(Engine.RAY, "start_s"),
        "start_seconds_local": median(Engine.LOCAL, "start_s"),
    }
    if all("warm_seconds" in run for run in runs):
        warm = {engine: median(engine, "warm_seconds") for engine in Engine}
        report["ratio_raydp_local_warm"] = warm[Engine.RAY] / warm[Engine.LOCAL]
    return report


def make_lake(lake: Lake, rows: int, draw: np.random.Generator) -> None:
    """Fill a lake with predictions of ten days and their users' feedback, a commit a day."""
    pool = [turn.text for turn in simulate_turns(Scenario(seed=11, turns=_TEXTS))]
    texts = pa.array(pool)
    per_day = rows // _DAYS
    for day in range(_DAYS):
        predictions = _predictions(per_day, day, texts, draw)
        lake.append("predictions", predictions)
        lake.append("feedback", _feedback(predictions, draw))


def _predictions(rows: int, day: int, texts: pa.Array, draw: np.random.Generator) -> pa.Table:
    """Return a day's predictions in the order of time, in dialogues of two and a half turns."""
    dialogue = np.sort(draw.integers(0, int(rows / 2.5), rows))
    first = np.r_[True, dialogue[1:] != dialogue[:-1]]
    began = np.maximum.accumulate(np.where(first, np.arange(rows), 0))
    turn = (np.arange(rows) - began).astype(np.int32) + 1
    begun_us = draw.integers(0, _DAY_US - 600_000_000, dialogue.max() + 1)
    offset_us = turn.astype(np.int64) * 20_000_000 + draw.integers(0, 9_000_000, rows)
    ts_us = begun_us[dialogue] + offset_us + int(_START.timestamp() * 1e6) + day * _DAY_US
    order = np.argsort(ts_us)
    dialogue, turn, ts_us = dialogue[order], turn[order], ts_us[order]
    user = (_USERS * draw.random(dialogue.max() + 1) ** 2.5).astype(np.int64)[dialogue]
    tenant = user % 5
    columns: dict[str, pa.Array] = {
        "event_id": _names(f"{day:02}-%010d", np.arange(rows)),
        "ts": pa.array(ts_us, pa.timestamp("us", tz="UTC")),
        "tenant": _pick([f"tenant-{n}" for n in range(5)], tenant),
        "channel": _pick(["web", "app", "wechat", "phone"], user % 4),
        "dialogue_id": _names(f"d{day:02}-%08d", dialogue),
        "turn": pa.array(turn),
        "user_id": _names("u%07d", user),
        "kind": _pick(["prediction"], np.zeros(rows, np.int64)),
        "text": texts.take(pa.array(draw.integers(0, len(texts), rows))),
        "model": _pick([f"tenant-{n}.intent.main" for n in range(5)], tenant),
        "model_version": pa.array(np.full(rows, 1 + day // 4, np.int32)),
        "prediction": _pick(
            [*(f"intent_{n}" for n in range(_INTENTS - 1)), "human_agent"],
            (_INTENTS * draw.random(rows) ** 2).astype(np.int64),
        ),
        "confidence": pa.array(draw.beta(6, 2, rows)),
        "latency_ms": pa.array(np.round(draw.lognormal(2, 0.7, rows), 2)),
        "attributes": _attributes(rows, user, draw),
    }
    return _events(columns, rows)


def _feedback(predictions: pa.Table, draw: np.random.Generator) -> pa.Table:
    rows = predictions.num_rows
    rated = np.sort(draw.choice(rows, int(rows * _FEEDBACK_SHARE), replace=False))
    said = predictions.take(pa.array(rated))
    count = said.num_rows
    columns = {name: said[name].combine_chunks() for name in ("tenant", "channel", "dialogue_id")}
    later = pa.array(np.full(count, 5_000_000), pa.duration("us"))
    columns |= {
        "event_id": pc.binary_join_element_wise("f", said["event_id"], "-"),
        "ts": pc.add(said["ts"], later),
        "kind": _pick(["feedback"], np.zeros(count, np.int64)),
        "feedback": _pick(["up", "down"], (draw.random(count) < 0.6).astype(np.int64)),
        "refers_to": said["event_id"],
    }
    return _events(columns, count)


def _events(columns: dict[str, Any], rows: int) -> pa.Table:
    missing = {f.name: pa.nulls(rows, f.type) for f in SCHEMA if f.name not in columns}
    return pa.table({name: (columns | missing)[name] for name in SCHEMA.names}).cast(SCHEMA)


def _names(form: str, numbers: np.ndarray) -> pa.Array:
    """Return numbers as text; each distinct number is written once."""
    distinct, place = np.unique(numbers, return_inverse=True)
    return pa.array([form % n for n in distinct.tolist()]).take(pa.array(place))


def _pick(words: list[str], which: np.ndarray) -> pa.Array:
    return pa.array(words).take(pa.array(which))


def _attributes(rows: int, user: np.ndarray, draw: np.random.Generator) -> pa.MapArray:
    keys = _pick(["merchant", "region"], np.tile([0, 1], rows))
    merchants = [f"m{n:03}" for n in range(300)]
    values = _pick(
        [*merchants, *(f"region-{n:02}" for n in range(30))],
        np.column_stack([draw.integers(0, 300, rows), 300 + user % 30]).ravel(),
    )
    return pa.MapArray.from_arrays(np.arange(0, 2 * rows + 1, 2, dtype=np.int32), keys, values)


def _run(engine: Engine, size: SparkSize, lake: Lake, log: Path, *, warm: bool) -> dict[str, Any]:
    began = time.perf_counter()
    with spark_session(engine, size=size, log_file=log) as session:
        started = time.perf_counter()
        made = _make(session, lake)
        run = {
            "engine": engine.value,
            "start_s": round(started - began, 2),
            "seconds": round(made.seconds, 2),
            "written": made.rows,
        }
        if warm:
            run["warm_seconds"] = round(_make(session, lake).seconds, 2)
    return run


def _make(session: Any, lake: Lake) -> Any:
    for table in OUTPUTS:
        shutil.rmtree(lake.uri(table), ignore_errors=True)
    return update(session, lake)


@contextmanager
def _ray(cores: int) -> Iterator[None]:
    """Start a Ray cluster of this machine with room for Spark's executor and its master."""
    prepare_environment()
    import ray

    # Not below another folder: a Unix socket's path may have 107 characters.
    folder = tempfile.mkdtemp(prefix="cl-bench-ray-")
    os.environ["JDK_JAVA_OPTIONS"] += f" -Dray.logging.dir={folder}/java"
    try:
        ray.init(
            num_cpus=cores + 1,
            object_store_memory=256 << 20,
            include_dashboard=False,
            log_to_driver=False,
            _temp_dir=folder,
            _node_ip_address="127.0.0.1",
        )
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()

"""Measures the cube against DuckDB and Polars on the same Parquet files.

    python benchmarks/cube.py --json cube.json [--rows 20000000] [--quick] [--keep FOLDER]

Simulated interactions (three dimensions with 12,000 to 50,000 values and long tails) are written
to a Delta lake, and a cube is built over them. Then, each in turn with its peer in this process:

- group-bys that a cuboid covers, with distinct users (sketches here, exact there);
- nested ORs over the three large dimensions with exact distinct users;
- a mixed set of 200 generated queries, every answer compared with DuckDB's exact one;
- the same covered group-bys on a tenth of the rows, for how cost grows.

All engines are warm: a query runs once before it is timed. ``first_p95_ms`` is of the mixed set
in a cube just opened, with nothing read yet.
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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import polars as pl

from closedloop.core.java import prepare_environment
from closedloop.data.cube.cube import Cube
from closedloop.data.cube.declaration import DEFAULT
from closedloop.data.cube.filters import And, Filter, In, IsNull, Not, Or, Prefix, Range
from closedloop.data.cube.query import QUANTILES, Query, Source
from closedloop.data.cube.refresh import TABLE, refresh
from closedloop.data.cube.scan_answer import answer as scan
from closedloop.data.lake import Lake
from closedloop.data.simulate.interactions import BulkTraffic, simulate_interactions
from closedloop.data.spark import Engine, SparkSize, spark_session

_QUERIES = 200
_REPEATS = 3


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--memory", default="6g", help="of Spark's JVM")
    parser.add_argument("--keep", type=Path, help="keep lakes and cubes here, and use them again")
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows")
    options = parser.parse_args()
    prepare_environment()
    rows = options.rows // 10 if options.quick else options.rows
    with _folder(options.keep) as folder:
        small = _prepare(folder, rows // 10, options.seed, options.memory)
        large = _prepare(folder, rows, options.seed, options.memory)
        figures = measure(small, large, seed=options.seed)
    figures |= {
        "rows": rows,
        "seed": options.seed,
        "cores": os.cpu_count(),
        "versions": {name: version(name) for name in ("duckdb", "polars", "pyspark", "pyroaring")},
    }
    options.json.write_text(json.dumps(figures, indent=2))
    for name, value in figures.items():
        print(f"{name:32} {value}")


@dataclass(frozen=True, kw_only=True)
class Built:
    """A lake with its cube, and what building took."""

    lake: Lake
    rows: int
    build_s: float

    @property
    def files(self) -> list[str]:
        """The lake's Parquet files."""
        return self.lake.files(TABLE)


def measure(small: Built, large: Built, *, seed: int) -> dict[str, Any]:
    """Return the figures."""
    peer = _duckdb(large.files)
    cube = Cube(large.lake)
    rng = Random(seed)
    values = {name: cube.values(name, limit=10**6) for name in ("tenant", *DEFAULT.indexed)}
    mixed = [_generated(rng, values, cube.days) for _ in range(_QUERIES)]
    first = sorted(_seconds(lambda query=query: cube.query(query)) for query in mixed)
    covered = [_compare(cube, peer, query) for query in _covered(cube.days)]
    nested = [_nested(rng, values) for _ in range(9)]
    against_duckdb = [_compare(cube, peer, query) for query in nested]
    against_polars = [_compare_polars(cube, large.files, query) for query in nested[:5]]
    checked = [_check(cube, peer, query) for query in mixed]
    times = sorted(check.seconds for check in checked)
    return {
        "ratio_group_by_duckdb": round(statistics.median(covered), 1),
        "ratio_group_by_duckdb_min": round(min(covered), 1),
        "ratio_or_distinct_duckdb": round(statistics.median(against_duckdb), 1),
        "ratio_or_distinct_duckdb_min": round(min(against_duckdb), 1),
        "ratio_or_distinct_polars": round(statistics.median(against_polars), 1),
        "p50_ms": round(times[len(times) // 2] * 1000, 1),
        "p95_ms": round(times[int(len(times) * 0.95)] * 1000, 1),
        "max_ms": round(times[-1] * 1000, 1),
        "first_p95_ms": round(first[int(len(first) * 0.95)] * 1000, 1),
        "first_max_ms": round(first[-1] * 1000, 1),
        "duckdb_p95_ms": round(sorted(c.peer_seconds for c in checked)[190] * 1000, 1),
        "exact_mismatches": sum(check.mismatched for check in checked),
        "sketch_max_relative_error": round(max(check.error for check in checked), 5),
        "sources": {
            source.value: sum(check.source is source for check in checked) for source in Source
        },
        "cube_bytes_ratio": round(_size(large, "_cube") / _size(large, TABLE), 4),
        "lake_bytes": _size(large, TABLE),
        "cube_bytes": _size(large, "_cube"),
        "growth_ratio": round(_growth(small, large), 2),
        "build_s": round(large.build_s, 1),
    }


@dataclass(frozen=True, kw_only=True)
class Check:
    """One query's time, and how its answer compares with DuckDB's."""

    seconds: float
    peer_seconds: float
    mismatched: bool
    error: float
    source: Source


def _check(cube: Cube, peer: duckdb.DuckDBPyConnection, query: Query) -> Check:
    cube.query(query)
    ours = cube.query(query)
    started = time.perf_counter()
    theirs = peer.sql(_sql(query)).pl()
    took = time.perf_counter() - started
    sketched = set(ours.relative_error)
    error, mismatched = _difference(ours.rows, theirs, query, sketched)
    if mismatched:
        print(f"differs: {query}\n{ours.plan}\n{ours.rows}\n{theirs}")
    return Check(
        seconds=ours.seconds,
        peer_seconds=took,
        mismatched=mismatched,
        error=error,
        source=ours.plan.source,
    )


def _difference(
    ours: pl.DataFrame, theirs: pl.DataFrame, query: Query, sketched: set[str]
) -> tuple[float, bool]:
    """Return the largest relative error of sketches, and whether anything else differs."""
    if ours.height != theirs.height:
        return 0.0, True
    by = list(query.by)
    if by and not ours.select(by).equals(
        theirs.select(by).cast(dict(ours.select(by).schema)), null_equal=True
    ):
        return 0.0, True
    worst = 0.0
    for name in query.measures:
        for one, two in zip(ours[name].to_list(), theirs[name].to_list(), strict=True):
            if (one is None) != (two is None):
                return worst, True
            if one is None or one == two:
                continue
            error = abs(one - two) / max(abs(two), 1e-12)
            if name in sketched:
                worst = max(worst, error)
            elif error > 1e-9:
                return worst, True
    return worst, False


def _compare(cube: Cube, peer: duckdb.DuckDBPyConnection, query: Query) -> float:
    """Return how many times longer DuckDB takes."""
    text = _sql(query)
    return _median(lambda: peer.sql(text).fetchall()) / _median(lambda: cube.query(query))


def _compare_polars(cube: Cube, files: list[str], query: Query) -> float:
    return _median(lambda: scan(query, files, DEFAULT), repeats=3) / _median(
        lambda: cube.query(query)
    )


def _growth(small: Built, large: Built) -> float:
    """Return how many times longer covered queries take on ten times the rows."""
    few, many = Cube(small.lake), Cube(large.lake)
    ratios = [
        _median(lambda query=query: many.query(query), repeats=21)
        / _median(lambda query=query: few.query(query), repeats=21)
        for query in _covered(many.days)
    ]
    return statistics.median(ratios)


def _covered(days: tuple[str, ...]) -> list[Query]:
    users = ("turns", "users", "bad_rate")
    half = Range(field="day", low=days[len(days) // 2])
    return [
        Query(by=("tenant", "channel"), measures=users, exact=False),
        Query(by=("tenant", "intent"), measures=users, exact=False),
        Query(by=("day", "tenant"), measures=users, exact=False),
        Query(by=("channel",), measures=users, where=half, exact=False),
        Query(by=("model", "version"), measures=users, exact=False),
        Query(by=("tenant",), measures=(*users, "latency_p95"), where=half, exact=False),
    ]


def _nested(rng: Random, values: dict[str, list[Any]]) -> Query:
    """Return a nested OR over the large dimensions, with exact distinct users."""

    def some(name: str, count: int) -> In:
        return In(field=name, values=tuple(rng.sample(values[name], count)))

    merchants, products = (
        some("merchant", rng.randint(10, 60)),
        some("product", rng.randint(10, 60)),
    )
    regions = some("region", rng.randint(20, 200))
    where = Or(
        any_of=(
            And(all_of=(Or(any_of=(merchants, products)), regions)),
            And(all_of=(some("merchant", 20), Not(part=some("region", 500)))),
            And(all_of=(some("product", 30), some("tenant", 2))),
        )
    )
    return Query(measures=("turns", "users"), where=where)


def _generated(rng: Random, values: dict[str, list[Any]], days: tuple[str, ...]) -> Query:
    """Return one of the mixed set, as an analyst at a dashboard would ask it."""

    def some(name: str, most: int) -> In:
        return In(field=name, values=tuple(rng.sample(values[name], rng.randint(1, most))))

    def period() -> Filter:
        start = rng.randrange(len(days))
        return Range(
            field="day", low=days[start], high=days[min(start + rng.randint(0, 13), len(days) - 1)]
        )

    large = rng.choice(("merchant", "product", "region"))
    kind = rng.random()
    if kind < 0.25:  # a dashboard tile
        by = rng.choice(
            (("tenant",), ("tenant", "channel"), ("tenant", "intent"), ("model", "version"))
        )
        measures = rng.choice((("turns", "users"), ("turns", "bad_rate"), ("users", "latency_p95")))
        return Query(by=by, measures=measures, exact=False)
    if kind < 0.45:  # a trend
        where = And(all_of=(some("tenant", 2), period()))
        return Query(by=("day",), measures=("turns", "users", "bad_rate"), where=where, exact=False)
    if kind < 0.65:  # what goes on at these merchants
        where = And(all_of=(some(large, 30), period() if rng.random() < 0.5 else And()))
        by = rng.choice((("intent",), ("day",), ("channel", "language"), ("hour",)))
        return Query(by=by, measures=("turns", "users", "bad"), where=where)
    if kind < 0.8:
        return _nested(rng, values)
    if kind < 0.9:  # the worst of a large dimension
        where = rng.choice((And(), some("tenant", 1), period()))
        return Query(
            by=(large,), measures=("turns", "bad_rate"), where=where, order_by="-turns", limit=20
        )
    where = Or(  # anything else
        any_of=(
            And(all_of=(Prefix(field=large, prefix=rng.choice(values[large])[:5]), period())),
            And(
                all_of=(IsNull(field="feedback"), some("merchant", 5), Range(field="hour", high=8))
            ),
            Not(part=Or(any_of=(IsNull(field="feedback"), Not(part=some("product", 50))))),
        )
    )
    return Query(
        by=rng.choice((("tenant",), ("feedback",))), measures=("turns", "users"), where=where
    )


def _sql(query: Query) -> str:
    measures = [f"{_measure(name)} AS {name}" for name in query.measures]
    text = (
        f"SELECT {', '.join([*query.by, *measures])} FROM interactions WHERE {_where(query.where)}"
    )
    if query.by:
        text += f" GROUP BY {', '.join(query.by)}"
        key = query.order_by.removeprefix("-")
        down = " DESC" if query.order_by.startswith("-") else ""
        order = [f"{key}{down} NULLS LAST"] if key else []
        order += [f"{name} NULLS LAST" for name in query.by if name != key]
        text += f" ORDER BY {', '.join(order)}"
    return text + (f" LIMIT {query.limit}" if query.limit else "")


def _measure(name: str) -> str:
    if name in QUANTILES:
        return f"quantile_disc(latency_ms, {QUANTILES[name]})"
    if name.endswith("_rate"):
        return f"sum({name.removesuffix('_rate')}::INT) / count(*)"
    fixed = {"turns": "count(*)", "users": "count(DISTINCT user_id)"}
    return fixed.get(name, f"sum({name}::INT)::BIGINT")


def _where(tree: Filter) -> str:
    match tree:
        case And(all_of=parts):
            return "(" + " AND ".join(["true", *map(_where, parts)]) + ")"
        case Or(any_of=parts):
            return "(" + " OR ".join(["false", *map(_where, parts)]) + ")"
        case Not(part=part):
            return f"NOT coalesce({_where(part)}, false)"
        case IsNull(field=field):
            return f"{field} IS NULL"
        case Prefix(field=field, prefix=prefix):
            return f"{field} LIKE '{prefix}%'"
        case In(field=field, values=given):
            return f"{field} IN ({', '.join(map(repr, given))})"
        case Range(field=field, low=low, high=high):
            bounds = [f"{field} >= {low!r}"] if low is not None else []
            bounds += [f"{field} <= {high!r}"] if high is not None else []
            return " AND ".join(bounds)
    raise AssertionError(tree)


def _duckdb(files: list[str]) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute(
        "CREATE VIEW interactions AS SELECT * EXCLUDE (date), date AS day, "
        f"model_version AS version, hour(ts) AS hour FROM read_parquet({files!r}, "
        "hive_partitioning = true, hive_types_autocast = false)"
    )
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def _prepare(folder: Path, rows: int, seed: int, memory: str) -> Built:
    """Return a lake of so many rows with its cube; built where the folder has none."""
    place = folder / str(rows)
    note = place / "built.json"
    lake = Lake(str(place / "lake"))
    if note.exists():
        return Built(lake=lake, rows=rows, build_s=json.loads(note.read_text())["build_s"])
    if lake.version(TABLE) < 0 or lake.count(TABLE) != rows:
        shutil.rmtree(place, ignore_errors=True)
        _simulate(lake, rows, seed)
    started = time.perf_counter()
    size = SparkSize(executors=1, cores=os.cpu_count() or 1, memory=memory)
    refresh(
        lake,
        DEFAULT,
        open_spark=lambda: spark_session(Engine.LOCAL, size=size),
        progress=lambda what, done, total: print(f"{rows:,} rows: {what} {done}/{total}   "),
    )
    built = Built(lake=lake, rows=rows, build_s=time.perf_counter() - started)
    note.write_text(json.dumps({"build_s": built.build_s}))
    return built


def _simulate(lake: Lake, rows: int, seed: int) -> None:
    traffic = BulkTraffic(rows=rows, utterances=min(200_000, max(1_000, rows // 10)), seed=seed)
    for day, table in simulate_interactions(traffic):
        lake.append(TABLE, table)
        if sys.stdout.isatty():
            print(f"{rows:,} rows: {day}", end="\r", flush=True)


def _size(built: Built, part: str) -> int:
    folder = Path(built.lake.url, part)
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _median(do: Callable[[], Any], *, repeats: int = _REPEATS) -> float:
    do()
    return statistics.median(_seconds(do) for _ in range(repeats))


def _seconds(do: Callable[[], Any]) -> float:
    started = time.perf_counter()
    do()
    return time.perf_counter() - started


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="closedloop-cube-") as folder:
        yield Path(folder)


if __name__ == "__main__":
    main()

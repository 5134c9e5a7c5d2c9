"""Simulated interactions in bulk: what the ETL would have written, a million rows a second or so.

Who asks what, in which words, comes from `closedloop.data.simulate.dialogues.simulate_turns`;
merchants, products and regions have the long tails that real ones have, so that a few are in
half of the traffic and thousands in a handful of turns. For load tests and benchmarks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from closedloop.data.interaction import SCHEMA
from closedloop.data.simulate.dialogues import simulate_turns
from closedloop.data.simulate.scenario import Scenario

_BAD_SHARE = 0.12
_LOW_CONFIDENCE = 0.5
_TURNS_PER_DIALOGUE = 3.2
_RELEASE_DAYS = 9  # a new model version each
_DAY_US = 86_400_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class BulkTraffic:
    """How much traffic, over which days and how many of everything."""

    rows: int
    first_day: date = date(2026, 10, 1)
    days: int = 31
    users: int = 0  # a tenth of the rows where 0
    merchants: int = 20_000
    products: int = 50_000
    regions: int = 12_000
    utterances: int = 200_000  # different things said
    seed: int = 0


def simulate_interactions(traffic: BulkTraffic) -> Iterator[tuple[str, pa.Table]]:
    """Yield each day (YYYY-MM-DD) with its interactions, in the order of their time.

    Examples
    --------
    >>> days = list(simulate_interactions(BulkTraffic(rows=100, days=2, utterances=50)))
    >>> [day for day, _ in days], sum(table.num_rows for _, table in days)
    (['2026-10-01', '2026-10-02'], 100)
    """
    pool = _utterances(traffic)
    for day in range(traffic.days):
        rows = traffic.rows // traffic.days + (day < traffic.rows % traffic.days)
        when = traffic.first_day + timedelta(days=day)
        yield when.isoformat(), _day(traffic, pool, when, rows, day)


def _utterances(traffic: BulkTraffic) -> pl.DataFrame:
    turns = simulate_turns(Scenario(seed=traffic.seed, turns=traffic.utterances))
    columns: dict[str, list[str]] = {
        name: [] for name in ("tenant", "channel", "language", "intent", "text")
    }
    for turn in turns:
        for name, values in columns.items():
            values.append(getattr(turn, name))
    return pl.DataFrame(columns)


def _day(traffic: BulkTraffic, pool: pl.DataFrame, when: date, rows: int, place: int) -> pa.Table:
    rng = np.random.default_rng((traffic.seed, place))
    midnight = int(datetime(when.year, when.month, when.day, tzinfo=UTC).timestamp()) * 10**6
    ts = midnight + np.sort(_daytime(rng, rows))
    users = traffic.users or max(1, traffic.rows // 10)
    said = pool[rng.integers(0, pool.height, rows)]
    confidence = np.clip(rng.beta(6, 1.4, rows), 0.02, 1.0)
    low = confidence < _LOW_CONFIDENCE
    signals = {
        name: rng.random(rows) < _BAD_SHARE * share * (1 + 2 * low)
        for name, share in (("rephrased", 0.5), ("handover", 0.25), ("abandoned", 0.25))
    }
    word = rng.random(rows)
    down = word < 0.02
    version = 1 + place // _RELEASE_DAYS
    dialogues = rng.integers(0, max(1, int(rows / _TURNS_PER_DIALOGUE)), rows)
    frame = said.select("tenant", "channel", "language", "intent", "text").with_columns(
        pl.Series("event_id", _uuid7(ts, rng)),
        pl.Series("ts", ts).cast(pl.Datetime("us", "UTC")),
        pl.Series("dialogue_id", _named(f"d{place:03d}", dialogues, 9)),
        pl.Series("turn", rng.integers(1, 9, rows, dtype=np.int32)),
        pl.Series("user_id", _pseudonyms(_long_tail(rng, users, rows, 1.6))),
        (pl.col("tenant") + ".intent.main").alias("model"),
        pl.lit(version, dtype=pl.Int32).alias("model_version"),
        pl.Series("confidence", confidence),
        pl.lit(None, dtype=pl.String).alias("rule_id"),
        pl.Series("latency_ms", rng.lognormal(2.2, 0.6, rows)),
        pl.Series("feedback", np.where(down, "down", np.where(word > 0.97, "up", ""))).replace(
            "", None
        ),
        *(pl.Series(name, values) for name, values in signals.items()),
        pl.Series("low_confidence", low),
        pl.Series("bad", down | low | np.logical_or.reduce(list(signals.values()))),
        pl.Series("merchant", _named("m", _long_tail(rng, traffic.merchants, rows, 3.0), 5)),
        pl.Series("product", _named("p", _long_tail(rng, traffic.products, rows, 2.5), 5)),
        pl.Series("region", _named("r", _long_tail(rng, traffic.regions, rows, 2.0), 5)),
    )
    table = frame.select([name for name in SCHEMA.names if name != "attributes"]).to_arrow()
    nothing = pa.nulls(rows, type=SCHEMA.field("attributes").type)
    return table.append_column("attributes", nothing).cast(SCHEMA)


def _daytime(rng: np.random.Generator, rows: int) -> npt.NDArray[np.int64]:
    """Return microseconds of the day, most of them in the waking hours."""
    hour = np.clip(rng.normal(13.5, 4.5, rows), 0, 23.999)
    awake = rng.random(rows) < 0.85
    share = np.where(awake, hour / 24, rng.random(rows))
    return (share * _DAY_US).astype(np.int64)


def _long_tail(
    rng: np.random.Generator, count: int, rows: int, steepness: float
) -> npt.NDArray[np.int64]:
    """Return numbers below ``count``; the higher the steepness, the more of them are small."""
    return (count * rng.random(rows) ** steepness).astype(np.int64)


def _named(prefix: str, numbers: npt.NDArray[np.integer], width: int) -> pl.Series:
    return prefix + pl.Series(numbers).cast(pl.String).str.zfill(width)


def _pseudonyms(numbers: npt.NDArray[np.int64]) -> pl.Series:
    """Return a name of 22 characters for each user, as a keyed hash would give."""
    letters = np.frombuffer(
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", dtype=np.uint8
    )
    distinct, where = np.unique(numbers, return_inverse=True)
    state = distinct.astype(np.uint64)
    name = np.empty((len(distinct), 22), dtype=np.uint8)
    for column in range(22):  # SplitMix64 steps, of which six bits each are shown
        state = state + np.uint64(0x9E3779B97F4A7C15)
        mixed = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        name[:, column] = letters[(mixed >> np.uint64(58)).astype(np.intp)]
    return pl.Series(name.view("S22").ravel()[where].astype("U22"))


def _uuid7(ts: npt.NDArray[np.int64], rng: np.random.Generator) -> pl.Series:
    milliseconds = (ts // 1000).astype(">u8").view(np.uint8).reshape(-1, 8)[:, 2:]
    tail = rng.integers(0, 256, (len(ts), 10), dtype=np.uint8)
    raw = np.concatenate([milliseconds, tail], axis=1)
    raw[:, 6] = raw[:, 6] & 0x0F | 0x70
    raw[:, 8] = raw[:, 8] & 0x3F | 0x80
    digits = np.frombuffer(raw.tobytes().hex().encode(), dtype=np.uint8).reshape(-1, 32)
    text = np.full((len(ts), 36), ord("-"), dtype=np.uint8)
    for start, end, place in ((0, 8, 0), (8, 12, 9), (12, 16, 14), (16, 20, 19), (20, 32, 24)):
        text[:, place : place + end - start] = digits[:, start:end]
    return pl.Series(text.view("S36").ravel().astype("U36"))

"""Answers from a cuboid's cells."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from closedloop.data.cube.declaration import FLAGS, Cuboid, Grain
from closedloop.data.cube.filters import And, Filter, conjuncts, to_expression
from closedloop.data.cube.manifest import CuboidEntry
from closedloop.data.cube.query import QUANTILES, Query
from closedloop.data.cube.sketches import count_users, quantile


class CuboidCells:
    """The cells of one cuboid, read once and kept."""

    def __init__(self, cuboid: Cuboid, entries: dict[str, CuboidEntry], root: Path) -> None:
        self.cuboid = cuboid
        self._cells = _with_periods(
            [(period, root / entry.cells) for period, entry in entries.items()], cuboid.grain
        )
        self._latency = _with_periods(
            [(period, root / e.latency) for period, e in entries.items() if e.latency],
            cuboid.grain,
        )

    def answer(self, query: Query, periods: Sequence[str]) -> pl.DataFrame:
        """Return one row a group: its values, then ``turns``, flags, users and latencies."""
        by = list(query.by)
        keep = pl.col("period").is_in(list(periods))
        if self.cuboid.grain is Grain.DAY:
            keep &= to_expression(query.where)
        else:  # the planner saw to it that conditions on days select whole months
            keep &= to_expression(_without_days(query))
        wants_users = "users" in query.measures
        sketches = ["users", "users_estimate"] if wants_users else []
        names = ["turns", *FLAGS, "confidence_sum", "confidence_count"]
        selected = self._cells.lazy().filter(keep).select(*by, *names, *sketches).collect()
        sums = [pl.col(name).sum() for name in names]
        lists = [pl.col(name) for name in sketches]
        grouped = (
            selected.group_by(by).agg(*sums, *lists)
            if by
            else selected.select(*sums, *(column.implode() for column in lists))
        )
        if wants_users:
            counts = [
                estimates[0] if len(estimates) == 1 else count_users(parts)
                for parts, estimates in zip(
                    grouped["users"].to_list(), grouped["users_estimate"].to_list(), strict=True
                )
            ]
            grouped = grouped.drop("users_estimate").with_columns(
                pl.Series("users", [round(count) for count in counts], dtype=pl.Int64)
            )
        wanted = [name for name in query.measures if name in QUANTILES]
        return self._with_latency(grouped, by, keep, wanted) if wanted else grouped

    def _with_latency(
        self, grouped: pl.DataFrame, by: list[str], keep: pl.Expr, wanted: list[str]
    ) -> pl.DataFrame:
        bins = (
            self._latency.lazy()
            .filter(keep)
            .group_by(*by, "bin")
            .agg(pl.col("latencies").sum())
            .collect()
        )
        lists = [pl.col("bin"), pl.col("latencies")]
        cells = (
            bins.group_by(by).agg(*lists)
            if by
            else bins.select(*(column.implode() for column in lists))
        )
        values = {
            name: [
                quantile(row_bins.to_numpy(), counts.to_numpy(), QUANTILES[name])
                for row_bins, counts in zip(cells["bin"], cells["latencies"], strict=True)
            ]
            for name in wanted
        }
        found = pl.DataFrame(
            [
                *cells.select(by).get_columns(),
                *(pl.Series(name, column, dtype=pl.Float64) for name, column in values.items()),
            ]
        )
        if not by:
            return grouped.hstack(found)
        return grouped.join(found, on=by, how="left", nulls_equal=True)


def _with_periods(files: list[tuple[str, Path]], grain: Grain) -> pl.DataFrame:
    if not files:
        return pl.DataFrame()
    parts = [
        pl.read_parquet(path).with_columns(pl.lit(period).alias("period")) for period, path in files
    ]
    month = pl.col("period").str.slice(0, 7).alias("month")
    day = [pl.col("period").alias("day")] if grain is Grain.DAY else []
    return pl.concat(parts, how="vertical_relaxed").with_columns(month, *day)


def _without_days(query: Query) -> Filter:
    parts = [part for part in conjuncts(query.where) if "day" not in part.fields()]
    return And(all_of=tuple(parts))

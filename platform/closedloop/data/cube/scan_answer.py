"""Answers from the lake's own files: any field, any measure, exact, and the slowest."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from closedloop.data.cube.declaration import FLAGS, CubeDeclaration
from closedloop.data.cube.filters import Filter, to_expression
from closedloop.data.cube.frames import scan_interactions, with_dimensions
from closedloop.data.cube.query import QUANTILES, Query
from closedloop.data.interaction import SCHEMA


def answer(query: Query, files: Sequence[str], declaration: CubeDeclaration) -> pl.DataFrame:
    """Return one row a group: its values, then ``turns``, flags, users and latencies."""
    measures = [
        pl.len().cast(pl.Int64).alias("turns"),
        *(pl.col(flag).sum().cast(pl.Int64) for flag in _asked_flags(query)),
    ]
    if "users" in query.measures:
        users = pl.col("user_id").drop_nulls().n_unique()
        measures.append(users.cast(pl.Int64).alias("users"))
    if "confidence" in query.measures:
        measures.append(pl.col("confidence").sum().alias("confidence_sum"))
        measures.append(pl.col("confidence").count().cast(pl.Int64).alias("confidence_count"))
    latencies = pl.col("latency_ms").drop_nulls().sort()
    for name, q in QUANTILES.items():
        if name in query.measures:
            place = (latencies.len() * q).ceil().cast(pl.Int64) - 1
            found = latencies.get(pl.max_horizontal(place, pl.lit(0)), null_on_oob=True)
            measures.append(found.alias(name))
    rows = selected(query.where, files, declaration)
    grouped = rows.group_by(query.by).agg(*measures) if query.by else rows.select(*measures)
    return grouped.collect()


def interactions(
    where: Filter,
    files: Sequence[Sequence[str]],
    declaration: CubeDeclaration,
    *,
    limit: int,
    offset: int = 0,
) -> pl.DataFrame:
    """Return interactions that the filter selects, the latest first.

    Parameters
    ----------
    files : sequence of sequence of str
        Files of each day, the latest day first: days are read until enough rows are found.
    """
    found: list[pl.DataFrame] = []
    left = offset + limit
    for day in files:
        if left <= 0:
            break
        rows = selected(where, day, declaration).select(SCHEMA.names)
        page = rows.sort(["ts", "event_id"], descending=True).head(left).collect()
        found.append(page)
        left -= page.height
    if not found:
        return empty_interactions()
    return pl.concat(found).slice(offset, limit)


def selected(where: Filter, files: Sequence[str], declaration: CubeDeclaration) -> pl.LazyFrame:
    """Return the rows that a filter selects, with a column for every dimension."""
    if not files:
        rows = with_dimensions(empty_interactions().lazy(), declaration)
    else:
        rows = scan_interactions(files, declaration)
    return rows.filter(to_expression(where))


def empty_interactions() -> pl.DataFrame:
    """Return no interactions, with their columns."""
    empty = pl.from_arrow(SCHEMA.empty_table())
    assert isinstance(empty, pl.DataFrame)
    return empty


def _asked_flags(query: Query) -> list[str]:
    asked = {measure.removesuffix("_rate") for measure in query.measures}
    return [flag for flag in FLAGS if flag in asked]

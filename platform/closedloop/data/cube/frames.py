"""A lake day's interactions as Polars sees them, with the cube's dimensions as columns."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from closedloop.data.cube.declaration import ATTRIBUTE, CubeDeclaration
from closedloop.data.cube.dictionary import value_type


def scan_interactions(files: Sequence[str], declaration: CubeDeclaration) -> pl.LazyFrame:
    """Return the files' rows with a column for every dimension, those of time included."""
    frame = pl.scan_parquet(list(files), missing_columns="insert", extra_columns="ignore")
    return with_dimensions(frame, declaration)


def with_dimensions(frame: pl.LazyFrame, declaration: CubeDeclaration) -> pl.LazyFrame:
    """Return a frame of interactions with a column for every dimension."""
    ts = pl.col("ts")
    return frame.with_columns(
        ts.dt.strftime("%Y-%m").alias("month"),
        ts.dt.strftime("%Y-%m-%d").alias("day"),
        ts.dt.hour().cast(pl.Int64).alias("hour"),
        *(
            _values(dimension.column).cast(value_type(dimension.column)).alias(dimension.name)
            for dimension in declaration.dimensions
        ),
    )


def _values(column: str) -> pl.Expr:
    if not column.startswith(ATTRIBUTE):
        return pl.col(column)
    return pl.col("attributes").map.get(column.removeprefix(ATTRIBUTE))

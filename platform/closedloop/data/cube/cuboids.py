"""Spark job: interactions → the cells of a cuboid.

Schema in: `closedloop.data.interaction.SCHEMA`. Schema out, one row a combination of period and
dimensions: ``period`` (a day or a month), the dimensions, ``turns``, the flags' counts,
``confidence_sum`` and ``confidence_count``; with sketches also ``users`` (an HLL sketch in the
DataSketches format) and ``users_estimate``. `latency_bins` has the counts of latencies apart,
one row a cell and bin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from closedloop.data.cube.declaration import ATTRIBUTE, FLAGS, CubeDeclaration, Cuboid, Grain
from closedloop.data.cube.sketches import LATENCY_BIN_SQL, LG_REGISTERS

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


def cells(interactions: DataFrame, cuboid: Cuboid, declaration: CubeDeclaration) -> DataFrame:
    """Return a cuboid's cells."""
    from pyspark.sql import functions as f

    measures = [
        f.count(f.lit(1)).alias("turns"),
        *(f.sum(f.col(flag).cast("long")).alias(flag) for flag in FLAGS),
        f.coalesce(f.sum("confidence"), f.lit(0.0)).alias("confidence_sum"),
        f.count("confidence").alias("confidence_count"),
    ]
    if cuboid.sketches:
        measures.append(f.hll_sketch_agg("user_id", f.lit(LG_REGISTERS)).alias("users"))
    grouped = _grouped(interactions, cuboid, declaration).agg(*measures)
    if cuboid.sketches:
        grouped = grouped.withColumn("users_estimate", f.hll_sketch_estimate("users"))
    return grouped


def latency_bins(
    interactions: DataFrame, cuboid: Cuboid, declaration: CubeDeclaration
) -> DataFrame:
    """Return how many latencies each bin of each cell has."""
    from pyspark.sql import functions as f

    timed = interactions.where("latency_ms IS NOT NULL")
    counted = _grouped(timed, cuboid, declaration, f.expr(LATENCY_BIN_SQL).alias("bin"))
    return counted.agg(f.count(f.lit(1)).alias("latencies"))


def _grouped(interactions: DataFrame, cuboid: Cuboid, declaration: CubeDeclaration, *more: Column):  # type: ignore[no-untyped-def]  # pyspark's GroupedData
    from pyspark.sql import functions as f

    length = 10 if cuboid.grain is Grain.DAY else 7
    period = f.substring(f.date_format("ts", "yyyy-MM-dd"), 1, length).alias("period")
    dimensions = [_column(name, declaration).alias(name) for name in cuboid.dimensions]
    return interactions.groupBy(period, *dimensions, *more)


def _column(name: str, declaration: CubeDeclaration) -> Column:
    from pyspark.sql import functions as f

    if name == "hour":
        return f.hour("ts").cast("long")
    source = declaration.source(name)
    if source.startswith(ATTRIBUTE):
        return f.col("attributes")[source.removeprefix(ATTRIBUTE)]
    return f.col(source).cast("long") if source in ("model_version", "turn") else f.col(source)

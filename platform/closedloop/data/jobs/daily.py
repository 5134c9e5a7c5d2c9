"""Spark job: interactions → daily aggregates.

Schema in: `closedloop.data.interaction.SCHEMA`. Schema out: `DAILY_SCHEMA`, one row a day,
tenant, channel, model, version and intent. Every figure is exact, and the same whatever order
the rows come in: confidences are added as whole billionths, not as floating point.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

DAILY_SCHEMA = pa.schema(
    [
        pa.field("date", pa.string(), nullable=False),  # YYYY-MM-DD, UTC
        pa.field("tenant", pa.string(), nullable=False),
        pa.field("channel", pa.string()),
        pa.field("model", pa.string()),
        pa.field("model_version", pa.int32()),
        pa.field("intent", pa.string()),
        pa.field("turns", pa.int64(), nullable=False),
        pa.field("users", pa.int64(), nullable=False),  # distinct
        pa.field("bad", pa.int64(), nullable=False),
        pa.field("disliked", pa.int64(), nullable=False),
        pa.field("mean_confidence", pa.float64()),
        pa.field("p95_latency_ms", pa.float64()),  # interpolated between the nearest ranks
    ]
)
_KEYS = DAILY_SCHEMA.names[:6]
_BILLION = 1_000_000_000


def daily(rows: DataFrame) -> DataFrame:
    """Return the daily aggregates of interactions; a day must be given whole."""
    from pyspark.sql import functions as f

    dated = rows.withColumn("date", f.to_date("ts").cast("string"))
    billionths = f.sum(f.round(f.col("confidence") * _BILLION).cast("long"))
    mean = billionths / f.count("confidence") / _BILLION
    return dated.groupBy(*_KEYS).agg(
        f.count(f.lit(1)).alias("turns"),
        # A set a group, not COUNT(DISTINCT): that would keep a percentile's state a user.
        f.size(f.collect_set("user_id")).cast("long").alias("users"),
        f.count_if(f.col("bad")).alias("bad"),
        f.count_if(f.col("feedback") == "down").alias("disliked"),
        mean.alias("mean_confidence"),
        f.percentile("latency_ms", 0.95).alias("p95_latency_ms"),
    )

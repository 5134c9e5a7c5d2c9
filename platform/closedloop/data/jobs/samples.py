"""Spark job: turns → distinct samples, each with its language and how often it was asked.

Schema in: the lake table ``turns``. Schema out: `SAMPLES_SCHEMA` (the topic comes from the
next job), and ``tokens``: words, and single Han characters. The rows are ordered by the
first time a text was seen, on every engine alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from closedloop.data.event import SCHEMA as EVENT_SCHEMA
from closedloop.data.jobs.reading import read_rows

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SAMPLES_SCHEMA = pa.schema(
    [
        pa.field("sample_id", pa.string()),  # event id of the first turn with this text
        pa.field("tenant", pa.string()),
        pa.field("text", pa.string()),
        pa.field("language", pa.string()),  # en, zh
        pa.field("asked", pa.int32()),  # turns with this text
        pa.field("users", pa.int32()),  # distinct users who asked it
        pa.field("first_seen", pa.timestamp("us", tz="UTC")),
        pa.field("label", pa.string()),  # what the log said, where it said anything
        pa.field("topic", pa.int32()),  # by the MLlib job, see topics.py
    ]
)
_TOKEN = r"[\p{IsHan}]|[\p{L}\p{N}]+"
_HAN = r"[\p{IsHan}]"


def read_events(session: SparkSession, files: list[str]) -> DataFrame:
    """Return a lake table's events, from the files of one of its versions."""
    return read_rows(session, files, EVENT_SCHEMA)


def distinct_samples(turns: DataFrame) -> DataFrame:
    """Fold turns of the same text, but for case and spacing, into one sample a tenant."""
    from pyspark.sql import Window
    from pyspark.sql import functions as f

    folded = f.lower(f.trim(f.regexp_replace("text", r"\s+", " ")))
    turns = turns.where(f.col("text").isNotNull()).withColumn("folded", folded)
    by_text = Window.partitionBy("tenant", "folded")
    first = by_text.orderBy("ts", "event_id")
    asked = f.count(f.lit(1)).over(by_text)
    users = f.size(f.collect_set("user_id").over(by_text))
    samples = (
        turns.select(
            "*",
            f.row_number().over(first).alias("place"),
            asked.cast("int").alias("asked"),
            users.alias("users"),
        )
        .where("place = 1")
        .withColumn("tokens", f.expr(f"regexp_extract_all(folded, '{_escaped(_TOKEN)}', 0)"))
        .where(f.size("tokens") > 0)
        .select(
            f.col("event_id").alias("sample_id"),
            "tenant",
            "text",
            "tokens",
            f.when(f.col("text").rlike(_HAN), "zh").otherwise("en").alias("language"),
            "asked",
            "users",
            f.col("ts").alias("first_seen"),
            f.col("attributes")["label"].alias("label"),
        )
    )
    return samples.orderBy("first_seen", "sample_id")


def _escaped(pattern: str) -> str:
    return pattern.replace("\\", "\\\\")

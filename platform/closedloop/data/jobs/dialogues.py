"""Spark job: interactions → dialogues.

Schema in: `closedloop.data.interaction.SCHEMA`. Schema out: `DIALOGUES_SCHEMA`, one row a
dialogue, under the day it began.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

DIALOGUES_SCHEMA = pa.schema(
    [
        pa.field("tenant", pa.string(), nullable=False),
        pa.field("dialogue_id", pa.string(), nullable=False),
        pa.field("channel", pa.string()),  # of its first turn
        pa.field("user_id", pa.string()),  # pseudonym, of its first turn
        pa.field("started", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("ended", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("turns", pa.int32(), nullable=False),  # of the user
        pa.field("models", pa.list_(pa.string()), nullable=False),  # who answered, by name
        pa.field("bad_turns", pa.int32(), nullable=False),
        pa.field("disliked", pa.int32(), nullable=False),  # turns with a thumb down
        pa.field("handover", pa.bool_(), nullable=False),
        pa.field("abandoned", pa.bool_(), nullable=False),
        pa.field("first_intent", pa.string()),
        pa.field("last_intent", pa.string()),
    ]
)


def dialogues(rows: DataFrame) -> DataFrame:
    """Return the dialogues of interactions; a dialogue must be given whole."""
    from pyspark.sql import functions as f

    order = f.struct("turn", "event_id")
    return (
        rows.groupBy("tenant", "dialogue_id")
        .agg(
            f.min_by("channel", order).alias("channel"),
            f.min_by("user_id", order).alias("user_id"),
            f.min("ts").alias("started"),
            f.max("ts").alias("ended"),
            f.max("turn").alias("turns"),
            f.array_sort(f.collect_set("model")).alias("models"),
            f.count_if(f.col("bad")).cast("int").alias("bad_turns"),
            f.count_if(f.col("feedback") == "down").cast("int").alias("disliked"),
            f.bool_or("handover").alias("handover"),
            f.bool_or("abandoned").alias("abandoned"),
            f.min_by("intent", order).alias("first_intent"),
            f.max_by("intent", order).alias("last_intent"),
        )
        .select(*DIALOGUES_SCHEMA.names)
    )

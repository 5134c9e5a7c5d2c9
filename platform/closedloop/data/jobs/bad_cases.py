"""Spark job: feedback joined to the prediction that caused it → bad cases.

Schema in: the lake tables ``predictions`` and ``feedback``. Schema out: `BAD_CASES_SCHEMA`,
one row a prediction that users disliked, attributed to the model version that answered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

BAD_CASES_SCHEMA = pa.schema(
    [
        pa.field("sample_id", pa.string()),  # the first such prediction's event id
        pa.field("model", pa.string()),
        pa.field("model_version", pa.int32()),
        pa.field("text", pa.string()),
        pa.field("prediction", pa.string()),
        pa.field("confidence", pa.float64()),
        pa.field("dislikes", pa.int32()),  # thumbs down for this text and version
        pa.field("likes", pa.int32()),
        pa.field("asked", pa.int32()),  # predictions for this text by this version
        pa.field("ts", pa.timestamp("us", tz="UTC")),
    ]
)


def bad_cases(predictions: DataFrame, feedback: DataFrame) -> DataFrame:
    """Return predictions with more thumbs down than up, the most disliked first.

    Predictions of the same text by the same version are one case: their feedback adds up. A
    user who sends feedback twice for one prediction counts once, with the last word.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as f

    last = Window.partitionBy("refers_to").orderBy(f.desc("ts"), f.desc("event_id"))
    said = (
        feedback.withColumn("place", f.row_number().over(last))
        .where("place = 1")
        .select(f.col("refers_to"), f.col("feedback").alias("said"))
    )
    # What a keyword rule decided is no fault of the model beside it.
    answered = predictions.where("rule_id IS NULL").select(
        "event_id", "model", "model_version", "text", "prediction", "confidence", "ts"
    )
    joined = answered.join(said, answered.event_id == said.refers_to, "left")
    case = Window.partitionBy("model", "model_version", "text")
    first = case.orderBy("ts", "event_id")
    dislikes = f.sum(f.when(f.col("said") == "down", 1).otherwise(0)).over(case)
    likes = f.sum(f.when(f.col("said") == "up", 1).otherwise(0)).over(case)
    return (
        joined.select(
            f.col("event_id").alias("sample_id"),
            "model",
            "model_version",
            "text",
            "prediction",
            "confidence",
            dislikes.cast("int").alias("dislikes"),
            likes.cast("int").alias("likes"),
            f.count(f.lit(1)).over(case).cast("int").alias("asked"),
            "ts",
            f.row_number().over(first).alias("place"),
        )
        .where("place = 1 AND dislikes > likes")
        .select(*BAD_CASES_SCHEMA.names)
        .orderBy(f.desc("dislikes"), "ts", "sample_id")
    )

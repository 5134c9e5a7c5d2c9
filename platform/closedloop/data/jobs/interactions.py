"""Spark job: turns, predictions and feedback → interactions.

Schema in: the lake tables ``turns``, ``predictions`` and ``feedback``. Schema out:
`closedloop.data.interaction.SCHEMA`, one row a user turn and model that answered it. A turn
that a model answered is told by its prediction; the turn's own event lends it the attributes
that the prediction lacks. What the assistant said (attribute ``role``) is no row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from closedloop.data.interaction import SCHEMA
from closedloop.data.jobs.sessionise import sessionise
from closedloop.data.jobs.signals import (
    STANDARD_RULES,
    SignalRules,
    asks_for_human,
    closes,
    says_again,
    tokens,
)

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_HAN = r"[\p{IsHan}]"
_LIFTED = ("merchant", "product", "region")  # attributes that are columns of an interaction


def interactions(
    turns: DataFrame,
    predictions: DataFrame,
    feedback: DataFrame,
    *,
    rules: SignalRules = STANDARD_RULES,
) -> DataFrame:
    """Return the interactions of the dialogues given; a dialogue must be given whole.

    Parameters
    ----------
    turns, predictions, feedback : DataFrame
        Events. Feedback may be that of other dialogues too.
    rules : SignalRules
        What counts as an implicit signal.
    """
    from pyspark.sql import functions as f

    answered = predictions.join(
        last_words(feedback), predictions.event_id == f.col("rated"), "left"
    ).drop("rated")
    unanswered = turns.withColumn("said", f.lit(None).cast("string"))
    events = answered.unionByName(unanswered).where(
        f.coalesce(f.col("attributes")["role"], f.lit("user")) != "assistant"
    )
    return _signalled(_one_a_turn(sessionise(events)), rules).select(*SCHEMA.names)


def last_words(feedback: DataFrame) -> DataFrame:
    """Return (rated, said): the user's last thumb for each prediction."""
    from pyspark.sql import functions as f

    last = f.max_by("feedback", f.struct("ts", "event_id"))
    return (
        feedback.where("refers_to IS NOT NULL AND feedback IS NOT NULL")
        .groupBy(f.col("refers_to").alias("rated"))
        .agg(last.alias("said"))
    )


def _one_a_turn(events: DataFrame) -> DataFrame:
    """Leave out turns that have a prediction, and number the turns of a dialogue from 1.

    Two models' answers to one turn have the same number.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as f

    same = Window.partitionBy("tenant", "dialogue_id", "turn").orderBy("ts", "event_id")
    whole = same.rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing)
    is_turn = f.col("kind") == "turn"
    numbered = f.col("turn").isNotNull()

    def of_turn(column: Column, otherwise: Column) -> Column:
        return f.when(numbered, f.first(column, ignorenulls=True).over(whole)).otherwise(otherwise)

    order = Window.partitionBy("tenant", "dialogue_id").orderBy("first_ts", "first_id")
    # What the prediction says of itself (of a trial, say) stands; the turn adds the rest.
    lent = f.expr("map_filter(logged, (name, value) -> NOT map_contains_key(attributes, name))")
    return (
        events.repartition("tenant", "dialogue_id")
        .withColumns(
            {
                "answered": of_turn(f.when(~is_turn, f.lit(True)), f.lit(None)),
                "logged": of_turn(f.when(is_turn, f.col("attributes")), f.lit(None)),
                "first_ts": of_turn(f.col("ts"), f.col("ts")),
                "first_id": of_turn(f.col("event_id"), f.col("event_id")),
            }
        )
        .where(~is_turn | f.col("answered").isNull())
        .withColumn("place", f.dense_rank().over(order))
        .withColumn(
            "attributes",
            f.when(f.col("logged").isNull(), f.col("attributes")).otherwise(
                f.map_concat(lent, "attributes")
            ),
        )
        .drop("answered", "logged", "first_ts", "first_id")
    )


def _signalled(rows: DataFrame, rules: SignalRules) -> DataFrame:
    from pyspark.sql import Window
    from pyspark.sql import functions as f

    follows = Window.partitionBy("tenant", "dialogue_id").orderBy("place").rangeBetween(1, 1)
    text, next_text = f.col("text"), f.col("next.text")
    is_last = f.col("next").isNull()
    human = asks_for_human(text, f.col("prediction"), f.col("attributes"), rules)
    disliked = f.coalesce(f.col("said") == "down", f.lit(False))
    low = f.coalesce(f.col("confidence") < rules.low_confidence, f.lit(False))
    return (
        rows.withColumn("human", human)
        .withColumn("next", f.first(f.struct("text", "human")).over(follows))
        .withColumn("before", f.when(~is_last, tokens(text)))
        .withColumn("after", f.when(~is_last, tokens(next_text)))
        .select(
            "event_id",
            "ts",
            "tenant",
            "channel",
            "dialogue_id",
            f.col("place").alias("turn"),
            "user_id",
            f.when(text.rlike(_HAN), "zh").otherwise("en").alias("language"),
            "text",
            "model",
            "model_version",
            f.col("prediction").alias("intent"),
            "confidence",
            "rule_id",
            "latency_ms",
            f.col("said").alias("feedback"),
            says_again(next_text, f.col("before"), f.col("after"), rules).alias("rephrased"),
            f.coalesce("next.human", f.lit(False)).alias("handover"),
            (is_last & (low | disliked) & ~closes(text, rules)).alias("abandoned"),
            low.alias("low_confidence"),
            disliked.alias("disliked"),
            *[f.col("attributes")[name].alias(name) for name in _LIFTED],
            f.map_filter("attributes", lambda name, _: ~name.isin(*_LIFTED)).alias("attributes"),
        )
        .withColumn(
            "bad", f.expr("disliked OR rephrased OR handover OR abandoned OR low_confidence")
        )
    )

"""Spark job: turns without a dialogue → turns of sessions.

Schema in and out: events (`closedloop.data.event.SCHEMA`). A user's turns that lie no more than
half an hour apart are one session; its id comes from its first event, so that later events do
not change it. A late event changes it only where it becomes the first, or joins two sessions.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

SESSION_GAP = timedelta(minutes=30)
SESSION_PREFIX = "s-"
OWNER = "owner"  # who holds a turn before it has its dialogue: all of a session have the same


def sessionise(events: DataFrame) -> DataFrame:
    """Return the events, each with a ``dialogue_id``.

    Events that have one keep it. Without a user, an event is a session of its own.
    """
    return with_sessions(events).drop(OWNER)


def with_sessions(events: DataFrame) -> DataFrame:
    """Return `sessionise` with the column `OWNER`, by which the rows are partitioned.

    What comes after it may use windows over (tenant, owner, dialogue_id, …) without another
    shuffle.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as f

    owner = f.coalesce(
        f.concat(f.lit("d:"), "dialogue_id"),
        f.concat(f.lit("u:"), "user_id"),
        f.concat(f.lit("e:"), "event_id"),
    )
    owned = events.withColumn(OWNER, owner).repartition("tenant", OWNER)
    order = Window.partitionBy("tenant", OWNER).orderBy("ts", "turn", "event_id")
    pause = f.unix_micros("ts") - f.unix_micros(f.lag("ts").over(order))
    first = f.coalesce(pause > int(SESSION_GAP.total_seconds() * 1e6), f.lit(True))
    so_far = order.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    opened_by = f.last(f.when(f.col("first"), f.col("event_id")), ignorenulls=True).over(so_far)
    session = f.concat(f.lit(SESSION_PREFIX), opened_by)
    return (
        owned.withColumn("first", first)
        .withColumn("dialogue_id", f.coalesce("dialogue_id", session))
        .drop("first")
    )

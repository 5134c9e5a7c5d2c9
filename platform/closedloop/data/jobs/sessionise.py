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


def sessionise(events: DataFrame) -> DataFrame:
    """Return the events, each with a ``dialogue_id``.

    Events that have one keep it, at no cost: files without others are told by their
    statistics. Without a user, an event is a session of its own.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as f

    given = events.where("dialogue_id IS NOT NULL")
    # Not one owner for all that have no user: they would be sorted as one partition.
    owner = f.coalesce(f.concat(f.lit("u:"), "user_id"), f.concat(f.lit("e:"), "event_id"))
    order = Window.partitionBy("tenant", "owner").orderBy("ts", "turn", "event_id")
    so_far = order.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    pause = f.unix_micros("ts") - f.unix_micros(f.lag("ts").over(order))
    opens = f.coalesce(pause > int(SESSION_GAP.total_seconds() * 1e6), f.lit(True))
    opened_by = f.last(f.when(f.col("opens"), f.col("event_id")), ignorenulls=True).over(so_far)
    found = (
        events.where("dialogue_id IS NULL")
        .withColumn("owner", owner)
        .withColumn("opens", opens)
        .withColumn("dialogue_id", f.concat(f.lit(SESSION_PREFIX), opened_by))
        .select(*events.columns)
    )
    return given.unionByName(found)

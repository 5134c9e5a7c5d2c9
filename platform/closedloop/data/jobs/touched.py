"""Spark job: new events → on which days dialogues have something new.

Schema in: files of the lake tables ``turns``, ``predictions`` and ``feedback``. Out: the sets
of days that dialogues span, each once, and whether one of them holds something new. These are
few however many dialogues there are, so that what to do is decided without Spark
(`closedloop.data.etl_plan.touched_days`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from closedloop.data.etl_plan import Days, DialogueDates, Plan, neighbours, touched_days
from closedloop.data.event import SCHEMA as EVENT_SCHEMA
from closedloop.data.jobs.reading import read_rows
from closedloop.data.jobs.sessionise import sessionise

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_KEYS = pa.schema(
    EVENT_SCHEMA.field(name)
    for name in ("event_id", "ts", "tenant", "dialogue_id", "turn", "user_id")
)
_RATED = pa.schema([EVENT_SCHEMA.field("refers_to")])


def days_to_make(session: SparkSession, plan: Plan, *, margin_days: int) -> Days:
    """Return the days that a plan's new events touch.

    Parameters
    ----------
    session : SparkSession
        Where to look.
    plan : Plan
        What is new.
    margin_days : int
        How many days around new events a dialogue's other turns are looked for. A dialogue
        that pauses longer is not found whole.
    """
    if plan.new is None:
        return Days(remake=plan.source_dates | plan.forced, read=plan.source_dates)
    rated = _rated(session, plan)
    start = {file.date for name in ("turns", "predictions") for file in plan.fresh(name)[0]}
    if rated is not None:
        start |= _rated_dates(session, plan, rated)
    if not start and not plan.forced:
        return Days(remake=frozenset(), read=frozenset())
    searched: frozenset[str] = frozenset()
    wanted = neighbours(start | plan.forced, margin_days=margin_days) & plan.source_dates
    while not wanted <= searched:
        searched |= wanted
        days = touched_days(_dialogue_dates(session, plan, rated, searched), plan.forced)
        wanted = neighbours(days.remake, margin_days=margin_days) & plan.source_dates
    return days


def _rated(session: SparkSession, plan: Plan) -> DataFrame | None:
    """Return the ids of predictions that new feedback refers to."""
    from pyspark.sql import functions as f

    fresh = [file.path for file in plan.fresh("feedback")[0]]
    if not fresh:
        return None
    ids = read_rows(session, fresh, _RATED).where("refers_to IS NOT NULL").distinct()
    return ids.select("refers_to", f.lit(True).alias("rated")).cache()


def _rated_dates(session: SparkSession, plan: Plan, rated: DataFrame) -> set[str]:
    from pyspark.sql import functions as f

    bounds = rated.agg(f.min("refers_to").alias("low"), f.max("refers_to").alias("high")).first()
    if bounds is None or bounds.low is None:
        return set()
    keys = read_rows(session, [file.path for file in plan.files("predictions")], _KEYS)
    # Ids are in the order of time nearly everywhere: the bounds skip most of the files.
    near = keys.where(keys.event_id.between(bounds.low, bounds.high))
    hit = near.join(rated, near.event_id == rated.refers_to, "leftsemi")
    return {row.date for row in hit.select(_date().alias("date")).distinct().collect()}


def _dialogue_dates(
    session: SparkSession, plan: Plan, rated: DataFrame | None, days: frozenset[str]
) -> list[DialogueDates]:
    from pyspark.sql import functions as f

    frames = []
    for name in ("turns", "predictions"):
        for new, files in zip((True, False), plan.fresh(name), strict=True):
            paths = [file.path for file in files if file.date in days]
            if paths:
                frames.append(read_rows(session, paths, _KEYS).withColumn("new", f.lit(new)))
    if not frames:
        return []
    keys = frames[0]
    for frame in frames[1:]:
        keys = keys.unionByName(frame)
    if rated is not None:
        keys = keys.join(rated, keys.event_id == rated.refers_to, "left")
        keys = keys.withColumn("new", f.col("new") | f.coalesce("rated", f.lit(False)))
    spans = (
        sessionise(keys)
        .groupBy("tenant", "dialogue_id")
        .agg(f.max("new").alias("new"), f.array_sort(f.collect_set(_date())).alias("dates"))
        .groupBy("new", "dates")
        .count()
    )
    return [DialogueDates(row.new, tuple(row.dates)) for row in spans.collect()]


def _date():  # type: ignore[no-untyped-def]  # a Column, which is imported late
    from pyspark.sql import functions as f

    return f.to_date("ts").cast("string")

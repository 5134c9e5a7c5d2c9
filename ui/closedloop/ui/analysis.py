"""From events to a cube in one Spark session: what the demo does before people explore it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

from closedloop.core.settings import Settings
from closedloop.data.cube.cube import Cube
from closedloop.data.cube.refresh import refresh
from closedloop.data.drain import drain_to_lake
from closedloop.data.etl import update
from closedloop.data.event_log.opening import open_event_log
from closedloop.data.lake import Lake
from closedloop.data.spark import Engine, SparkSize, spark_session


def make_analysable(
    settings: Settings, engine: Engine, *, tell: Callable[[str], None] = lambda _: None
) -> Cube:
    """Drain the event log, run the ETL and bring the cube up to date.

    Parameters
    ----------
    tell : callable
        Takes a few words on what goes on.
    """
    lake = Lake(settings.lake_url)
    log = open_event_log(settings.event_log_url)
    drain_to_lake(log, lake)
    log.close()
    tell("making interactions")
    size = SparkSize(cores=1, memory="1g")
    with spark_session(engine, size=size, log_file=settings.root / "logs" / "spark.log") as session:
        update(session, lake)
        tell("building the cube")
        refresh(lake, open_spark=lambda: nullcontext(session))
    return Cube(lake)

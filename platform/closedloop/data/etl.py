"""The ETL: a run makes of events what analysis needs, for the days that new events touch.

Tables made: ``interactions`` from turns, predictions and feedback; ``dialogues``, ``daily`` and
``features`` from interactions. Each is replaced by whole days, one commit a table and run, and
each commit says which version of every source it has read: a run that dies leaves nothing
half-visible, and the next one does what is missing. Late events correct the days they belong
to, feedback the day of the prediction it refers to; the result is that of a full rebuild.

Days whose events were deleted from the sources keep what was made of them, so that raw events
may be kept for less time than figures; ``since`` makes days anew from what is there.
"""

from __future__ import annotations

import fcntl
import math
import shutil
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from closedloop.core.errors import Conflict, EngineError, InputError, NotFound
from closedloop.data.etl_plan import OUTPUTS, Days, Plan, make_plan
from closedloop.data.event import SCHEMA as EVENT_SCHEMA
from closedloop.data.interaction import SCHEMA as INTERACTION_SCHEMA
from closedloop.data.jobs.daily import daily
from closedloop.data.jobs.dialogues import dialogues
from closedloop.data.jobs.features import features
from closedloop.data.jobs.interactions import interactions
from closedloop.data.jobs.reading import read_rows
from closedloop.data.jobs.signals import STANDARD_RULES, SignalRules
from closedloop.data.jobs.touched import days_to_make
from closedloop.data.lake import Lake
from closedloop.data.lake_files import live_files, replace_dates
from closedloop.data.spark import Engine, SparkSize, spark_session

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

MARGIN_DAYS = 7
_ATTEMPTS = 3
_ONE_CORE = SparkSize()
_STAGING = "_etl"
# Compressed bytes of source that one task of a shuffle takes; unpacked they are five to ten
# times as many, and a task sorts them within an executor's share of memory.
_TASK_BYTES = 24 << 20
# Groups that a task aggregates by hashing, a few hundred bytes each, before it takes to
# sorting; Spark's default of 128 sorts nearly always.
_HASHED_GROUPS = 100_000
_MADE_OF_INTERACTIONS = {"dialogues": dialogues, "daily": daily, "features": features}
_DATED_BY = {"interactions": "ts", "dialogues": "started", "features": "started"}

StepProgress = Callable[[int, int], None]  # called with (steps done, steps in all)


@dataclass(frozen=True, kw_only=True, slots=True)
class EtlReport:
    """What a run did."""

    # Days made again, YYYY-MM-DD, in order.
    days: tuple[str, ...]
    # Rows written, by table; empty where there was nothing new.
    rows: dict[str, int]
    # Version of each source that the tables have read now.
    versions: dict[str, int]
    # Sessions it took; more than one where an executor was lost.
    attempts: int
    # Seconds of work, without the start of the session.
    seconds: float


def run_etl(
    lake: Lake,
    *,
    engine: Engine = Engine.LOCAL,
    size: SparkSize = _ONE_CORE,
    since: str | None = None,
    rules: SignalRules = STANDARD_RULES,
    log_file: Path | None = None,
    progress: StepProgress = lambda done, steps: None,
) -> EtlReport:
    """Bring the ETL's tables up to date; a lost executor costs a fresh session, not the run.

    Parameters
    ----------
    lake : Lake
        Where; in a folder that all executors share.
    engine, size : Engine, SparkSize
        Spark to use.
    since : str, optional
        Make every day from this one on (YYYY-MM-DD) again, new or not.
    rules : SignalRules
        What counts as an implicit signal; other rules than those of the last run make
        everything again.
    log_file : Path, optional
        Where the JVM's messages go.
    progress : callable
        Told of each step.

    Raises
    ------
    NotFound
        The lake has no turns and no predictions yet.
    Conflict
        Another run is going on.
    InputError
        ``since`` is no date, or the lake is in an object store.
    EngineError
        Spark failed three times.

    Examples
    --------
    >>> run_etl(Lake("/srv/lake")).rows                             # doctest: +SKIP
    {'interactions': 120000, 'dialogues': 61200, 'daily': 5100, 'features': 61200}
    """
    with _alone(lake):
        plan = _plan(lake, rules, since, OUTPUTS)
        if not plan.behind:
            progress(1, 1)
            return _report(plan)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with spark_session(engine, size=size, log_file=log_file) as session:
                    report = update(session, lake, rules=rules, since=since, progress=progress)
                    return replace(report, attempts=attempt)
            except EngineError:
                # RayDP may not replace a lost executor. What was committed stays.
                if attempt == _ATTEMPTS:
                    raise
    raise AssertionError("there is at least one attempt")


def update(
    session: SparkSession,
    lake: Lake,
    *,
    rules: SignalRules = STANDARD_RULES,
    since: str | None = None,
    tables: Collection[str] = OUTPUTS,
    margin_days: int = MARGIN_DAYS,
    progress: StepProgress = lambda done, steps: None,
) -> EtlReport:
    """Do one run in a session that is open; `run_etl` is this with a session and retries.

    Parameters
    ----------
    tables : collection of str
        Which tables to make, ``interactions`` among them.
    margin_days : int
        A dialogue may pause for this many days and still be corrected as one.

    Others as in `run_etl`.
    """
    started = time.perf_counter()
    plan = _plan(lake, rules, since, tables)
    if not plan.behind:
        progress(1, 1)
        return _report(plan)
    steps = len(plan.behind) + 1
    days = days_to_make(session, plan, margin_days=margin_days)
    session.conf.set("spark.sql.shuffle.partitions", str(_tasks(session, plan, days)))
    session.conf.set("spark.sql.objectHashAggregate.sortBased.fallbackThreshold", _HASHED_GROUPS)
    progress(1, steps)
    staging = Path(lake.url, _STAGING, uuid.uuid4().hex)
    rows = {}
    try:
        for step, table in enumerate(plan.behind, start=2):
            staged = staging / table
            if days.remake:
                frame = _frame(session, lake, table, plan, days, rules)
                _write(frame, table, days, staged)
            rows[table] = replace_dates(lake, table, staged, days.remake, plan.progress)
            progress(step, steps)
    finally:
        session.catalog.clearCache()
        shutil.rmtree(staging, ignore_errors=True)
    return replace(
        _report(plan),
        days=tuple(sorted(days.remake)),
        rows=rows,
        seconds=time.perf_counter() - started,
    )


def _plan(lake: Lake, rules: SignalRules, since: str | None, tables: Collection[str]) -> Plan:
    if since is not None:
        try:
            time.strptime(since, "%Y-%m-%d")
        except ValueError:
            raise InputError(
                f"{since!r} is no date.", remedy="Give a day as YYYY-MM-DD, such as 2026-01-31."
            ) from None
    plan = make_plan(lake, rules, tables=tables, since=since)
    if not plan.versions.keys() & {"turns", "predictions"}:
        raise NotFound(
            f"The lake {lake.url} has no turns and no predictions yet.",
            remedy="Load logs first: closedloop ingest FILE --map text=COLUMN.",
        )
    return plan


def _report(plan: Plan) -> EtlReport:
    return EtlReport(days=(), rows={}, versions=dict(plan.versions), attempts=0, seconds=0.0)


def _frame(
    session: SparkSession, lake: Lake, table: str, plan: Plan, days: Days, rules: SignalRules
) -> DataFrame:
    if table == "interactions":
        rated = read_rows(session, [f.path for f in plan.files("feedback")], EVENT_SCHEMA)
        turns, predictions = _whole_dialogues(session, plan, days)
        return interactions(turns, predictions, rated, rules=rules)
    files = [f.path for f in live_files(lake, "interactions") if f.date in days.read]
    return _MADE_OF_INTERACTIONS[table](read_rows(session, files, INTERACTION_SCHEMA))


def _whole_dialogues(session: SparkSession, plan: Plan, days: Days) -> tuple[DataFrame, DataFrame]:
    """Return the turns and predictions of the days to make, and what belongs to them."""

    def read(source: str, dates: Collection[str]) -> DataFrame:
        paths = [f.path for f in plan.files(source, dates)]
        return read_rows(session, paths, EVENT_SCHEMA)

    turns, predictions = read("turns", days.remake), read("predictions", days.remake)
    company = days.read - days.remake
    if not company:
        return turns, predictions
    names = ["tenant", "dialogue_id"]
    wanted = turns.select(*names).unionByName(predictions.select(*names)).distinct()
    around = []
    for source in ("turns", "predictions"):
        others = read(source, company)
        # Which turns without a dialogue belong to a session is known only later.
        around.append(
            others.join(wanted, names, "leftsemi").unionByName(others.where("dialogue_id IS NULL"))
        )
    return turns.unionByName(around[0]), predictions.unionByName(around[1])


def _write(frame: DataFrame, table: str, days: Days, staged: Path) -> None:
    from pyspark.sql import functions as f

    if table in _DATED_BY:
        frame = frame.withColumn("date", f.to_date(_DATED_BY[table]).cast("string"))
    else:  # few rows: one file a day
        frame = frame.repartition("date")
    if days.read != days.remake:
        frame = frame.where(f.col("date").isin(*sorted(days.remake)))
    frame.write.partitionBy("date").parquet(str(staged))


def _tasks(session: SparkSession, plan: Plan, days: Days) -> int:
    """Return into how many tasks a shuffle goes: by the bytes, a whole number of rounds."""
    cores = session.sparkContext.defaultParallelism
    size = sum(f.size_bytes for s in ("turns", "predictions") for f in plan.files(s, days.read))
    return cores * max(1, math.ceil(size / _TASK_BYTES / cores))


@contextmanager
def _alone(lake: Lake) -> Iterator[None]:
    """Hold the lake's lock, and sweep away what a run that died has left."""
    if "://" in lake.url:
        raise InputError(
            f"The ETL cannot write its files into {lake.url}.",
            remedy="Set CLOSEDLOOP_LAKE to a folder that every node shares.",
        )
    staging = Path(lake.url, _STAGING)
    staging.parent.mkdir(parents=True, exist_ok=True)
    with Path(lake.url, f"{_STAGING}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(
                f"Another ETL run works on the lake {lake.url}.",
                remedy="Wait for it to end; a run that was killed holds no lock.",
            ) from None
        shutil.rmtree(staging, ignore_errors=True)
        yield

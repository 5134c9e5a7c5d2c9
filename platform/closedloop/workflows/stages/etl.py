"""Stage: Spark turns the lake's turns into distinct samples with topics."""

from __future__ import annotations

from closedloop.core.errors import TooFewLabels
from closedloop.data.jobs.samples import SAMPLES_SCHEMA, distinct_samples, read_events
from closedloop.data.jobs.topics import with_topics
from closedloop.data.spark import collect, spark_session
from closedloop.workflows.context import LoopContext, StageProgress
from closedloop.workflows.records import StageOutcome

_TOPICS = 20
_MIN_SAMPLES = 20


def etl(context: LoopContext, outcome: StageOutcome, progress: StageProgress) -> None:
    """Run the sample and topic jobs on the engine of this run."""
    engines, engine = context.engines, context.parameters.engine
    tenant = context.parameters.model.tenant
    version = engines.lake.version("turns")
    files = engines.lake.files("turns", version=version)
    log_file = engines.settings.root / "logs" / "spark.log"
    with spark_session(engine, log_file=log_file) as session:
        progress(1, 3)
        turns = read_events(session, files).where(f"tenant = '{tenant}'")
        samples = distinct_samples(turns).cache()
        count = samples.count()
        if count < _MIN_SAMPLES:
            raise TooFewLabels(
                f"The logs of {tenant!r} hold {count} distinct texts, too few to learn from.",
                remedy=f"Load logs with at least {_MIN_SAMPLES} different texts.",
            )
        progress(2, 3)
        topics = min(_TOPICS, count // 4)
        table = collect(with_topics(samples, topics=topics), engine, SAMPLES_SCHEMA)
        progress(3, 3)
    context.state.samples = table
    languages = table["language"].value_counts().to_pylist()
    outcome.rows = table.num_rows
    outcome.details = {
        "engine": engine.value,
        "lake version": version,
        "topics": topics,
        "languages": ", ".join(sorted(f"{c['values']} {c['counts']}" for c in languages)),
    }

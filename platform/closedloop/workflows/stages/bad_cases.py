"""Stages: replay traffic, collect what users disliked and attribute it to a model version."""

from __future__ import annotations

import pyarrow.compute as pc

from closedloop.core.errors import NotFound
from closedloop.data.drain import drain_to_lake
from closedloop.data.jobs.bad_cases import BAD_CASES_SCHEMA
from closedloop.data.jobs.bad_cases import bad_cases as find_bad_cases
from closedloop.data.jobs.samples import SAMPLES_SCHEMA, distinct_samples, read_events
from closedloop.data.spark import collect, spark_session
from closedloop.workflows.context import (
    EVALUATION_CHANNEL,
    LoopContext,
    StageProgress,
    masked_truth,
)
from closedloop.workflows.records import StageOutcome
from closedloop.workflows.stages.evaluate import load_champion


def replay(context: LoopContext, outcome: StageOutcome, progress: StageProgress) -> None:
    """Send the run's traffic to the served model over HTTP, with its users' feedback."""
    traffic = context.state.traffic
    if traffic is None:
        outcome.details = {"skipped": "no traffic was given (--replay FILE): real feedback serves"}
        return
    report = context.engines.serving.replay(
        context.parameters.model, traffic, seed=context.parameters.seed, progress=progress
    )
    outcome.rows = report.requests
    outcome.details = {
        "users": "simulated",
        "failed requests": report.failed,
        "thumbs up": report.liked,
        "thumbs down": report.disliked,
        "answered by versions": list(report.versions),
    }


def collect_bad_cases(context: LoopContext, outcome: StageOutcome, progress: StageProgress) -> None:
    """Join feedback to predictions in Spark and keep the cases of the champion.

    Raises
    ------
    NotFound
        Nobody has disliked an answer of this champion.
    """
    engines, state, ref = context.engines, context.state, context.parameters.model
    drain_to_lake(engines.log, engines.lake)
    load_champion(context)
    if state.champion is None:
        raise NotFound(
            f"{ref} has no champion to repair.",
            remedy="Run 'closedloop run cold-start' for it first.",
        )
    progress(1, 3)
    engine = context.parameters.engine
    log_file = engines.settings.root / "logs" / "spark.log"
    with spark_session(engine, log_file=log_file) as session:
        predictions = read_events(session, engines.lake.files("predictions"))
        feedback = read_events(session, engines.lake.files("feedback"))
        cases = collect(find_bad_cases(predictions, feedback), engine, BAD_CASES_SCHEMA)
        progress(2, 3)
        turns = read_events(session, engines.lake.files("turns"))
        known = distinct_samples(turns.where(turns.tenant == ref.tenant))
        state.samples = collect(
            known.drop("tokens").selectExpr("*", "CAST(0 AS INT) AS topic"), engine, SAMPLES_SCHEMA
        )
    progress(3, 3)
    ours = pc.and_(
        pc.equal(cases["model"], str(ref)),
        pc.equal(cases["model_version"], state.champion_version),
    )
    state.bad_cases = cases.filter(ours)
    state.asked = _asked(context)
    affected = {(row["model"], row["model_version"]) for row in cases.to_pylist()}
    outcome.rows = state.bad_cases.num_rows
    outcome.details = {
        "engine": engine.value,
        "attributed to": f"{ref} version {state.champion_version}",
        "affected versions in all": len(affected),
    }
    state.figures["bad_cases"] = state.bad_cases.num_rows
    if not state.bad_cases.num_rows:
        raise NotFound(
            f"Nobody has disliked an answer of {ref} version {state.champion_version}.",
            remedy="There is nothing to repair. Wait for feedback, or give --replay FILE.",
        )


def _asked(context: LoopContext) -> dict[str, str | None]:
    """Return what users asked the champion and which of its answers they disliked."""
    state = context.state
    columns = ["text", "model", "model_version", "channel"]
    answered = context.engines.lake.read("predictions", columns=columns)
    by_champion = pc.and_(
        pc.equal(answered["model"], str(context.parameters.model)),
        pc.equal(answered["model_version"], state.champion_version),
    )
    measuring = pc.fill_null(pc.equal(answered["channel"], EVALUATION_CHANNEL), False)
    texts = answered.filter(pc.and_(by_champion, pc.invert(measuring)))["text"].to_pylist()
    disliked = dict(
        zip(*(state.bad_cases[c].to_pylist() for c in ("text", "prediction")), strict=True)
    )
    return {text: disliked.get(text) for text in texts}


def verify_bad_cases(context: LoopContext, outcome: StageOutcome, progress: StageProgress) -> None:
    """Ask the new version the bad cases again and count those that it answers differently."""
    cases = context.state.bad_cases
    texts = cases["text"].to_pylist()
    answers: list[str] = []
    for start in range(0, len(texts), 200):
        answers += context.engines.serving.predict(
            context.parameters.model, texts[start : start + 200]
        )
        progress(len(answers), len(texts))
    before = cases["prediction"].to_pylist()
    changed = sum(a != b for a, b in zip(answers, before, strict=True))
    outcome.rows = len(texts)
    outcome.details = {"answered differently now": changed}
    traffic = context.state.traffic
    if traffic is not None:
        truth = masked_truth(traffic)
        fixed = sum(truth.get(t) == a for t, a in zip(texts, answers, strict=True))
        outcome.details["fixed"] = fixed
        context.state.figures["bad_cases_fixed"] = fixed

"""Stage: choose what is worth labelling, have it labelled through the queue, keep the labels.

A cold start asks in waves. The first holds the evaluation split (a uniform sample, never
trained on) and typical rows of every cluster; each later one holds what a model of the labels
so far is least sure of, again from every cluster. A repair asks once, for the bad cases.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from closedloop.core.errors import NotFound
from closedloop.data.lake import LABEL_SCHEMA
from closedloop.models.text_classifier import TextClassifier
from closedloop.models.training_set import GOLD_SHARE, choose_gold
from closedloop.samples.annotation_task import LabelledSample, NewTask
from closedloop.samples.cluster import cluster_texts
from closedloop.samples.selection import Selected, select_informative, select_seeds
from closedloop.workflows.context import LoopContext, StageProgress
from closedloop.workflows.records import StageOutcome

_MIN_GOLD_ROWS = 25  # fewer decide nothing
_MAX_GOLD_SHARE = 0.4
_SEED_SHARE = 0.4  # of the labels that are not the evaluation split's
_WAVE_SHARE = 0.2
_NEIGHBOURS = 3
_MIN_CLASSES = 2


def annotate(context: LoopContext, outcome: StageOutcome, progress: StageProgress) -> None:
    """Have the samples of a cold start labelled, in waves."""
    state, parameters = context.state, context.parameters
    texts = state.samples["text"].to_pylist()
    budget = min(parameters.labels or len(texts), len(texts))
    share = min(_MAX_GOLD_SHARE, max(GOLD_SHARE, _MIN_GOLD_ROWS / budget))
    gold = choose_gold(texts, labels_budget=budget, share=share, salt=str(parameters.model))
    asked: set[int] = set()
    waves = 0
    for wave in _waves(context, budget, gold):
        waves += 1
        tasks = [_task(context, row) for row in wave if row.row not in asked]
        _ask(context, tasks, _from(len(asked), progress, budget))
        asked.update(row.row for row in wave)
    ids = state.samples["sample_id"].to_pylist()
    labels = _keep(context, gold_ids={ids[row] for row in gold})
    outcome.rows = len(asked)
    outcome.details = {"labels": labels, "evaluation split": len(gold), "waves": waves} | _who(
        context
    )


def annotate_bad_cases(
    context: LoopContext, outcome: StageOutcome, progress: StageProgress
) -> None:
    """Have a spread of the bad cases labelled."""
    state, parameters = context.state, context.parameters
    cases = state.bad_cases
    texts = cases["text"].to_pylist()
    champion = state.champion
    if champion is None or not texts:
        raise NotFound(
            f"{parameters.model} has no bad cases to label.",
            remedy="Wait for feedback, or replay traffic with --replay FILE.",
        )
    vectors = champion.vectoriser.transform(texts).dense()
    clustering = cluster_texts(vectors, seed=parameters.seed)
    chosen = select_informative(
        vectors,
        clustering,
        champion.probabilities(texts),
        count=parameters.repair_labels,
        seed=parameters.seed,
    )
    rows = cases.to_pylist()
    tasks = [
        NewTask(
            sample_id=rows[pick.row]["sample_id"],
            text=rows[pick.row]["text"],
            reason=f"users disliked this answer {rows[pick.row]['dislikes']} times"
            if rows[pick.row]["dislikes"] > 1
            else "a user disliked this answer",
            suggestion=rows[pick.row]["prediction"],
            priority=pick.score,
            details={
                "disliked answer": rows[pick.row]["prediction"],
                "model_version": rows[pick.row]["model_version"],
            },
        )
        for pick in chosen
    ]
    _ask(context, tasks, lambda done: progress(done, len(tasks)))
    labels = _keep(context, gold_ids=set())
    outcome.rows = len(tasks)
    outcome.details = {"bad cases": len(texts), "labels": labels} | _who(context)


def _waves(context: LoopContext, budget: int, gold: list[int]) -> Iterator[list[Selected]]:
    """Yield the rows to label, wave by wave; each wave may look at the labels before it."""
    state, seed = context.state, context.parameters.seed
    assert state.views is not None
    assert state.clustering is not None
    vectors, clustering = state.views.dense(), state.clustering
    first = [
        Selected(
            row=row, cluster=int(clustering.labels[row]), score=1.0, reason="evaluation sample"
        )
        for row in gold
    ]
    left = budget - len(gold)
    everything = budget >= len(vectors)
    seeds = left if everything else round(left * _SEED_SHARE)
    picked = select_seeds(vectors, clustering, count=seeds, exclude=gold, seed=seed)
    yield first + picked
    taken = {row.row for row in first + picked}
    while (missing := budget - len(taken)) > 0:
        size = min(missing, max(1, round(left * _WAVE_SHARE)))
        probabilities = _unsure(context, gold=set(gold))
        if probabilities is None:
            wave = select_seeds(
                vectors, clustering, count=size, exclude=taken, seed=seed + len(taken)
            )
        else:
            wave = select_informative(
                vectors, clustering, probabilities, count=size, exclude=taken, seed=seed
            )
        if not wave:
            return
        yield wave
        taken.update(row.row for row in wave)


def _unsure(context: LoopContext, *, gold: set[int]) -> np.ndarray | None:
    """Return class probabilities of every sample by a model of the labels so far but gold."""
    state = context.state
    assert state.views is not None
    place = {id_: row for row, id_ in enumerate(state.samples["sample_id"].to_pylist())}
    known = [
        (place[sample.sample_id], sample.label)
        for sample in context.engines.queue.labelled(str(context.parameters.model))
        if sample.sample_id in place and place[sample.sample_id] not in gold
    ]
    if len({label for _, label in known}) < _MIN_CLASSES:
        return None
    model = TextClassifier(seed=context.parameters.seed)
    model.fit_views(state.views.rows([row for row, _ in known]), [label for _, label in known])
    return model.probabilities_of(state.views)


def _task(context: LoopContext, pick: Selected) -> NewTask:
    state = context.state
    assert state.clustering is not None
    sample = state.samples.slice(pick.row, 1).to_pylist()[0]
    near = [
        state.samples["text"][row].as_py()
        for row in state.clustering.representatives[pick.cluster]
        if row != pick.row
    ]
    return NewTask(
        sample_id=sample["sample_id"],
        text=sample["text"],
        reason=pick.reason,
        priority=pick.score,
        details={
            "cluster": pick.cluster,
            "keywords": list(state.keywords[pick.cluster][:5]),
            "neighbours": near[:_NEIGHBOURS],
            "language": sample["language"],
            "asked": sample["asked"],
        },
    )


def _ask(context: LoopContext, tasks: list[NewTask], progress: Callable[[int], None]) -> None:
    queue, name = context.engines.queue, str(context.parameters.model)
    queue.enqueue(name, tasks, votes_needed=context.parameters.votes)
    context.engines.annotators.work(
        queue, name, progress=lambda votes: progress(votes // context.parameters.votes)
    )


def _from(base: int, progress: StageProgress, total: int) -> Callable[[int], None]:
    return lambda done: progress(base + done, total)


def _keep(context: LoopContext, *, gold_ids: set[str]) -> int:
    """Write finished labels that the lake lacks to it; returns how many there are in all."""
    lake, model = context.engines.lake, str(context.parameters.model)
    finished = context.engines.queue.labelled(model)
    kept = lake.read("labels", columns=["sample_id", "model"])
    known = set(kept.filter(pc.equal(kept["model"], model))["sample_id"].to_pylist())
    fresh = [sample for sample in finished if sample.sample_id not in known]
    if fresh:
        lake.append("labels", _label_table(context, fresh, gold_ids))
    context.state.labels_version = lake.version("labels")
    return len(finished)


def _label_table(
    context: LoopContext, samples: Iterable[LabelledSample], gold_ids: set[str]
) -> pa.Table:
    now = datetime.now(UTC)
    return pa.Table.from_pylist(
        [
            {
                "sample_id": sample.sample_id,
                "ts": now,
                "model": str(context.parameters.model),
                "text": sample.text,
                "label": sample.label,
                "votes": sample.votes,
                "agreement": sample.agreement,
                "simulated": sample.simulated,
                "split": "gold" if sample.sample_id in gold_ids else "train",
                "run_id": context.run_id,
            }
            for sample in samples
        ],
        schema=LABEL_SCHEMA,
    )


def _who(context: LoopContext) -> dict[str, str]:
    return {"annotators": "simulated"} if context.engines.simulated_annotators else {}

"""From a slice to the annotation queue in one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from closedloop.core.errors import InputError
from closedloop.data.cube.cube import Cube
from closedloop.data.cube.filters import And, Filter, In
from closedloop.data.lake import Lake
from closedloop.samples.annotation import AnnotationQueue
from closedloop.samples.annotation_task import NewTask
from closedloop.samples.slice_sample import WEIGHT, Pool, Sampling, Weight, folded_text

_REASON_CHARS = 300
_COLUMNS = (
    *("event_id", "ts", "text", "dialogue_id", "language", "channel", "model", "model_version"),
    *("intent", "confidence", "feedback", "rephrased", "handover", "abandoned", "low_confidence"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """What came of sending a slice."""

    sent: int  # new tasks
    known: int  # distinct texts that are labelled or queued for this model already
    turns: int  # of the model's tenant that the slice selects


def send_slice(
    cube: Cube,
    lake: Lake,
    queue: AnnotationQueue,
    *,
    name: str,
    where: Filter,
    model: str,
    sampling: Sampling,
    votes_needed: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Sent:
    """Draw distinct texts from a slice and queue them for labelling.

    Only turns of the model's own tenant are drawn: what one tenant's users say never reaches
    another's model. One day is read at a time, and only the columns that tasks need.

    Parameters
    ----------
    name : str
        Of the slice; tasks name it as their reason.
    where : Filter
        What the slice selects.
    model : str
        Reference of the model that the labels are for, ``tenant.algorithm.name``.
    progress : callable, optional
        Told how many days of how many are read.

    Returns
    -------
    Sent

    Raises
    ------
    InputError
        The slice or the sampling names a field that there is none of, or one with too many
        values to stratify by.

    Examples
    --------
    >>> send_slice(cube, lake, queue, name="zh refunds", where=refunds,       # doctest: +SKIP
    ...            model="shop.intent.main", sampling=Sampling(count=200))
    Sent(sent=200, known=13, turns=10482)
    """
    if sampling.by and sampling.by not in cube.declaration.names:
        raise InputError(
            f"The cube has no dimension {sampling.by!r} to stratify by.",
            remedy=f"It has {', '.join(cube.declaration.names)}.",
        )
    tenant, _, _ = model.partition(".")
    ours = And(all_of=(In(field="tenant", values=(tenant,)), where))
    pool = Pool(sampling, known=known_texts(lake, queue, model))
    columns = list(dict.fromkeys((*_COLUMNS, *([sampling.by] if sampling.by else []))))
    days = cube.days
    for place, day in enumerate(days):
        progress(place, len(days))
        rows = cube.lazy_interactions(And(all_of=(In(field="day", values=(day,)), ours)))
        pool.take_in(rows.select(columns))
    progress(len(days), len(days))
    tasks = [_task(row, name, model, sampling) for row in pool.drawn()]
    sent = queue.enqueue(model, tasks, votes_needed=votes_needed)
    return Sent(sent=sent, known=pool.known, turns=pool.turns)


def known_texts(lake: Lake, queue: AnnotationQueue, model: str) -> list[str]:
    """Return the folded texts that this model has labels or tasks for."""
    labels = lake.read("labels", columns=["model", "text"])
    labelled = labels.filter(pc.equal(labels["model"], model))["text"]
    texts = pl.Series("text", pa.array([*labelled.to_pylist(), *queue.texts(model)], pa.string()))
    return pl.DataFrame({"text": texts}).select(folded_text()).to_series().to_list()


def _task(row: Mapping[str, Any], name: str, model: str, sampling: Sampling) -> NewTask:
    answered = row["intent"] if row["model"] == model else None
    details = {
        "slice": name,
        "asked_at": row["ts"].isoformat(),
        **{
            field: row[field]
            for field in ("dialogue_id", "language", "channel", "model_version", "confidence")
            if row[field] is not None
        },
    }
    if row["intent"] is not None and answered is None:
        details |= {"answered_by": row["model"], "its_answer": row["intent"]}
    if answered is not None and row["feedback"] == "down":
        details["disliked answer"] = answered
    weighted = sampling.weight in (Weight.UNSURE, Weight.BAD)
    return NewTask(
        sample_id=row["event_id"],
        text=row["text"],
        reason=_reason(row, name, sampling),
        suggestion=answered,
        priority=float(row[WEIGHT]) if weighted else 0.5,
        details=details,
    )


def _reason(row: Mapping[str, Any], name: str, sampling: Sampling) -> str:
    parts = [f"slice “{name}”", sampling.label]
    if sampling.weight is Weight.UNSURE and row["confidence"] is not None:
        parts.append(f"confidence {row['confidence']:.2f}")
    if sampling.by:
        value = row[sampling.by]
        parts.append(f"{sampling.by} {'(empty)' if value is None else value}")
    text = ", ".join(parts)
    return text if len(text) <= _REASON_CHARS else text[: _REASON_CHARS - 1] + "…"

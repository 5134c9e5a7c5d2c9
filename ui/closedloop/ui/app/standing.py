"""Where the loop stands: one figure for each of its stations, from runs and counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from closedloop.core import schema
from closedloop.core.store import Store
from closedloop.samples.annotation_task import QueueCounts
from closedloop.workflows.records import RunRecord, StageRecord

# Which station a stage's name belongs to; the first word found in the name decides.
_STATION_OF = {
    "ingest": "logs",
    "etl": "lake",
    "spark": "lake",
    "lake": "lake",
    "sample": "samples",
    "cluster": "samples",
    "vector": "samples",
    "annot": "labels",
    "label": "labels",
    "train": "model",
    "tun": "model",
    "eval": "model",
    "release": "serving",
    "serv": "serving",
    "replay": "bad_cases",
    "bad": "bad_cases",
    "feedback": "bad_cases",
    "repair": "repair",
    "accuracy": "model",
}
_BAD_CASES = "bad_cases"
_MAX_LISTED = 6
_MAX_DETAIL_CHARS = 160
_SECRET_PARAMS = ("key", "token", "password")


@dataclass(frozen=True, kw_only=True, slots=True)
class Station:
    """One station of the loop with its live figure."""

    key: str
    title: str
    figure: str  # what stands on it, '–' while nothing does
    unit: str
    state: str = "idle"  # idle, running, failed


@dataclass(frozen=True, kw_only=True, slots=True)
class VoteCounts:
    """How many labels were given, and how many of them by simulated annotators."""

    total: int
    simulated: int


def count_votes(store: Store) -> VoteCounts:
    """Count the labels in the store; skips are none."""
    simulated = sa.func.sum(sa.case((schema.vote.c.simulated, 1), else_=0))
    query = sa.select(sa.func.count(), simulated).where(schema.vote.c.label.is_not(None))
    with store.read() as connection:
        total, by_simulation = connection.execute(query).one()
    return VoteCounts(total=total, simulated=by_simulation or 0)


def stations(
    runs: Sequence[RunRecord],
    *,
    events: int,
    lake_rows: int,
    queues: Mapping[str, QueueCounts],
    votes: VoteCounts,
    models: int,
) -> list[Station]:
    """Return the stations in the loop's order.

    Parameters
    ----------
    runs : sequence of RunRecord
        The last runs, newest first.
    events, lake_rows, models : int
        Events in the log, turns in the lake, models with a champion.
    """
    tasks = sum(counts.total for counts in queues.values())
    waiting = sum(counts.open for counts in queues.values())
    repairs = [run for run in runs if run.workflow == "repair"]
    accuracy = next((value for run in runs if (value := accuracy_after(run)) is not None), None)
    busy = _busy_stations(runs)
    figures = {
        "logs": ("Logs", _amount(events), "events"),
        "lake": ("Lake", _amount(lake_rows), "turns"),
        "samples": ("Samples", _amount(tasks), f"tasks, {waiting:,} open"),
        "labels": ("Labels", _amount(votes.total), _simulated_note(votes)),
        "model": ("Model", "–" if accuracy is None else f"{accuracy:.1%}", "held-out accuracy"),
        "serving": ("Serving", _amount(models), "model" if models == 1 else "models"),
        "bad_cases": ("Bad cases", _amount(_bad_cases(runs)), "from feedback"),
        "repair": ("Repair", _amount(sum(run.state == "done" for run in repairs)), "rounds done"),
    }
    return [
        Station(key=key, title=title, figure=figure, unit=unit, state=busy.get(key, "idle"))
        for key, (title, figure, unit) in figures.items()
    ]


def is_simulated(run: RunRecord) -> bool:
    """Tell whether simulated annotators labelled for this run."""
    return any(
        "simul" in name and value for name, value in [*run.params.items(), *run.summary.items()]
    )


def accuracy_before(run: RunRecord) -> float | None:
    """Return the champion's held-out accuracy before the run, where there was one."""
    return _number(run.summary, "accuracy_before")


def accuracy_after(run: RunRecord) -> float | None:
    """Return the held-out accuracy that the run reached."""
    return _number(run.summary, "accuracy_after", "accuracy_after_repair", "accuracy")


def details_line(details: Mapping[str, Any]) -> str:
    """Return a stage's details as one line of figures and short texts.

    Examples
    --------
    >>> details_line({"clusters": 40, "best_score": 0.81234, "versions": [1, 2]})
    'clusters 40 · best score 0.812 · versions 1, 2'
    """
    return " · ".join(
        f"{name.replace('_', ' ')} {_shown(value)}" for name, value in details.items()
    )


def params_line(params: Mapping[str, Any]) -> str:
    """Return a run's parameters as one line; what could be a secret is left out."""
    open_ones = {
        name: value
        for name, value in params.items()
        if value not in (None, "", False, [], {})
        and not any(word in name.lower() for word in _SECRET_PARAMS)
    }
    return details_line(open_ones)


def last_stage(runs: Sequence[RunRecord], station: str) -> StageRecord | None:
    """Return the newest stage that belongs to a station."""
    return next((stage for key, stage in _stages(runs) if key == station), None)


def _stages(runs: Sequence[RunRecord]) -> Iterator[tuple[str, StageRecord]]:
    for run in runs:
        for stage in reversed(run.stages):
            yield station_of(stage.name), stage


def station_of(stage_name: str) -> str:
    """Return the key of the station that a stage works at; empty for none."""
    name = stage_name.lower().replace(" ", "_")
    return next((station for word, station in _STATION_OF.items() if word in name), "")


def _busy_stations(runs: Sequence[RunRecord]) -> dict[str, str]:
    if not runs:
        return {}
    newest, *_ = runs
    states = {station_of(stage.name): stage.state for stage in newest.stages}
    return {key: state for key, state in states.items() if state in ("running", "failed")}


def _bad_cases(runs: Sequence[RunRecord]) -> int:
    found = 0
    for run in runs:
        in_summary = _number(run.summary, _BAD_CASES)
        in_stages = [
            _number(stage.details, _BAD_CASES, "found")
            for stage in run.stages
            if station_of(stage.name) == _BAD_CASES
        ]
        known = [value for value in [in_summary, *in_stages] if value is not None]
        found += int(known[0]) if known else 0
    return found


def _number(values: Mapping[str, Any], *names: str) -> float | None:
    for name in names:
        value = values.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    return None


def _simulated_note(votes: VoteCounts) -> str:
    if not votes.simulated:
        return "given by people"
    if votes.simulated == votes.total:
        return "all by simulation"
    return f"{votes.simulated:,} by simulation"


def _amount(count: int) -> str:
    if not count:
        return "–"
    return f"{count:,}" if count < 1_000_000 else f"{count / 1e6:,.1f} M"


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, list | tuple | dict) and len(value) > _MAX_LISTED:
        return f"{len(value):,} of them"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    text = str(value)
    return text if len(text) <= _MAX_DETAIL_CHARS else text[: _MAX_DETAIL_CHARS - 1] + "…"

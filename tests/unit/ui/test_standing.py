from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from closedloop.core.store import Store
from closedloop.samples.annotation import AnnotationQueue
from closedloop.samples.annotation_task import NewTask, QueueCounts
from closedloop.ui.app.loop_picture import loop_picture
from closedloop.ui.app.standing import (
    Station,
    VoteCounts,
    accuracy_after,
    accuracy_before,
    count_votes,
    details_line,
    is_simulated,
    last_stage,
    params_line,
    station_of,
    stations,
)
from closedloop.workflows.records import RunRecord, StageRecord
from closedloop.workflows.runner import load_template

NOTHING: dict[str, Any] = {
    "events": 0,
    "lake_rows": 0,
    "queues": {},
    "votes": VoteCounts(total=0, simulated=0),
    "models": 0,
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(f"sqlite:///{tmp_path / 'store.db'}")
    yield opened
    opened.close()


def run(workflow: str = "repair", state: str = "done", **more: Any) -> RunRecord:
    fields: dict[str, Any] = {
        "id": "r1",
        "model": "demo.svm.intent",
        "params": {},
        "error": None,
        "summary": {},
        "started_at": 0.0,
        "ended_at": 1.0,
    }
    return RunRecord(workflow=workflow, state=state, **(fields | more))


def stage(name: str, state: str = "done", **details: Any) -> StageRecord:
    return StageRecord(
        name=name, state=state, rows=3, details=details, started_at=0.0, ended_at=None
    )


def by_key(found: list[Station]) -> dict[str, Station]:
    return {station.key: station for station in found}


def test_an_empty_platform_has_no_figures() -> None:
    found = stations([], **NOTHING)
    assert [station.figure for station in found] == ["–"] * 8
    assert {station.state for station in found} == {"idle"}


def test_each_station_has_its_figure() -> None:
    found = by_key(
        stations(
            [
                run(summary={"accuracy_before": 0.8, "accuracy": 0.911, "bad_cases": 312}),
                run("cold-start", summary={"accuracy": 0.8}),
            ],
            events=2_500_000,
            lake_rows=5_988,
            queues={"a": QueueCounts(open=2, done=8), "b": QueueCounts(done=5)},
            votes=VoteCounts(total=1_000, simulated=900),
            models=1,
        )
    )
    assert {key: (station.figure, station.unit) for key, station in found.items()} == {
        "logs": ("2.5 M", "events"),
        "lake": ("5,988", "turns"),
        "samples": ("15", "tasks, 2 open"),
        "labels": ("1,000", "900 by simulation"),
        "model": ("91.1%", "held-out accuracy"),
        "serving": ("1", "model"),
        "bad_cases": ("312", "from feedback"),
        "repair": ("1", "rounds done"),
    }


def test_labels_say_whether_people_or_a_simulation_gave_them() -> None:
    notes = [
        by_key(stations([], **NOTHING | {"votes": VoteCounts(total=5, simulated=n)}))["labels"].unit
        for n in (0, 5)
    ]
    assert notes == ["given by people", "all by simulation"]


@pytest.mark.parametrize("state", ["running", "failed"])
def test_the_newest_run_lights_its_station(state: str) -> None:
    newest = run(state=state, stages=(stage("replay traffic"), stage("train", state)))
    older = run("cold-start", state="failed", stages=(stage("ingest", "failed"),))
    found = by_key(stations([newest, older], **NOTHING))
    assert {key for key, station in found.items() if station.state == state} == {"model"}
    assert {station.state for station in found.values()} == {"idle", state}


@pytest.mark.parametrize("workflow", ["cold-start", "repair"])
def test_every_stage_of_the_workflows_belongs_to_a_station(workflow: str) -> None:
    known = {station.key for station in stations([], **NOTHING)}
    for name, _ in load_template(workflow).stages:
        assert station_of(name) in known, name


def test_the_last_stage_of_a_station_is_the_newest() -> None:
    old = run("cold-start", stages=(stage("spark etl", "failed"),))
    assert last_stage([run(stages=(stage("train"),)), old], "lake") is old.stages[0]
    assert last_stage([], "lake") is None


def test_accuracy_is_read_where_a_run_has_it() -> None:
    assert accuracy_after(run(summary={"accuracy": 0.9})) == 0.9
    assert accuracy_after(run(summary={"accuracy": None, "version": 2})) is None
    assert accuracy_before(run(summary={"accuracy": 0.9})) is None


def test_a_simulation_is_recognised_by_its_parameters() -> None:
    assert is_simulated(run(params={"simulated_annotators": True}))
    assert not is_simulated(run(params={"simulated_annotators": False}))


def test_parameters_that_could_be_secrets_are_not_shown() -> None:
    assert (
        params_line({"api_key": "cl_1", "Password": "x", "seed": 7, "clusters": None}) == "seed 7"
    )


def test_details_are_short_and_whole() -> None:
    line = details_line(
        {"versions": [1, 2], "many": list(range(50)), "long": "x" * 300, "ok": True, "n": 12345}
    )
    assert line.startswith("versions 1, 2 · many 50 of them · long xxx")
    assert line.endswith("… · ok yes · n 12,345")
    assert len(line) < 240


def test_votes_are_counted_without_skips(store: Store) -> None:
    queue = AnnotationQueue(store)
    assert count_votes(store) == VoteCounts(total=0, simulated=0)
    queue.enqueue("q", [NewTask(sample_id=f"s{n}", text="x") for n in range(3)])
    first, second, third = queue.lease("ann", limit=3)
    queue.submit([(first.token, "a")], simulated=True)
    queue.submit([(second.token, "a")])
    queue.skip(third.token)
    assert count_votes(store) == VoteCounts(total=2, simulated=1)


def test_the_picture_shows_every_station_and_escapes_its_text() -> None:
    eight = [
        Station(key=f"k{n}", title=f"<b>{n}", figure="1", unit="x", state="running")
        for n in range(8)
    ]
    picture = loop_picture(eight)
    assert picture.count("data-station=") == 8
    assert "<b>" not in picture
    assert picture.count('class="running"') == 8
    with pytest.raises(ValueError, match="zip"):
        loop_picture(eight[:7])

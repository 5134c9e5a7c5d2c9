"""The incremental ETL: whatever comes in whatever order, it ends where a full rebuild does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from closedloop.core.errors import Conflict, InputError, NotFound
from closedloop.data.etl import run_etl, update
from closedloop.data.etl_plan import OUTPUTS
from closedloop.data.event import Event, Kind, derived_event_id, to_table
from closedloop.data.jobs.signals import SignalRules
from closedloop.data.lake import Lake
from closedloop.data.spark import Engine, spark_session

pytestmark = pytest.mark.spark
MIDNIGHT = datetime(2026, 1, 2, tzinfo=UTC)
TABLE_OF = {Kind.TURN: "turns", Kind.PREDICTION: "predictions", Kind.FEEDBACK: "feedback"}


@pytest.fixture(scope="module")
def session():
    with spark_session(Engine.LOCAL) as session:
        yield session


def event(minute, number, kind=Kind.PREDICTION, **values):
    ts = MIDNIGHT + timedelta(minutes=minute)
    answer = (
        {"model": "a.intent.main", "model_version": 1, "prediction": "track", "confidence": 0.4}
        if kind is Kind.PREDICTION
        else {}
    )
    return Event(
        event_id=derived_event_id(ts, kind.value, str(number)),
        ts=ts,
        tenant="a",
        kind=kind,
        **answer,
        **values,
    )


def append(lake, events):
    for kind, table in TABLE_OF.items():
        rows = [e for e in events if e.kind is kind]
        if rows:
            lake.append(table, to_table(rows))


def tables(lake):
    """Every row of every table, in an order that does not depend on files."""
    return {name: sorted(map(repr, lake.read(name).to_pylist())) for name in OUTPUTS}


def versions(lake):
    return {name: lake.version(name) for name in OUTPUTS}


@st.composite
def batches(draw):
    """Events of three days and a few dialogues, in batches that know no order."""
    events = []
    for number in range(draw(st.integers(1, 14))):
        events.append(
            event(
                draw(st.integers(-1500, 1500)),
                number,
                draw(st.sampled_from([Kind.TURN, Kind.PREDICTION])),
                dialogue_id=draw(st.sampled_from(["d1", "d2", None])),
                turn=draw(st.sampled_from([None, 1, 2])),
                user_id=draw(st.sampled_from(["u1", None])),
                text=draw(st.sampled_from(["where is it", "so where is it", "转人工", "thanks"])),
            )
        )
    rated = [e.event_id for e in events if e.kind is Kind.PREDICTION] + ["unknown"]
    for number in range(draw(st.integers(0, 5))):
        refers_to = draw(st.sampled_from(rated))
        thumb = draw(st.sampled_from(["up", "down"]))
        minute = draw(st.integers(-1500, 9000))
        events.append(event(minute, number, Kind.FEEDBACK, refers_to=refers_to, feedback=thumb))
    places = st.integers(0, 2)
    split: list[list[Event]] = [[], [], []]
    for one in events:
        split[draw(places)].append(one)
    return [batch for batch in split if any(e.kind is not Kind.FEEDBACK for e in batch)] or [events]


@settings(max_examples=4, suppress_health_check=list(HealthCheck))
@given(batches())
def test_an_incremental_result_equals_a_full_rebuild(session, tmp_path_factory, batches):
    folder = tmp_path_factory.mktemp("equal")
    lake, whole = Lake(str(folder / "incremental")), Lake(str(folder / "whole"))
    for batch in batches:
        append(lake, batch)
        update(session, lake)
    append(whole, [e for batch in batches for e in batch])
    update(session, whole)
    assert tables(lake) == tables(whole)


@pytest.fixture
def lake(session, tmp_path):
    """A lake with one dialogue on each of three days, all made."""
    lake = Lake(str(tmp_path / "有 lake"))
    days = [
        event(day * 1440 + 60, day, dialogue_id=f"d{day}", turn=1, text=f"question {day}")
        for day in (-1, 0, 1)
    ]
    append(lake, days)
    update(session, lake)
    return lake


def test_a_run_with_nothing_new_commits_nothing(session, lake):
    before = versions(lake)
    report = update(session, lake)
    assert (report.days, report.rows) == ((), {})
    assert versions(lake) == before


def test_late_feedback_corrects_the_day_of_its_prediction_only(session, lake):
    rated = event(60 - 1440, -1).event_id
    append(lake, [event(6 * 1440, 0, Kind.FEEDBACK, refers_to=rated, feedback="down")])
    report = update(session, lake)
    assert report.days == ("2026-01-01",)
    rows = {r["event_id"]: r["feedback"] for r in lake.read("interactions").to_pylist()}
    assert rows.pop(rated) == "down"
    assert set(rows.values()) == {None}
    assert sum(r["disliked"] for r in lake.read("daily").to_pylist()) == 1


def test_a_late_turn_over_midnight_corrects_both_days(session, lake):
    append(lake, [event(-1, 9, dialogue_id="d0", turn=0, text="hi")])
    assert update(session, lake).days == ("2026-01-01", "2026-01-02")
    dialogues = {r["dialogue_id"]: r for r in lake.read("dialogues").to_pylist()}
    assert dialogues["d0"]["started"] == MIDNIGHT - timedelta(minutes=1)
    assert (dialogues["d0"]["turns"], len(dialogues)) == (2, 3)


def test_other_rules_make_all_days_again(session, lake):
    assert all(r["low_confidence"] for r in lake.read("interactions").to_pylist())
    rules = SignalRules(low_confidence=0.1)
    assert len(update(session, lake, rules=rules).days) == 3
    assert not any(r["low_confidence"] for r in lake.read("interactions").to_pylist())


def test_since_makes_days_again_and_leaves_others(session, lake):
    before = tables(lake)
    assert update(session, lake, since="2026-01-02").days == ("2026-01-02", "2026-01-03")
    assert tables(lake) == before


KILLED = """
import os, signal, sys
import closedloop.data.etl as etl
from closedloop.data.lake import Lake

commit, left = etl.replace_dates, 2

def commit_or_die(*args):
    global left
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    return commit(*args)

etl.replace_dates = commit_or_die
etl.run_etl(Lake(sys.argv[1]))
"""


def test_a_run_killed_between_write_and_commit_is_made_up_for(session, lake, tmp_path):
    before = tables(lake)
    append(lake, [event(61, 9, dialogue_id="d0", turn=2, text="转人工")])
    apart = dict(os.environ, TMPDIR=str(tmp_path))  # Spark's scratch stays behind
    died = subprocess.run([sys.executable, "-c", KILLED, lake.url], env=apart)
    assert died.returncode == -signal.SIGKILL
    after = tables(lake)
    assert [name for name in OUTPUTS if after[name] != before[name]] == list(OUTPUTS[:2])
    assert os.listdir(Path(lake.url, "_etl"))  # what it had written of the third

    assert list(update(session, lake).rows) == list(OUTPUTS[2:])
    rows = [r for r in lake.read("interactions").to_pylist() if r["dialogue_id"] == "d0"]
    assert {r["handover"] for r in rows} == {True, False}
    assert sum(r["turns"] for r in lake.read("daily").to_pylist()) == 4
    assert run_etl(lake).rows == {}  # needs no session, and sweeps
    assert not Path(lake.url, "_etl").exists()


def test_a_second_run_at_the_same_time_is_refused(lake):
    append(lake, [event(61, 9, dialogue_id="d0", turn=2)])
    holding = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX);"
    holding += "print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", holding, f"{lake.url}/_etl.lock"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(Conflict, match="Another ETL run"):
            run_etl(lake)
        other.stdin.close()


def test_bad_input_is_named(tmp_path):
    with pytest.raises(NotFound, match="no turns and no predictions"):
        run_etl(Lake(str(tmp_path)))
    lake = Lake(str(tmp_path))
    append(lake, [event(0, 0)])
    with pytest.raises(InputError, match="YYYY-MM-DD"):
        run_etl(lake, since="yesterday")
    with pytest.raises(InputError, match="s3://bucket"):
        run_etl(Lake("s3://bucket/lake"))

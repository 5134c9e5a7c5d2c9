from datetime import UTC, datetime, timedelta

import pytest
from deltalake import DeltaTable
from hypothesis import given
from hypothesis import strategies as st

from closedloop.data.etl_plan import DialogueDates, make_plan, neighbours, touched_days
from closedloop.data.event import Event, Kind, derived_event_id, to_table
from closedloop.data.jobs.signals import SignalRules
from closedloop.data.lake import Lake
from closedloop.data.lake_files import replace_dates

START = datetime(2026, 1, 1, tzinfo=UTC)
RULES = SignalRules()
DATES = st.frozensets(st.sampled_from([f"2026-01-{day:02}" for day in range(1, 8)]), min_size=1)


def append(lake, table, *days):
    kind = {"turns": Kind.TURN, "predictions": Kind.PREDICTION, "feedback": Kind.FEEDBACK}[table]
    events = [
        Event(
            event_id=derived_event_id(START, table, str(day), str(lake.version(table))),
            ts=START + timedelta(days=day),
            tenant="a",
            kind=kind,
        )
        for day in days
    ]
    return lake.append(table, to_table(events))


def make(lake, tmp_path, tables, plan):
    """Commit what a run would, without any rows."""
    for table in tables:
        replace_dates(lake, table, tmp_path / "nothing", [], plan.progress)


@pytest.fixture
def lake(tmp_path):
    lake = Lake(str(tmp_path / "lake"))
    append(lake, "turns", 0, 1)
    append(lake, "predictions", 1)
    return lake


def test_the_first_run_makes_everything(lake):
    plan = make_plan(lake, RULES)
    assert plan.new is None
    assert plan.behind == ("interactions", "dialogues", "daily", "features")
    assert plan.versions == {"turns": 0, "predictions": 0}
    assert plan.source_dates == {"2026-01-01", "2026-01-02"}


def test_a_run_after_nothing_new_has_nothing_to_do(lake, tmp_path):
    plan = make_plan(lake, RULES)
    make(lake, tmp_path, plan.behind, plan)
    assert make_plan(lake, RULES).behind == ()
    DeltaTable(lake.uri("turns")).optimize.compact()
    append(lake, "feedback")  # a table with no rows
    assert make_plan(lake, RULES).behind == ()


def test_only_new_files_are_fresh(lake, tmp_path):
    plan = make_plan(lake, RULES)
    make(lake, tmp_path, plan.behind, plan)
    append(lake, "turns", 5)
    plan = make_plan(lake, RULES)
    fresh, others = plan.fresh("turns")
    assert [file.date for file in fresh] == ["2026-01-06"]
    assert [file.date for file in others] == ["2026-01-01", "2026-01-02"]
    assert plan.fresh("predictions")[0] == []


def test_a_new_file_that_was_compacted_makes_its_day_fresh(lake, tmp_path):
    plan = make_plan(lake, RULES)
    make(lake, tmp_path, plan.behind, plan)
    append(lake, "turns", 1)
    DeltaTable(lake.uri("turns")).optimize.compact()
    fresh, others = make_plan(lake, RULES).fresh("turns")
    assert [file.date for file in fresh] == ["2026-01-02"]
    assert [file.date for file in others] == ["2026-01-01"]


def test_a_table_that_a_dead_run_did_not_reach_is_the_only_one_behind(lake, tmp_path):
    plan = make_plan(lake, RULES)
    make(lake, tmp_path, plan.behind, plan)
    append(lake, "turns", 5)
    plan = make_plan(lake, RULES)
    make(lake, tmp_path, ("interactions", "dialogues"), plan)
    plan = make_plan(lake, RULES)
    assert plan.behind == ("daily", "features")
    assert [file.date for file in plan.fresh("turns")[0]] == ["2026-01-06"]


def test_other_rules_make_everything_again(lake, tmp_path):
    plan = make_plan(lake, RULES)
    make(lake, tmp_path, plan.behind, plan)
    plan = make_plan(lake, SignalRules(low_confidence=0.2))
    assert plan.new is None
    assert len(plan.behind) == 4


def test_since_forces_days_that_have_nothing_new(lake, tmp_path):
    plan = make_plan(lake, RULES)
    make(lake, tmp_path, plan.behind, plan)
    plan = make_plan(lake, RULES, since="2026-01-02")
    assert plan.forced == {"2026-01-02"}
    assert len(plan.behind) == 4


def test_neighbours_cross_months():
    assert neighbours(["2026-01-31"], margin_days=1) == {"2026-01-30", "2026-01-31", "2026-02-01"}


@given(st.lists(st.builds(lambda new, days: DialogueDates(new, tuple(days)), st.booleans(), DATES)))
def test_no_day_of_a_touched_dialogue_is_missed(dialogues):
    days = touched_days(dialogues)
    for dialogue in dialogues:
        if dialogue.new:
            assert days.remake.issuperset(dialogue.dates)
        if days.remake.intersection(dialogue.dates):
            assert days.read.issuperset(dialogue.dates)
    everything = {day for dialogue in dialogues for day in dialogue.dates}
    assert days.remake <= days.read <= everything
    if not any(dialogue.new for dialogue in dialogues):
        assert not days.remake

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from closedloop.core.errors import Conflict, EngineError, InputError
from closedloop.core.settings import Settings
from closedloop.core.store import Store
from closedloop.models.reference import ModelRef
from closedloop.ui.app.defence_repairs import Repairs, in_words
from closedloop.workflows.records import RunRecords

MODEL = "shop.intent.main"
RECORDED = """
import sys
from closedloop.core.settings import Settings
from closedloop.core.store import Store
from closedloop.workflows.records import RunRecords
records = RunRecords(Store.open(Settings().store_url))
run = records.start("repair", sys.argv[1], {})
with records.stage(run, 0, "train") as outcome:
    outcome.rows = 1180
records.finish(run, {"version": 2})
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    opened = Store.open(settings.store_url)
    yield opened
    opened.close()


@pytest.fixture
def repairs(settings: Settings, store: Store) -> Iterator[Callable[[str], Repairs]]:
    """Repairs whose process runs a line of Python; it is waited for at the end."""
    made: list[Repairs] = []

    def with_code(code: str) -> Repairs:
        def command(ref: ModelRef) -> list[str]:
            return [sys.executable, "-c", code, str(ref)]

        made.append(
            Repairs(settings, RunRecords(store), command=command, is_up=lambda settings: True)
        )
        return made[-1]

    yield with_code
    for each in made:
        for started in each._started.values():
            started.process.wait(timeout=60)


def ended(repairs: Repairs) -> None:
    [started] = repairs._started.values()
    started.process.wait(timeout=60)


def test_a_repair_runs_in_a_process_of_its_own_and_says_how_it_ended(
    repairs: Callable[[str], Repairs], store: Store
) -> None:
    started = repairs(RECORDED)
    assert started.state(MODEL) is None
    started.start(MODEL)
    ended(started)
    state = started.state(MODEL)
    assert state is not None
    assert (state.running, state.failed) == (False, False)
    assert state.sentence == "The last repair released version 2."
    assert [run.model for run in RunRecords(store).recent()] == [MODEL]


def test_one_repair_of_a_model_goes_on_at_a_time(
    repairs: Callable[[str], Repairs], store: Store
) -> None:
    records = RunRecords(store)
    run = records.start("repair", MODEL, {})  # by somebody at the command line
    started = repairs("pass")
    with records.stage(run, 0, "annotate"), pytest.raises(Conflict, match="going on"):
        started.start(MODEL)
    state = started.state(MODEL)
    assert state is not None
    assert state.running
    assert "waits for labels on Annotate" in state.sentence
    records.finish(run, {})
    started.start(MODEL)
    started.start("shop.intent.other")


def test_what_keeps_it_from_starting_is_told(repairs: Callable[[str], Repairs]) -> None:
    started = repairs("raise SystemExit('error: port 8000 is taken')")
    started.start(MODEL)
    ended(started)
    state = started.state(MODEL)
    assert state is not None
    assert state.failed
    assert state.sentence == "It did not start: error: port 8000 is taken"


def test_a_repair_that_was_killed_is_not_told_as_going_on(
    repairs: Callable[[str], Repairs], store: Store
) -> None:
    started = repairs(
        RECORDED.replace('records.finish(run, {"version": 2})', "import os; os._exit(9)")
    )
    started.start(MODEL)
    ended(started)
    state = started.state(MODEL)
    assert state is not None
    assert (state.running, state.failed) == (False, True)
    assert RunRecords(store).recent()[0].state == "running"  # it could not say otherwise
    started.start(MODEL)


def test_without_the_platform_there_is_no_repair(settings: Settings, store: Store) -> None:
    with pytest.raises(EngineError, match="does not run"):
        Repairs(settings, RunRecords(store)).start(MODEL)
    with pytest.raises(InputError):
        Repairs(settings, RunRecords(store)).start("no model")


def test_how_far_a_run_is_is_told(store: Store) -> None:
    records = RunRecords(store)
    run = records.start("repair", MODEL, {})
    assert in_words(records.get(run)) == "A repair is going on, stage 1."
    with records.stage(run, 0, "train"):
        assert in_words(records.get(run)) == "A repair is going on: train, stage 1."
    records.fail(run, "Nobody has disliked an answer.")
    assert in_words(records.get(run)) == "The last repair failed: Nobody has disliked an answer."


def test_the_command_exists() -> None:
    """What is started is the command line's own repair."""
    from closedloop.ui.app.defence_repairs import repair_command

    command = repair_command(ModelRef.parse(MODEL))
    shown = subprocess.run([*command[:-2], "--help"], capture_output=True, text=True, check=True)
    assert "--model" in shown.stdout

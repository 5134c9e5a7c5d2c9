"""The whole loop by the command: a cold start, then a repair of what it released."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from closedloop.core.ports import free_port
from closedloop.core.settings import Settings
from closedloop.data.lake import Lake
from closedloop.data.simulate.dialogues import simulate_turns
from closedloop.data.simulate.scenario import Scenario
from closedloop.models.reference import ModelRef
from closedloop.models.registry import Registry
from closedloop.models.training_snapshot import named_versions, rebuild

MODEL = "linden.intent.main"
SCENARIO = Scenario(seed=5, turns=1_200, tenants=("linden",))

pytestmark = [pytest.mark.ray, pytest.mark.spark]


def write_week(path: Path, week: int) -> Path:
    scenario = replace(
        SCENARIO, seed=SCENARIO.seed + week, start=SCENARIO.start + timedelta(weeks=week)
    )
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "intent", "user_id"))
        writer.writerows((t.text, t.intent, t.user_id) for t in simulate_turns(scenario))
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Run both workflows, each in a process and an embedded Ray of its own."""
    folder = tmp_path_factory.mktemp("loop 循环")
    week0, week1, heldout = (write_week(folder / f"week {i}.csv", i) for i in range(3))
    environment = os.environ | {
        "CLOSEDLOOP_HOME": str(folder / "home"),
        "CLOSEDLOOP_API_PORT": str(free_port()),
        "CLOSEDLOOP_DASHBOARD_PORT": str(free_port()),
    }
    for name in ("CLOSEDLOOP_RAY_ADDRESS", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        environment.pop(name, None)

    def run(workflow: str, *words: str | Path) -> dict[str, Any]:
        figures = folder / f"{workflow}.json"
        ended = subprocess.run(
            [sys.executable, "-m", "closedloop.ui.cli.main", "run", workflow, *map(str, words),
             "--map", "label=intent", "--model", MODEL, "--simulate-annotators",
             "--heldout", str(heldout), "--engine", "local", "--trials", "2",
             "--json", str(figures)],
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=500,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stdout[-4_000:]
        [record] = json.loads(figures.read_text())["runs"]
        return record | {"said": ended.stdout}

    cold = run("cold-start", "--logs", week0, "--labels", "350")
    repair = run("repair", "--replay", week1, "--repair-labels", "150")
    listed = subprocess.run(
        [sys.executable, "-m", "closedloop.ui.cli.main", "models", "list"],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return {
        "cold-start": cold, "repair": repair, "home": folder / "home", "models": listed.stderr
    }  # fmt: skip


def details(run: dict[str, Any], stage: str) -> dict[str, Any]:
    [found] = [s for s in run["stages"] if s["name"] == stage]
    return found["details"]


def test_the_loop_closes_and_the_repaired_model_is_better(runs):
    cold, repair = runs["cold-start"]["summary"], runs["repair"]["summary"]
    assert (cold["version"], repair["version"]) == (1, 2)
    assert repair["accuracy_before"] == pytest.approx(cold["accuracy"])
    assert repair["accuracy"] > repair["accuracy_before"]
    assert repair["bad_cases_fixed"] > 0
    assert repair["failed_requests_during_swap"] == 0


def test_the_registry_lists_the_champion(runs):
    [line] = [line for line in runs["models"].splitlines() if MODEL in line]
    assert [cell.strip() for cell in line.strip("│").split("│")][1:] == ["2", "–", "2"]


def test_every_stage_says_what_it_did(runs):
    cold, repair = runs["cold-start"], runs["repair"]
    assert details(cold, "ingest")["new"] == SCENARIO.turns
    assert details(cold, "annotate")["labels"] == 350
    assert details(cold, "annotate")["annotators"] == "simulated"
    assert details(cold, "train")["trials"] == 2
    assert details(repair, "bad cases")["attributed to"] == f"{MODEL} version 1"
    assert details(repair, "joint evaluation")["verdict"] == "release"
    assert "(simulated annotators)" in repair["said"]


def test_labels_name_their_split_and_gold_is_never_trained_on(runs):
    labels = Lake(str(runs["home"] / "lake")).read("labels").to_pylist()
    gold = [row for row in labels if row["split"] == "gold"]
    assert len(gold) == details(runs["cold-start"], "annotate")["evaluation split"]
    trained = [s["rows"] for s in runs["cold-start"]["stages"] if s["name"] == "train"]
    assert trained[0] <= 350 - len(gold)


def test_the_training_set_of_every_version_is_made_again_bit_for_bit(runs):
    settings = Settings(home=runs["home"])
    registry = Registry(settings.registry_url, settings.artifacts_url)
    found = [
        rebuild(Lake(settings.lake_url), version)
        for version in registry.versions(ModelRef.parse(MODEL))
    ]
    assert [each.verified for each in found] == [True, True]
    assert found[0].labels_version < found[1].labels_version
    assert named_versions(registry).keys() == {each.labels_version for each in found}


def test_heldout_texts_are_measured_but_never_learned_from(runs):
    lake = Lake(str(runs["home"] / "lake"))
    channels = lake.read("predictions", columns=["channel"])["channel"].to_pylist()
    assert "evaluation" in channels  # measuring goes over HTTP like any request …
    assert lake.count("turns") == SCENARIO.turns  # … and adds nothing to the logs


def test_nothing_is_left_running(runs):
    words = str(runs["home"])
    left = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if words.encode() in (place / "environ").read_bytes():
                left.append((place / "cmdline").read_text())
        except OSError:
            continue
    assert left == []

"""``closedloop models`` shadow, canary, promote, end-trial and trials, as a person runs them."""

import hashlib
import io
import json
import shutil
import sys

import pytest
from rich.console import Console

from closedloop.core.audit import Audit
from closedloop.core.settings import Settings
from closedloop.core.store import Store
from closedloop.models.model_version import Champion
from closedloop.models.reference import ModelRef
from closedloop.models.registry import Registry, Stages
from closedloop.models.trial import EndedTrial, Stage, Trial
from closedloop.serve.trials.counts import Counts, Tally, TrialKey
from closedloop.ui.cli.main import main
from closedloop.ui.trial_table import trial_figures

MODEL = "shop.intent.main"
REF = ModelRef.parse(MODEL)


def _registry(settings):
    return Registry(settings.registry_url, settings.artifacts_url)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A home with three versions, the first of them champion; MLflow takes seconds to make one."""
    home = tmp_path_factory.mktemp("prepared") / "home"
    settings = Settings(home=home)
    registry = _registry(settings)
    for content in (b"one", b"two", b"three"):
        file = home / "trained.skops"
        file.write_bytes(content)
        registry.register(REF, file, hashlib.sha256(content).hexdigest(), {})
    registry.promote(REF, 1)
    return home


@pytest.fixture
def home(prepared, tmp_path, monkeypatch):
    home = tmp_path / "home"
    shutil.copytree(prepared, home)
    monkeypatch.setenv("CLOSEDLOOP_HOME", str(home))
    return home


@pytest.fixture
def closedloop(home, monkeypatch, capfd):
    """Run the command; returns its exit code and all that it printed."""
    shown = io.StringIO()
    monkeypatch.setattr("closedloop.ui.console.console", Console(file=shown, width=250))

    def run(*words):
        shown.seek(0)
        shown.truncate()
        monkeypatch.setattr(sys, "argv", ["closedloop", "models", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capfd.readouterr()
        assert "Traceback" not in said.err
        return ended.value.code or 0, shown.getvalue() + said.out + said.err

    return run


def acts():
    entries = Audit(Store.open(Settings().store_url)).entries()
    return [(entry.action, entry.target, dict(entry.details)) for entry in reversed(entries)]


def test_a_version_goes_from_shadow_to_champion_and_the_trail_tells_it(closedloop, tmp_path):
    assert "in the champion's shadow" in closedloop("shadow", MODEL, 2)[1]
    assert "answers 12.5 % of the users" in closedloop("canary", MODEL, 2, "--percent", 12.5)[1]
    file = tmp_path / "trials.json"
    code, said = closedloop("trials", "--json", file)
    assert code == 0
    assert "canary" in said
    assert "the platform does not run" in said
    (trial,) = json.loads(file.read_text())["trials"]
    assert (trial["stage"], trial["percent"], trial["trial"]["version"]) == ("canary", 12.5, 2)
    assert trial["champion"] == {"version": 1, "requests": None, "errors": None, "p95_ms": None}
    assert f"{MODEL}: version 2 is champion (was 1)." in closedloop("promote", MODEL)[1]
    assert _registry(Settings()).champions()[0].version == 2
    assert acts() == [
        ("models.shadow", MODEL, {"version": 2}),
        ("models.canary", MODEL, {"version": 2, "percent": 12.5}),
        ("models.promote", MODEL, {"version": 2, "former": 1}),
    ]


def test_a_trial_that_a_person_ends_keeps_the_reason(closedloop, tmp_path):
    assert closedloop("canary", MODEL, 3, "--percent", 5)[0] == 0
    code, said = closedloop("end-trial", MODEL, "--reason", " confuses [refunds] ")
    assert (code, "version 3 (canary of 5 %) is on trial no more" in said) == (0, True)
    file = tmp_path / "trials.json"
    said = closedloop("trials", "--json", file)[1]
    assert "Nothing is on trial" in said
    assert "the trial of version 3 (canary of 5 %) ended: confuses [refunds]" in said
    (ended,) = json.loads(file.read_text())["ended"]
    assert ended["reason"] == "confuses [refunds]"
    assert acts()[-1] == (
        "models.end-trial",
        MODEL,
        {"version": 3, "reason": "confuses [refunds]"},
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("shadow", MODEL, 1), "is the champion, which cannot be on trial"),
        (("shadow", MODEL, 9), "The registry has no version 9"),
        (("shadow", "no-model", 2), "no-model"),
        (("canary", "shop.intent.none", 2, "--percent", 5), "The registry has no"),
        (("canary", MODEL, 2, "--percent", 0), "0 is not a percentage"),
        (("canary", MODEL, 2, "--percent", "nan"), "nan is not a percentage"),
        (("canary", MODEL, 2, "--percent", 101), "101 is not a percentage"),
        (("promote", MODEL), "has no version on trial that could become champion"),
        (("promote", MODEL, 9), "The registry has no version 9"),
        (("end-trial", MODEL, "--reason", "slow"), "has no version on trial"),
        (("end-trial", MODEL, "--reason", "  "), "--reason has 0 characters"),
        (("end-trial", MODEL, "--reason", "x" * 501), "--reason has 501 characters"),
        (("trials", "--json", "/no/such/folder/f.json"), "there is no folder"),
    ],
    ids=str,
)
def test_what_cannot_be_done_says_why_and_what_to_do_and_leaves_no_trail(closedloop, words, told):
    code, said = closedloop(*words)
    assert code != 0
    assert told in said
    assert "try: " in said
    assert acts() == []
    assert _registry(Settings()).stages().trials == ()


def test_of_many_ended_trials_some_are_shown_and_all_are_in_the_file(
    closedloop, monkeypatch, tmp_path
):
    ended = [
        EndedTrial(
            ref=ModelRef(tenant="shop", algorithm="intent", name=f"m{i:02}"),
            version=2,
            stage=Stage.SHADOW,
            percent=0.0,
            reason="slow",
        )
        for i in range(25)
    ]
    monkeypatch.setattr(Registry, "ended_trials", lambda self: ended)
    file = tmp_path / "trials.json"
    said = closedloop("trials", "--json", file)[1]
    assert said.count("(shadow) ended: slow") == 20
    assert "and of 5 models more" in said
    assert len(json.loads(file.read_text())["ended"]) == 25


@pytest.mark.parametrize("command", ["shadow", "canary", "promote", "end-trial", "trials"])
def test_every_command_has_help_with_an_example(closedloop, command):
    code, said = closedloop(command, "--help")
    assert code == 0
    assert f"Example: closedloop models {command}" in said


def test_figures_put_what_was_counted_beside_what_is_on_trial():
    one, two = (Champion(ref=REF, version=v, path="", sha256="") for v in (1, 2))
    stages = Stages(
        champions=(one,), trials=(Trial(candidate=two, stage=Stage.CANARY, percent=5.0),)
    )
    tally = Tally(champion=Counts(requests=3), compared=4, agreed=3, dropped=1, last_error="x")
    tally.trial.answered(10.0)
    tally.trial.failed()
    totals = {TrialKey(model=MODEL, champion=1, trial=2): tally}
    (found,) = trial_figures(stages, totals)
    assert found["trial"] == {
        "version": 2,
        "requests": 2,
        "errors": 1,
        "p95_ms": pytest.approx(10, rel=0.02),
    }
    assert found["champion"]["requests"] == 3
    assert (found["compared_texts"], found["agreement"]) == (4, 0.75)
    assert (found["not_compared_requests"], found["last_error"]) == (1, "x")
    (nothing_yet,) = trial_figures(stages, {})
    assert (nothing_yet["trial"]["requests"], nothing_yet["agreement"]) == (0, None)
    (unknown,) = trial_figures(stages, None)
    assert unknown["trial"]["requests"] is unknown["compared_texts"] is None

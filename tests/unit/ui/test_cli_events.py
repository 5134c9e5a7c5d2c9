"""closedloop events, as a person runs it."""

import json
import sys

import pytest

from closedloop.core.settings import Settings
from closedloop.data.event_log.opening import open_event_log
from closedloop.ui.cli.main import main


@pytest.fixture
def closedloop(monkeypatch, tmp_path, capfd):
    """Run the command; returns the figures of --json, or its error."""
    monkeypatch.setenv("CLOSEDLOOP_HOME", str(tmp_path / "home"))

    def run(*words, fails=False):
        figures = tmp_path / "figures.json"
        monkeypatch.setattr(sys, "argv", ["closedloop", *words, "--json", str(figures)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capfd.readouterr().err
        assert bool(ended.value.code) is fails, said
        return said if fails else json.loads(figures.read_text("utf-8"))

    return run


def test_retain_removes_what_the_lake_has(closedloop, tmp_path):
    chats = tmp_path / "chats.csv"
    chats.write_text("text\n" + "\n".join(f"text {i}" for i in range(50)) + "\n")
    closedloop("ingest", str(chats))
    kept = closedloop("events", "retain", "--older-than", "30d", "--max-bytes", "10GB")
    assert (kept["removed"], kept["kept"]) == (0, 50)
    gone = closedloop("events", "retain", "--max-bytes", "1KB")
    assert (gone["removed"], gone["kept"]) == (50, 0)
    # The same file again: the log has forgotten its rows, the lake has not.
    closedloop("ingest", str(chats))
    from closedloop.data.lake import Lake

    assert Lake(Settings().lake_url).count("turns") == 50


def test_retain_says_who_has_yet_to_read(closedloop, tmp_path):
    chats = tmp_path / "chats.csv"
    chats.write_text("text\n" + "\n".join(f"text {i}" for i in range(50)) + "\n")
    closedloop("ingest", str(chats))
    log = open_event_log(Settings().event_log_url)
    log.commit("clusterer", {0: 11})
    log.close()
    done = closedloop("events", "retain", "--max-bytes", "1")
    assert (done["removed"], done["held_back_by"]) == (10, ["clusterer"])


@pytest.mark.parametrize(
    "words",
    [(), ("--older-than", "soon"), ("--max-bytes", "10 apples"), ("--max-bytes", "0GB")],
)
def test_retain_refuses_what_makes_no_sense(closedloop, words):
    assert "try:" in closedloop("events", "retain", *words, fails=True)

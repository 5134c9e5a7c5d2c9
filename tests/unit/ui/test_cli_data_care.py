"""closedloop privacy, lake, dead-letters and models training-set, as a person runs them."""

import hashlib
import json
import sys
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from closedloop.core.pseudonyms import KEY_FILE, generation_of
from closedloop.core.settings import Settings
from closedloop.data.lake import LABEL_SCHEMA, Lake
from closedloop.models.reference import ModelRef
from closedloop.models.registry import Registry
from closedloop.models.training_snapshot import (
    LABELS_VERSION_TAG,
    SHA256_TAG,
    content_hash,
    training_set_at,
)
from closedloop.ui.cli.main import main

REF = ModelRef.parse("shop.intent.main")


@pytest.fixture
def home(monkeypatch, tmp_path):
    folder = tmp_path / "home"
    monkeypatch.setenv("CLOSEDLOOP_HOME", str(folder))
    return folder


@pytest.fixture
def closedloop(home, monkeypatch, tmp_path, capfd):
    """Run the command; returns the figures of --json, or its error."""

    def run(*words, fails=False):
        figures = tmp_path / "figures.json"
        figures.unlink(missing_ok=True)
        more = () if fails else ("--json", figures)
        monkeypatch.setattr(sys, "argv", ["closedloop", *map(str, (*words, *more))])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capfd.readouterr().err
        assert bool(ended.value.code) is fails, said
        return said if fails else json.loads(figures.read_text("utf-8"))

    return run


@pytest.fixture
def chats(tmp_path):
    path = tmp_path / "chats.csv"
    path.write_text(
        "message,user_id,ts\n"
        "my phone is 13812345678,ann,2026-01-01\n"
        "mail bob@example.org,bob,2026-01-02\n"
        "hello,ann,2026-01-02\n"
        "later,cat,2199-01-01\n",
        "utf-8",
    )
    return path


def lake():
    return Lake(Settings().lake_url)


def test_a_scan_reports_and_loads_nothing(closedloop, chats, home):
    found = closedloop("privacy", "scan", chats, "--map", "text=message")
    assert (found["texts"], found["texts_with"]) == (4, 2)
    assert (found["found"]["phone"], found["found"]["email"]) == (1, 1)
    assert "13812345678" not in json.dumps(found)
    assert not home.exists()


def test_what_is_stored_is_clean(closedloop, chats):
    closedloop("ingest", chats, "--map", "text=message")
    found = closedloop("privacy", "scan", "--lake")
    assert found["texts"] == 4  # three turns and a dead letter
    assert sum(found["found"].values()) == 0


def test_a_scan_of_nothing_is_refused(closedloop, chats):
    assert "--lake" in closedloop("privacy", "scan", fails=True)
    assert "--lake" in closedloop("privacy", "scan", chats, "--lake", fails=True)


def test_a_key_is_rotated_and_what_is_stored_follows(closedloop, chats, home):
    closedloop("ingest", chats, "--map", "text=message", "--tenant", "shop")
    before = lake().read("turns")["user_id"].to_pylist()
    done = closedloop("privacy", "rotate-key", "--tenant", "shop")
    assert done == {
        "tenant": "shop",
        "generation": 1,
        "rekeyed": {"turns": 3, "dead_letters": 1},
    }
    after = lake().read("turns")["user_id"].to_pylist()
    assert not set(before) & set(after)
    assert {generation_of(name) for name in after} == {1}
    more = chats.with_name("more.csv")
    more.write_text("message,user_id\nhello again,ann\n", "utf-8")
    closedloop("ingest", more, "--map", "text=message", "--tenant", "shop")
    assert len(set(lake().read("turns")["user_id"].to_pylist())) == 2
    assert closedloop("privacy", "rekey") == {"rekeyed": {}}
    assert (home / KEY_FILE).stat().st_mode & 0o077 == 0


def test_a_row_in_brackets_is_shown_as_it_is(closedloop, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "[/red] call 13812345678"}\n{"text": "", "x": "[/b]"}\n', "utf-8")
    assert closedloop("privacy", "scan", path)["found"]["phone"] == 1
    closedloop("ingest", path)
    assert closedloop("dead-letters", "list")["count"] == 1


def test_dead_letters_are_listed_and_replayed(closedloop, chats):
    closedloop("ingest", chats, "--map", "text=message")
    listed = closedloop("dead-letters", "list", "--reason", "future")
    assert (listed["count"], listed["letters"][0]["line"]) == (1, 5)
    number = listed["letters"][0]["id"]
    done = closedloop("dead-letters", "replay", "--id", number[:8], "--fix", "ts=2026-01-03")
    assert done == {"new": 1, "known": 0, "refused": 0}
    assert sorted(lake().read("turns")["text"].to_pylist())[-2:] == [
        "mail <EMAIL>",
        "my phone is <PHONE>",
    ]
    assert closedloop("dead-letters", "list")["count"] == 0
    assert closedloop("dead-letters", "list", "--replayed")["count"] == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "--all"),
        (("--id", "nothing-like-it"), "dead-letters list"),
        (("--all", "--fix", "ts"), "FIELD=VALUE"),
    ],
)
def test_a_replay_that_cannot_be_is_explained(closedloop, chats, words, said):
    closedloop("ingest", chats, "--map", "text=message")
    assert said in closedloop("dead-letters", "replay", *words, fails=True)


def test_the_lake_is_shown_compacted_and_let_go(closedloop, chats):
    closedloop("ingest", chats, "--map", "text=message")
    more = chats.with_name("more.csv")
    more.write_text("message,ts\nhi,2026-01-02\n", "utf-8")
    closedloop("ingest", more, "--map", "text=message")
    before = lake().read("turns").sort_by("event_id")
    turns = closedloop("lake", "status")["tables"][0]
    assert (turns["table"], turns["rows"], turns["first_day"]) == ("turns", 4, "2026-01-01")
    [done] = closedloop("lake", "compact", "turns")["tables"]
    assert (done["files_before"], done["files"], done["rows"]) == (turns["files"], 2, 4)
    assert lake().read("turns").sort_by("event_id").equals(before)
    age = (datetime.now(UTC).date() - datetime(2026, 1, 2).date()).days
    said = closedloop("lake", "retain", "turns", "--older-than", f"{age}d", "--dry-run")
    assert (said["days"], said["rows"]) == (["2026-01-01"], 1)
    assert lake().count("turns") == 4
    closedloop("lake", "retain", "turns", "--older-than", f"{age}d")
    assert lake().count("turns") == 3
    assert "36h" in closedloop("lake", "retain", "turns", "--older-than", "soon", fails=True)


def test_a_training_set_is_made_again_and_its_labels_are_held(closedloop, tmp_path):
    rows = [
        {
            "sample_id": str(number),
            "ts": datetime.now(UTC) - timedelta(days=400),
            "model": str(REF),
            "text": f"text {number}",
            "label": "ab"[number % 2],
            "votes": 1,
            "agreement": 1.0,
            "simulated": False,
            "split": "gold" if number > 7 else "train",
            "run_id": "r",
        }
        for number in range(10)
    ]
    version = lake().append("labels", pa.Table.from_pylist(rows, schema=LABEL_SCHEMA))
    settings = Settings()
    file = tmp_path / "model.skops"
    file.write_bytes(b"a model")
    registry = Registry(settings.registry_url, settings.artifacts_url)
    made = registry.register(
        REF,
        file,
        hashlib.sha256(b"a model").hexdigest(),
        {},
        {
            LABELS_VERSION_TAG: str(version),
            SHA256_TAG: content_hash(training_set_at(lake(), REF, version)),
        },
    )
    out = tmp_path / "train.parquet"
    found = closedloop("models", "training-set", REF, made, "--out", out)
    assert (found["verified"], found["train_rows"], found["gold_rows"]) == (True, 8, 2)
    first = out.read_bytes()
    assert pq.read_table(out)["split"].to_pylist() == ["train"] * 8 + ["gold"] * 2
    closedloop("lake", "compact", "labels")
    closedloop("models", "training-set", REF, made, "--out", out)
    assert out.read_bytes() == first
    refused = closedloop("lake", "retain", "labels", "--older-than", "30d", fails=True)
    assert f"{REF} {made}" in refused
    assert "--force" in refused
    closedloop("lake", "retain", "labels", "--older-than", "30d", "--grace", "0h", "--force")
    gone = closedloop("models", "training-set", REF, made, "--out", out, fails=True)
    assert "retention has removed" in gone
    assert out.read_bytes() == first

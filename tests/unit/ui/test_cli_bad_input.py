"""Bad input to the command: one clear message, an exit code, and nothing left behind."""

import os
import socket
import subprocess
import sys

import pytest

from closedloop.ui.cli.main import main


@pytest.fixture
def closedloop(monkeypatch, tmp_path, capfd):
    """Run the command in a fresh home; returns its exit code and what it printed."""
    home = tmp_path / "home"
    monkeypatch.setenv("CLOSEDLOOP_HOME", str(home))
    monkeypatch.delenv("CLOSEDLOOP_RAY_ADDRESS", raising=False)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["closedloop", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capfd.readouterr().err
        assert "Traceback" not in said
        return ended.value.code, said, sorted(p.name for p in home.glob("*"))

    return run


def cold_start(path, *more):
    return ("run", "cold-start", "--logs", path, "--simulate-annotators", *more)


ROWS = "".join(f"text {i},{'ab'[i % 2]}\n" for i in range(30))


@pytest.mark.parametrize(
    ("name", "content", "options", "said"),
    [
        ("a.csv", b"message,label\nhi,a\n", (), "--map text=COLUMN"),
        ("a.csv", b"text,label\nhi,a\n", ("--map", "label=intent"), "no column 'intent'"),
        ("a.csv", "text,label\n退款,a\n".encode("gb18030") * 9, (), "--encoding gb18030"),
        ("a.csv", b"", (), "the file is empty"),
        ("a.csv", b"text,label\nhi,a\nho,a\n", (), "the same label, 'a'"),
        ("a.csv", b"text\nhi\n", (), "no label to simulate"),
        ("a.parquet", b"PAR1 truncated", (), "not a whole Parquet file"),
        ("a.csv", ROWS.encode(), ("--map", "text"), "--map text is not FIELD=COLUMN"),
        ("a.csv", b"text,label\n" + ROWS.encode(), ("--labels", "many"), "--labels many"),
        ("a.csv", b"text,label\n" + ROWS.encode(), ("--labels", "3"), "--labels 3 is too few"),
        ("a.csv", b"text,label\n" + ROWS.encode(), ("--model", "main"), "main"),
        ("a.csv", b"text,label\n" + ROWS.encode(), ("--error-rate", "1.5"), "--error-rate"),
    ],
)
def test_a_bad_request_ends_before_any_engine_starts(
    closedloop, tmp_path, name, content, options, said
):
    path = tmp_path / name
    path.write_bytes(content)
    code, message, left = closedloop(*cold_start(path, *options))
    assert code == 2
    assert said in message
    assert "try:" in message
    assert left == []


def test_a_directory_and_a_missing_file(closedloop, tmp_path):
    folder = tmp_path / "logs.csv"
    folder.mkdir()
    assert "is a directory" in closedloop(*cold_start(folder))[1]
    assert "no such file" in closedloop(*cold_start(tmp_path / "none.csv"))[1]


@pytest.mark.parametrize("variable", ["CLOSEDLOOP_API_PORT", "CLOSEDLOOP_DASHBOARD_PORT"])
def test_a_taken_port_is_named_with_the_variable_to_set(
    closedloop, tmp_path, monkeypatch, variable
):
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + ROWS)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        monkeypatch.setenv(variable, str(port))
        code, message, _ = closedloop(*cold_start(path))
    assert code == 5
    assert f"Port {port}" in message
    assert variable in message


def test_a_place_for_the_figures_is_looked_for_first(closedloop, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + ROWS)
    target = tmp_path / "none" / "figures.json"
    code, message, left = closedloop(*cold_start(path, "--json", target))
    assert code == 2
    assert "there is no folder" in message
    assert left == []


def test_rollback_of_an_unknown_model(closedloop):
    code, message, _ = closedloop("models", "rollback", "shop.intent.none")
    assert code == 3
    assert "shop.intent.none" in message


def test_ingest_says_where_refused_rows_are(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('text\nhi\n""\n')
    ended = subprocess.run(
        [sys.executable, "-m", "closedloop.ui.cli.main", "ingest", path],
        env=os.environ | {"CLOSEDLOOP_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0
    assert "1 new rows, 0 known already, 1 refused" in ended.stderr
    assert "closedloop dead-letters list" in ended.stderr


def test_a_role_that_does_not_exist(closedloop):
    code, message, _ = closedloop("users", "add", "ann", "--role", "boss", "--password", "x" * 9)
    assert code == 2
    assert "annotator, engineer, admin" in message

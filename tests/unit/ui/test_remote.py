"""What is sent to a cluster, what comes back, and what a bad address is told; no Ray runs here."""

import base64
import json
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from typer.testing import CliRunner

from closedloop.core.errors import EngineError, InputError, NotAllowed, ReleaseRefused
from closedloop.ui import loop_runs, remote
from closedloop.ui.cli.main import app
from closedloop.ui.loop_runs import LoopRequest


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    path = tmp_path / "my chats; 日志.csv"
    path.write_text("text,intent\nhello,greet\nbye,leave\n", encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOSEDLOOP_HOME", str(tmp_path / "home"))


def typed_again(parcel: remote.Parcel, monkeypatch: pytest.MonkeyPatch) -> LoopRequest:
    """Parse the command line that the cluster would run, by the real command."""
    found: list[LoopRequest] = []
    monkeypatch.setattr(loop_runs, "run_or_submit", lambda request, **_: found.append(request))
    words = shlex.split(parcel.entrypoint.split("; ended=")[0])
    assert words[:3] == ["python", "-m", "closedloop.ui.cli.main"]
    result = CliRunner().invoke(app, words[3:])
    assert result.exit_code == 0, result.output
    return found[0]


@pytest.mark.parametrize(
    "options",
    [
        {"workflow": "cold-start", "labels": "all", "clusters": 7, "simulate_annotators": True},
        {"workflow": "cold-start", "mapping": ("text=my text", "label=it's"), "votes": 2},
        {"workflow": "repair", "repair_labels": 12, "error_rate": 0.05, "encoding": "gb18030"},
        {"workflow": "repair", "engine": "local", "seed": 3, "trials": 2, "model": "a.b.c"},
    ],
)
def test_the_cluster_runs_what_was_asked_for(
    options: dict, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = "logs" if options["workflow"] == "cold-start" else "replay"
    request = LoopRequest(**options, **{file: logs}, heldout=logs)
    parcel = remote.pack(request)
    arrived = typed_again(parcel, monkeypatch)
    expected = LoopRequest(**options, **{file: Path(f"{file}.csv")}, heldout=Path("heldout.csv"))
    assert arrived == expected
    assert parcel.files == {f"{file}.csv": logs, "heldout.csv": logs}


def test_files_too_large_to_upload_are_refused(logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "MAX_UPLOAD_BYTES", logs.stat().st_size - 1)
    with pytest.raises(InputError, match="head node"):
        remote.pack(LoopRequest(workflow="cold-start", logs=logs))


@pytest.mark.parametrize(("exit_code", "figures"), [(0, {"runs": ["标签"]}), (6, None)])
def test_the_entrypoint_keeps_the_exit_code_and_tells_the_figures(
    exit_code: int, figures: dict | None, logs: Path, tmp_path: Path
) -> None:
    tools, work = tmp_path / "tools", tmp_path / "work"
    tools.mkdir()
    work.mkdir()
    python = tools / "python"  # stands for the run: writes its figures, ends as it ends
    told = "" if figures is None else f"printf '%s' '{json.dumps(figures)}' > figures.json\n"
    python.write_text(f"#!/bin/sh\necho training\n{told}exit {exit_code}\n")
    python.chmod(0o755)
    entrypoint = remote.pack(LoopRequest(workflow="cold-start", logs=logs)).entrypoint
    ended = subprocess.run(
        ["/bin/sh", "-c", entrypoint],
        cwd=work,
        env={"PATH": f"{tools}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == exit_code
    found = [remote.figures_in(line) for line in ended.stdout.splitlines()]
    assert found == ([None] if figures is None else [None, figures])


def test_only_the_marked_line_carries_figures() -> None:
    line = "closedloop-figures " + base64.b64encode(b'{"runs": []}').decode()
    assert remote.figures_in(line) == {"runs": []}
    assert remote.figures_in(f"said: {line}") is None


def test_a_failed_run_ends_as_it_would_have_here() -> None:
    assert remote.failure(6) is ReleaseRefused
    assert remote.failure(2) is InputError
    assert [remote.failure(code) for code in (None, 0, 1, 137)] == [EngineError] * 4


@contextmanager
def dashboard(status: int) -> Iterator[str]:
    """Serve one status for every question, as a dashboard in front of a token does."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def request_of(logs: Path) -> LoopRequest:
    return LoopRequest(workflow="cold-start", logs=logs, mapping=("label=intent",))


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_token_is_named(status: int, logs: Path) -> None:
    with dashboard(status) as url, pytest.raises(NotAllowed, match="does not take this token"):
        remote.submit(request_of(logs), address=url, json_file=None)


@pytest.mark.parametrize(
    "address",
    [
        pytest.param("http://127.0.0.1:40199", id="a-port-with-401-in-it"),
        pytest.param("http://token.invalid:1", id="a-host-with-token-in-it"),
        pytest.param("not an address", id="not-an-address"),
    ],
)
def test_a_bad_address_is_not_taken_for_a_bad_token(address: str, logs: Path) -> None:
    with pytest.raises(EngineError, match="No Ray dashboard answers"):
        remote.submit(request_of(logs), address=address, json_file=None)

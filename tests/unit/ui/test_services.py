"""The app of a platform that outlives the command that started it."""

import json
import subprocess
import sys

import pytest

from closedloop.ui.services import end_app

WAITS = "import sys; print(flush=True); sys.stdin.read()"


@pytest.fixture
def started(tmp_path):
    """Starts a program that waits, and writes its number into the file that names the app."""
    running = []

    def start(*words):
        process = subprocess.Popen(
            [sys.executable, "-c", WAITS, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        running.append(process)
        process.stdout.readline()
        file = tmp_path / "services.json"
        file.write_text(json.dumps({"app": process.pid}))
        return process, file

    yield start
    for process in running:
        process.kill()
        process.communicate()


def test_the_app_of_an_earlier_start_is_ended(started):
    app, file = started("streamlit")
    end_app(file)
    assert app.poll() is not None


def test_another_program_that_has_its_number_now_is_left_alone(started):
    other, file = started("something else")
    end_app(file)
    assert other.poll() is None


@pytest.mark.parametrize("content", [None, "", "{}", '{"app": 99999999}'])
def test_no_app_is_no_fault(tmp_path, content):
    file = tmp_path / "services.json"
    if content is not None:
        file.write_text(content)
    end_app(file)

"""The contract in pyproject.toml holds, and would notice if it did not."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
ROOTS = ("platform", "actors", "serve", "ui")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for root in ROOTS:
        shutil.copytree(
            REPOSITORY / root, tmp_path / root, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    return tmp_path


def lint_imports(repository: Path) -> subprocess.CompletedProcess[str]:
    # Without `site`, an editable install of the real tree cannot answer for the copy's.
    packages = sysconfig.get_path("purelib")
    path = os.pathsep.join([*(str(repository / root) for root in ROOTS), packages])
    command = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-S", "-c", command, "--no-cache"],
        cwd=repository,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_imports_run_one_way(copy: Path) -> None:
    pytest.importorskip("importlinter")
    found = lint_imports(copy)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "1 kept, 0 broken" in found.stdout


@pytest.mark.parametrize(
    ("module", "line", "said"),
    [
        pytest.param(
            "platform/closedloop/core/ports.py",
            "from closedloop.ui.console import console",
            "closedloop.core is not allowed to import closedloop.ui",
            id="from-one-root-into-another",
        ),
        pytest.param(
            "platform/closedloop/data/lake.py",
            "def late():\n    import closedloop.workflows.runner",
            "closedloop.data is not allowed to import closedloop.workflows",
            id="inside-a-function-of-the-same-root",
        ),
        pytest.param("ui/closedloop/loose/thing.py", "", "closedloop.loose", id="unplaced-package"),
    ],
)
def test_a_planted_violation_is_found(copy: Path, module: str, line: str, said: str) -> None:
    pytest.importorskip("importlinter")
    target = copy / module
    target.parent.mkdir(exist_ok=True)
    with target.open("a", encoding="utf-8") as file:
        file.write(f"\n\n{line}\n")
    found = lint_imports(copy)
    assert found.returncode == 1
    assert said in found.stdout

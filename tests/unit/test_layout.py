"""Four roots hold portions of one namespace package; one wrong file hides a portion or more."""

import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
ROOTS = ("platform", "actors", "serve", "ui")
ENGINE_MODULES = {"ray", "streamlit", "pyspark", "mlflow", "deltalake", "polars", "typer"}
# A script that is run by path puts its folder first on sys.path.
SCRIPT_FOLDERS = ("benchmarks", "ui/closedloop/ui/app", "ui/closedloop/ui/app/views")


def portion_files() -> list[str]:
    """Every file of a portion, as the path it has in the wheel."""
    return [
        path.relative_to(REPOSITORY / root).as_posix()
        for root in ROOTS
        for path in (REPOSITORY / root).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]


@pytest.mark.parametrize("root", ROOTS)
def test_a_root_holds_nothing_but_the_namespace(root: str) -> None:
    inside = {path.name for path in (REPOSITORY / root).iterdir()} - {"__pycache__"}
    assert inside == {"closedloop"}


@pytest.mark.parametrize("folder", [*ROOTS, "tests"])
def test_there_is_no_package_file(folder: str) -> None:
    assert [str(path) for path in (REPOSITORY / folder).rglob("__init__.py")] == []


def test_no_two_portions_have_a_file_in_common() -> None:
    files = portion_files()
    assert sorted(files) == sorted(set(files))


def test_test_files_have_different_names() -> None:
    names = [path.name for path in (REPOSITORY / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))


def test_no_subpackage_shadows_the_standard_library_from_a_root() -> None:
    names = {path.name for root in ROOTS for path in (REPOSITORY / root / "closedloop").iterdir()}
    assert "platform" not in names


@pytest.mark.parametrize("folder", SCRIPT_FOLDERS)
def test_no_module_beside_a_script_shadows_another(folder: str) -> None:
    names = {path.stem for path in (REPOSITORY / folder).glob("*.py")}
    assert names & (set(sys.stdlib_module_names) | ENGINE_MODULES) == set()


def test_an_editable_install_sees_every_root() -> None:
    config = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    assert sorted(config["tool"]["hatch"]["build"]["dev-mode-dirs"]) == sorted(ROOTS)


def test_the_wheel_has_every_portion_with_its_data_files(tmp_path: Path) -> None:
    builder = pytest.importorskip("hatchling.builders.wheel").WheelBuilder(str(REPOSITORY))
    wheel = next(builder.build(directory=str(tmp_path), versions=["standard"]))
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if name.startswith("closedloop/")}
    assert inside == set(portion_files())
    kinds = {Path(name).suffix for name in inside}
    assert {".py", ".yaml", ".css", ".js", ".toml", ".mako", ".svg"} <= kinds

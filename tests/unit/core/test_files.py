from contextlib import suppress
from pathlib import Path

import pytest

from closedloop.core.errors import EngineError
from closedloop.core.files import written_whole


def test_the_file_is_there_whole_with_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "中文 shop" / "model.bin"
    with written_whole(path, what="model") as file:
        file.write_bytes(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o644
    assert [each.name for each in path.parent.iterdir()] == ["model.bin"]


def test_an_exception_leaves_the_file_before_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(b"old")
    with suppress(RuntimeError), written_whole(path, what="model") as file:
        file.write_bytes(b"half")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where a folder should be")
    path = tmp_path / "taken" / "model.bin"
    with (
        pytest.raises(EngineError, match=r"The model cannot be written to .*model\.bin"),
        written_whole(path, what="model"),
    ):
        pass

import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from closedloop.core.errors import EngineError, NotFound
from closedloop.data.event import Event, Kind, new_event_id, to_table
from closedloop.data.lake import Lake, Progress


def turns(*texts):
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return to_table(
        Event(event_id=new_event_id(), ts=now, tenant="a", kind=Kind.TURN, text=text)
        for text in texts
    )


def test_an_older_version_reads_as_it_was(tmp_path):
    lake = Lake(str(tmp_path))
    first = lake.append("turns", turns("one"))
    lake.append("turns", turns("two"))
    assert lake.read("turns", version=first)["text"].to_pylist() == ["one"]
    assert lake.count("turns") == 2


def test_one_append_is_one_commit(tmp_path):
    lake = Lake(str(tmp_path))
    assert [lake.append("turns", turns("a", "b", "c")) for _ in range(3)] == [0, 1, 2]


def test_a_batch_that_was_reached_is_left_out(tmp_path):
    lake = Lake(str(tmp_path))
    progress = Progress(writer="w", offset=7)
    lake.append("turns", turns("one"), progress=progress)
    lake.append("turns", turns("one"), progress=progress)
    assert lake.count("turns") == 1
    assert lake.reached("turns", "w") == 7
    assert lake.reached("turns", "other") == -1


def test_a_table_that_does_not_exist_yet_is_empty(tmp_path):
    lake = Lake(str(tmp_path))
    assert lake.read("labels").num_rows == 0
    assert lake.version("labels") == -1
    with pytest.raises(NotFound, match="closedloop ingest"):
        lake.files("turns")


def test_an_unknown_table_is_named(tmp_path):
    with pytest.raises(NotFound, match="no table 'turn'"):
        Lake(str(tmp_path)).read("turn")


def test_chinese_text_survives(tmp_path):
    lake = Lake(str(tmp_path / "有 空格"))
    lake.append("turns", turns("我要退款 🙏"))
    assert lake.read("turns")["text"].to_pylist() == ["我要退款 🙏"]
    assert all(Path(file).exists() for file in lake.files("turns"))


@pytest.fixture
def full_disk(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", place], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("this machine does not allow mounting a file system")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_is_named_and_nothing_is_half_written(full_disk):
    lake = Lake(str(full_disk / "lake"))
    lake.append("turns", turns("before"))
    big = turns(*(os.urandom(64).hex() for _ in range(20_000)))
    with pytest.raises(EngineError, match="no disk space left"):
        lake.append("turns", big)
    assert lake.read("turns")["text"].to_pylist() == ["before"]

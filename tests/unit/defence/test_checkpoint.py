import pytest

from closedloop.core.errors import Conflict, InputError
from closedloop.data.event_log.protocol import START
from closedloop.defence.checkpoint import Checkpoint, SavedTenant, SlotFiles, least


@pytest.fixture
def files(tmp_path):
    return SlotFiles(tmp_path / "slots", "log-1")


SAVED = SavedTenant(stream=b"\x00s", watch=b"w", told=((-5, "e1"), (7, "e2")), latest=12.5)


def test_a_slot_comes_back_as_it_was_written(files):
    made = Checkpoint(position={0: 17, 3: 4}, tenants={"shop": SAVED, "零售": SAVED})
    files.write(5, made)
    assert files.read(5) == made
    assert files.tenants(5) == {"shop": 12.5, "零售": 12.5}
    assert files.read(6) == Checkpoint()
    assert files.tenants(6) == {}


def test_a_slots_position_is_the_farther_of_its_own_and_its_shards(files):
    files.write(1, Checkpoint(position={0: 30}))
    files.write(2, Checkpoint(position={0: 10}))
    files.write_position(0, [1, 2, 3], {0: 20, 1: 2})
    files.write_position(1, [4], {0: 40})
    found = files.positions()
    assert [found[slot] for slot in (1, 2, 3, 4, 5)] == [
        {0: 30, 1: 2},
        {0: 20, 1: 2},
        {0: 20, 1: 2},
        {0: 40},
        START,
    ]


def test_what_no_slot_has_read_is_the_nearest_position():
    assert least([{0: 5, 1: 3}, {0: 4, 1: 9}]) == {0: 4, 1: 3}
    assert least([{0: 5}, START]) == START


def test_files_of_another_log_are_refused_with_what_to_do(files):
    files.write(1, Checkpoint(position={0: 30}))
    files.write_position(0, [2], {0: 20})
    other = SlotFiles(files.folder, "log-2")
    with pytest.raises(Conflict, match=r"another event log \(log-1\)") as refused:
        other.read(1)
    assert "rebuild" in refused.value.remedy
    with pytest.raises(Conflict, match="another event log"):
        other.positions()


@pytest.mark.parametrize("content", [b"", b"no Arrow file", b"ARROW1\x00\x00"])
def test_a_damaged_file_is_refused(files, content):
    files.write(1, Checkpoint())
    (files.folder / "slot-01.arrow").write_bytes(content)
    for ask in (files.read, files.tenants):
        with pytest.raises(InputError, match="cannot be read") as refused:
            ask(1)
        assert "rebuild" in refused.value.remedy


def test_a_damaged_position_is_refused(files):
    files.write_position(0, [2], {0: 20})
    (files.folder / "shard-0.json").write_text("{")
    with pytest.raises(InputError, match="shard-0"):
        files.positions()


def test_what_a_killed_process_left_half_written_is_swept(files):
    files.write(1, Checkpoint())
    files.write(2, Checkpoint())
    for name in (".slot-01-abc.arrow", ".slot-02-abc.arrow"):
        (files.folder / name).write_bytes(b"half")
    files.sweep([1])
    left = sorted(path.name for path in files.folder.iterdir())
    assert left == [".slot-02-abc.arrow", "slot-01.arrow", "slot-02.arrow"]


def test_all_can_be_forgotten(files):
    files.write(1, Checkpoint(position={0: 30}))
    files.write_position(0, [2], {0: 20})
    files.remove_all()
    assert set(map(len, files.positions().values())) == {0}

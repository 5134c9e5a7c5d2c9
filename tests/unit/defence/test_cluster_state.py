import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from closedloop.core.errors import InputError, NotFound
from closedloop.data.simulate.dialogues import simulate_turns
from closedloop.data.simulate.scenario import Scenario
from closedloop.defence.cluster_state import dump, load, open_saved, save
from closedloop.defence.stream_clusters import StreamClusters, StreamSettings

_SMALL = StreamSettings(
    micro_clusters=60, postings=8, terms=8, memory=50, patience=1.0, half_life=150.0
)
_TEXTS = [turn.text for turn in simulate_turns(Scenario(seed=9, turns=1_500))]


@pytest.fixture(scope="module")
def uninterrupted():
    stream = StreamClusters(_SMALL)
    return stream.add_all(_TEXTS), dump(stream)


@settings(max_examples=8)
@given(st.lists(st.integers(0, 1_500), min_size=1, max_size=5))
def test_a_stream_that_is_saved_and_loaded_goes_on_as_if_nothing_was(uninterrupted, stops):
    stream = StreamClusters(_SMALL)
    placed = []
    for begin, end in zip([0, *sorted(stops)], [*sorted(stops), 1_500], strict=True):
        stream = load(dump(stream))
        placed += stream.add_all(_TEXTS[begin:end])
    assert (placed, dump(stream)) == uninterrupted


def test_a_file_holds_the_state(tmp_path, uninterrupted):
    stream = load(uninterrupted[1])
    save(stream, tmp_path / "new" / "stream.arrow")
    again = open_saved(tmp_path / "new" / "stream.arrow")
    assert again.clusters() == stream.clusters()
    assert [entry.name for entry in (tmp_path / "new").iterdir()] == ["stream.arrow"]


def test_a_missing_file_is_not_found(tmp_path):
    with pytest.raises(NotFound, match=r"stream\.arrow"):
        open_saved(tmp_path / "stream.arrow")


@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b[:100], lambda b: b[len(b) // 2 :]])
def test_damaged_state_is_refused(uninterrupted, damage):
    with pytest.raises(InputError, match="cannot be read"):
        load(damage(uninterrupted[1]))

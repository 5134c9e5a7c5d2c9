"""Places of shards; tests/integration/test_postgres_store.py runs them on PostgreSQL, too."""

import threading

import pytest

from closedloop.core.errors import InputError
from closedloop.core.store import Store
from closedloop.defence.shard_figures import ShardFigures
from closedloop.defence.shards import Dealing, Replaced, Shards


@pytest.fixture
def store(tmp_path):
    store = Store.open(f"sqlite:///{tmp_path / 'store.db'}")
    yield store
    store.close()


@pytest.fixture
def shards(store):
    return Shards(store, clock=lambda: 1_000.0)


def test_nothing_is_dealt_before_anybody_did(shards):
    assert shards.dealing() == Dealing(epoch=0, shards=0, first_id=0)
    assert shards.reports() == []
    with pytest.raises(Replaced):
        shards.take(0, epoch=0)


def test_dealing_anew_ends_every_place_of_before(shards):
    first = shards.deal(1)
    place = shards.take(0, epoch=first.epoch)
    with place.held():
        pass
    assert shards.deal(2) == Dealing(epoch=2, shards=2, first_id=0)
    with pytest.raises(Replaced, match="shard 0"), place.held():
        pytest.fail("the place is another's")
    with pytest.raises(Replaced):
        place.report(ShardFigures())
    with pytest.raises(Replaced):
        shards.take(0, epoch=first.epoch)


def test_a_process_that_is_started_again_replaces_the_one_before(shards):
    epoch = shards.deal(1).epoch
    before, now = shards.take(0, epoch=epoch), shards.take(0, epoch=epoch)
    with pytest.raises(Replaced), before.held():
        pytest.fail("the place is another's")
    with now.held():
        pass


def test_a_place_cannot_be_taken_while_something_is_written(shards):
    epoch = shards.deal(1).epoch
    place = shards.take(0, epoch=epoch)
    taken = threading.Event()

    def take():
        shards.take(0, epoch=epoch)
        taken.set()

    other = threading.Thread(target=take)
    with place.held():
        other.start()
        assert not taken.wait(0.3)
    assert taken.wait(30)
    other.join()
    with pytest.raises(Replaced), place.held():
        pytest.fail("the place is another's")


def test_a_rebuild_begins_with_ids_that_no_issue_has(shards):
    assert shards.deal(3).first_id == 0
    first = shards.deal(3, rebuild=True).first_id
    assert first >= 1_000_000_000
    assert shards.deal(1).first_id == first
    assert shards.deal(1, rebuild=True).first_id == 2 * first


def test_a_shard_tells_how_it_stands(shards):
    epoch = shards.deal(2).epoch
    figures = ShardFigures(process_id=7, lag_events=12, problem="the disk is full")
    shards.take(1, epoch=epoch).report(figures)
    zero, one = shards.reports()
    assert (zero.shard, zero.reported_at, zero.figures) == (0, 0.0, ShardFigures())
    assert (one.shard, one.reported_at, one.figures) == (1, 1_000.0, figures)


def test_figures_of_a_later_release_are_passed_over():
    assert ShardFigures.from_json({"events": 3, "unheard_of": 1}) == ShardFigures(events=3)


def test_no_shards_cannot_be_dealt(shards):
    with pytest.raises(InputError, match="0 shards"):
        shards.deal(0)

"""``closedloop defence``: how the shards stand, without the platform running."""

import json

import pytest

from closedloop.core.settings import Settings
from closedloop.core.store import Store
from closedloop.defence.shard_figures import ShardFigures
from closedloop.defence.shards import Shards


@pytest.fixture
def shards(tmp_path):
    store = Store.open(Settings(home=tmp_path / "home", store="").store_url)
    yield Shards(store)
    store.close()


def test_before_the_first_start_it_says_how_to_start(closedloop):
    code, said = closedloop("defence", "status")
    assert code == 0
    assert "closedloop up" in said


def test_each_shard_is_shown_with_what_it_fails_for(closedloop, shards, tmp_path):
    epoch = shards.deal(3).epoch
    shards.take(0, epoch=epoch).report(
        ShardFigures(tenants=1_200, lag_events=34, lag_s=5.25, memory_bytes=300 << 20)
    )
    shards.take(1, epoch=epoch).report(ShardFigures(problem="The disk [is] full."))
    file = tmp_path / "status.json"
    code, said = closedloop("defence", "status", "--json", file)
    assert code == 0
    for told in (
        "1,200",
        "34 (5.2 s)",
        "300 MiB",
        "starting",
        "shard 1: The disk [is] full.",
    ):
        assert told in said
    written = json.loads(file.read_text())["shards"]
    assert [each["state"] for each in written] == ["works", "fails", "starting"]
    assert written[0]["lag_s"] == 5.25


def test_a_shard_that_says_nothing_any_more_shows(closedloop, shards, tmp_path):
    store = Store.open(Settings(home=tmp_path / "home", store="").store_url)
    long_ago = Shards(store, clock=lambda: 1_000.0)
    long_ago.take(0, epoch=shards.deal(1).epoch).report(ShardFigures())
    store.close()
    assert "silent for" in closedloop("defence", "status")[1]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("shards", 2), 8, "not running"),
        (("shards", 65), 2, "Give 1 to 64 shards"),
        (("rebuild", "--yes"), 8, "not running"),
    ],
)
def test_what_needs_the_platform_says_so(closedloop, words, code, said):
    told = closedloop("defence", *words)
    assert told[0] == code
    assert said in told[1]

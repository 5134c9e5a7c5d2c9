from closedloop.defence.shard_figures import ShardFigures
from closedloop.defence.shards import ShardReport
from closedloop.ui.app.defence_watch import said_of

NOW = 10_000.0


def report(shard: int = 0, ago: float = 1.0, **figures: object) -> ShardReport:
    return ShardReport(
        shard=shard,
        figures=ShardFigures(**figures),  # type: ignore[arg-type]
        reported_at=NOW - ago,
    )


def test_a_stream_that_nobody_watches_says_how_to_start() -> None:
    state = said_of([], now=NOW)
    assert not state.running
    assert "closedloop up" in state.remedy


def test_a_clusterer_that_fell_silent_is_told_with_the_time() -> None:
    state = said_of([report(ago=600.0)], now=NOW)
    assert not state.running
    assert state.sentence == "The stream clusterer does not run, for 10 minutes."


def test_one_that_has_not_said_anything_yet_does_not_run() -> None:
    state = said_of([report(ago=NOW)], now=NOW)
    assert state.sentence == "The stream clusterer does not run."


def test_figures_of_all_shards_are_added() -> None:
    state = said_of(
        [
            report(0, texts=1_000, tenants=2, events_per_s=10.4),
            report(1, texts=500, tenants=1, events_per_s=5.0, lag_s=90.0),
            report(2, ago=100.0),
        ],
        now=NOW,
    )
    assert state.running
    assert state.sentence == (
        "1,500 texts of 3 tenants watched since it started, 15 events a second now; "
        "1 of 3 shards do not answer; it is 90 seconds behind."
    )


def test_what_it_fails_for_is_told() -> None:
    state = said_of([report(problem="the disk is full")], now=NOW)
    assert not state.running
    assert "the disk is full" in state.sentence

"""A shard's life on a real store and log: failures are told and got over, a replacement ends it."""

import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from closedloop.core.settings import Settings
from closedloop.core.store import Store
from closedloop.data.event import Event, Kind
from closedloop.data.event_log.opening import open_event_log
from closedloop.defence.shard_figures import Rate
from closedloop.defence.shard_run import Pace, ShardRun
from closedloop.defence.shards import Shards
from closedloop.defence.tenant_stream import Watching

QUICK = Pace(idle_s=0.01, checkpoint_s=0.02, report_s=0.0, recent_s=0.02, first_retry_s=0.01)


class Watch:
    fails = 0

    def see(self, event, placement):
        if Watch.fails:
            Watch.fails -= 1
            raise RuntimeError(f"fails at {event.event_id}")

    def heed(self, feedback):
        del feedback

    def sightings(self, stream, *, now, known=(), parts=None):
        del stream, now, known, parts
        return []


WATCHING = Watching(new=Watch, dump=lambda _: b"", load=lambda _: Watch())


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path, store="", event_log="")


@pytest.fixture
def shards(settings):
    store = Store.open(settings.store_url)
    yield Shards(store)
    store.close()


@pytest.fixture
def log(settings):
    with closing(open_event_log(settings.event_log_url)) as opened:
        yield opened


def append(log, count, *, of="e"):
    begin = datetime(2026, 3, 1, tzinfo=UTC)
    log.append(
        [
            Event(
                event_id=f"{of}{n}",
                ts=begin + timedelta(seconds=n),
                tenant=f"tenant {n % 5}",
                kind=Kind.TURN,
                text=f"text {n % 7}",
            )
            for n in range(count)
        ]
    )


class Running:
    """A shard at work in a thread; what it tells can be waited for."""

    def __init__(self, settings, epoch, shard=0):
        self.told = []
        self._news = threading.Condition()
        self.shard = ShardRun(
            settings, shard=shard, epoch=epoch, watching=WATCHING, pace=QUICK, tell=self._tell
        )
        self.thread = threading.Thread(target=self.shard.run)

    def _tell(self, figures):
        with self._news:
            self.told.append(figures)
            self._news.notify_all()

    def wait_for(self, wanted):
        with self._news:
            assert self._news.wait_for(lambda: any(map(wanted, self.told)), timeout=60)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.shard.stop()
        self.thread.join(60)
        assert not self.thread.is_alive()


def test_it_reads_to_the_end_saves_and_tells(settings, shards, log):
    append(log, 2_500)
    with Running(settings, shards.deal(1).epoch) as running:
        running.wait_for(lambda f: f.texts == 2_500 and f.lag_events == 0)
        append(log, 100, of="later")
        running.wait_for(lambda f: f.texts == 2_600)
    (report,) = shards.reports()
    assert report.figures == running.shard.figures
    assert (report.figures.tenants, report.figures.lag_s, report.figures.problem) == (5, 0.0, "")
    assert report.figures.memory_bytes > 10_000_000
    assert report.figures.checkpoints >= 1
    assert log.committed("clusterer") == log.end()
    with Running(settings, shards.deal(1).epoch) as again:
        again.wait_for(lambda f: f.tenants == 5)
    assert again.shard.figures.texts == 0


def test_what_fails_is_told_and_tried_again_from_the_files(settings, shards, log, monkeypatch):
    append(log, 50)
    monkeypatch.setattr(Watch, "fails", 3)
    with Running(settings, shards.deal(1).epoch) as running:
        running.wait_for(lambda f: "RuntimeError: fails at e" in f.problem)
        running.wait_for(lambda f: f.texts == 50 and not f.problem)
    assert running.shard.figures.restarts == 3


def test_a_log_that_is_another_one_is_a_problem_that_is_shown(settings, shards, log):
    append(log, 50)
    with Running(settings, shards.deal(1).epoch) as running:
        running.wait_for(lambda f: f.texts == 50)
    other = settings.model_copy(update={"event_log": f"sqlite:///{settings.root}/other.db"})
    with Running(other, shards.deal(1).epoch) as running:
        running.wait_for(lambda f: "another event log" in f.problem)
        assert "another event log" in shards.reports()[0].figures.problem


def test_a_shard_that_was_replaced_ends_by_itself(settings, shards, log):
    epoch = shards.deal(1).epoch
    append(log, 50)
    with Running(settings, epoch) as former:
        former.wait_for(lambda f: f.texts == 50)
        with Running(settings, epoch) as latter:
            append(log, 10, of="later")
            former.thread.join(60)
            assert not former.thread.is_alive()
            assert "Another process" in former.shard.figures.problem
            latter.wait_for(lambda f: f.texts >= 10 and f.lag_events == 0)
    assert log.committed("clusterer") == log.end()


def test_the_rate_is_that_of_the_last_seconds():
    rate = Rate(over_s=2.0)
    assert rate.per_s == 0.0
    for second, total in enumerate((0, 0, 0, 50, 100)):
        rate.add(total, at=float(second))
    assert rate.per_s == 50.0

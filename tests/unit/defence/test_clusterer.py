"""A shard of the clusterer: what it clusters, and that no crash can be seen in what it ends as."""

import json
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from closedloop.core.errors import Conflict
from closedloop.data.event import Event, Kind
from closedloop.data.event_log.opening import open_event_log
from closedloop.data.event_log.protocol import Retention
from closedloop.data.event_log.sqlite import SqliteEventLog
from closedloop.defence.checkpoint import SlotFiles
from closedloop.defence.cluster_state import load
from closedloop.defence.clusterer import CONSUMER, Clusterer, ClustererSettings
from closedloop.defence.recent_traffic import RecentTraffic
from closedloop.defence.slots import SLOTS, dealt, slot_of
from closedloop.defence.stream_clusters import StreamSettings
from closedloop.defence.stream_texts import carries_text
from closedloop.defence.tenant_stream import Watching

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
TENANTS = ("linden", "shop", "零售", "bank")
SMALL = StreamSettings(micro_clusters=40, postings=8, terms=8, memory=50, patience=1.0)
_WORDS = ("coupon", "parcel", "refund", "invoice", "fails", "late", "where", "not", "优惠券失效")


class CountingWatch:
    """Sees an issue in each cluster of at least five texts."""

    def __init__(self, counts=(), downs=()):
        self.counts = dict(counts)
        self.downs = list(downs)

    def see(self, event, placement):
        self.counts[placement.micro] = self.counts.get(placement.micro, 0) + 1

    def heed(self, feedback):
        self.downs.append(feedback.refers_to)

    def sightings(self, stream, *, now, known=(), parts=None):
        found = {}
        for micro, count in self.counts.items():
            home = stream.lineage.cluster_of(micro)
            if home is not None:
                found[home] = found.get(home, 0) + count
        return [Seen(cluster, count, now) for cluster, count in found.items() if count >= 5]


class Seen:
    """As much of a sighting as a shard looks at."""

    absorbed = ()

    def __init__(self, cluster, texts, now):
        self.cluster, self.texts, self.now = cluster, texts, now


COUNTING = Watching(
    new=CountingWatch,
    dump=lambda watch: json.dumps([list(watch.counts.items()), watch.downs]).encode(),
    load=lambda content: CountingWatch(*json.loads(content)),
)


def stream_of(events, *, seed=0, tenants=TENANTS):
    """Return events: turns, predictions of several models, thumbs, and the assistant's words."""
    chance = Random(seed)
    made = []
    for number in range(events):
        tenant = chance.choice(tenants)
        event = Event(
            event_id=f"{seed}-{number}",
            ts=BEGIN + timedelta(seconds=number),
            tenant=tenant,
            kind=Kind.PREDICTION,
            text=" ".join(chance.sample(_WORDS, 4)),
            dialogue_id=f"d{number}",
            turn=1,
            channel="web",
            model=f"{tenant}.svm.intent",
            prediction="refund",
            confidence=0.5,
        )
        kind = chance.random()
        if kind < 0.15 and made:
            about = made[-1]
            event = Event(
                event_id=event.event_id,
                ts=event.ts,
                tenant=about.tenant,
                kind=Kind.FEEDBACK,
                feedback="down",
                refers_to=about.event_id,
            )
        elif kind < 0.25:
            event.attributes["role"] = "assistant"
        made.append(event)
    return made


def filled(path, events):
    """Return a log of events."""
    log = SqliteEventLog(path)
    log.append(events)
    return log


def state_of(folder):
    """Return what all slot files know, without their positions."""
    files = SlotFiles(folder, "any")
    files._check = lambda described, path: None
    return {slot: saved for slot in range(SLOTS) if (saved := dict(files.read(slot).tenants))}


class Board:
    """Keeps what it is told; may be told the same again."""

    def __init__(self):
        self.seen = {}

    def known(self, tenant):
        return [cluster for owner, cluster in self.seen if owner == tenant]

    def parts(self, tenant):
        return {}

    def tell(self, tenant, sightings, *, now):
        self.seen |= {(tenant, each.cluster): each.texts for each in sightings}


class Crash(Exception):
    """A kill, as a test can give it: nothing of the process goes on."""


class Crashing:
    """Raises at the n-th thing that leaves the process; before it happens, or after."""

    def __init__(self, at, *, after):
        self._at = at
        self._after = after
        self.done = 0

    def around(self, call):
        def called(*words, **more):
            self.done += 1
            if self.done == self._at and not self._after:
                raise Crash
            answer = call(*words, **more)
            if self.done == self._at:
                raise Crash
            return answer

        return called


class Shard:
    """A shard as a process has it: opened from the files, at work until it crashes."""

    def __init__(
        self, folder, log, *, board=None, slots=range(SLOTS), number=0, crash=None, **more
    ):
        self.board = board or Board()
        files = SlotFiles(folder / "slots", log.identity)
        recent = RecentTraffic(folder / "recent")
        if crash:
            files.write = crash.around(files.write)
            files.write_position = crash.around(files.write_position)
            recent.append = crash.around(recent.append)
            log = Logged(log, crash)
            told = Board()
            told.seen = self.board.seen
            told.tell = crash.around(self.board.tell)
            self.board = told
        self.clusterer = Clusterer(
            log=log,
            files=files,
            shard=number,
            slots=list(slots),
            watching=COUNTING,
            board=self.board,
            recent=recent,
            settings=ClustererSettings(
                page_events=70, board_pause_s=0.0, board_turn_s=60.0, board_share=1.0, **more
            ),
            stream=SMALL,
        )

    def run(self, *, checkpoint_each=3):
        pages = 0
        self.clusterer.tell()
        while self.clusterer.step():
            pages += 1
            self.clusterer.tell()
            if pages % checkpoint_each == 0:
                self.clusterer.checkpoint()
        self.clusterer.checkpoint()
        return self


class Logged:
    """A log whose commits may be the last thing that a process does."""

    def __init__(self, log, crash):
        self._log = log
        self.commit = crash.around(log.commit)

    def __getattr__(self, name):
        return getattr(self._log, name)


@pytest.fixture(scope="module")
def events():
    return stream_of(1_200)


@pytest.fixture
def log(tmp_path, events):
    with closing(filled(tmp_path / "events.db", events)) as opened:
        yield opened


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, events):
    folder = tmp_path_factory.mktemp("whole")
    with closing(filled(folder / "events.db", events)) as log:
        shard = Shard(folder, log).run()
    return folder, state_of(folder / "slots"), shard.board.seen


def recent_of(folder):
    recent = RecentTraffic(folder / "recent")
    return {
        tenant: recent.read(tenant, since=0.0).select("event_id", "micro").rows()
        for tenant in recent.tenants()
    }


def test_each_text_of_a_user_is_clustered_once(uninterrupted, events):
    folder, state, _ = uninterrupted
    texts = [event for event in events if carries_text(event)]
    assert 0 < len(texts) < len(events)
    assert {name for tenants in state.values() for name in tenants} == set(TENANTS)
    clustered = sum(
        load(saved.stream).texts for tenants in state.values() for saved in tenants.values()
    )
    assert clustered == len(texts)
    told = {event_id for rows in recent_of(folder).values() for event_id, _ in rows}
    assert told == {event.event_id for event in texts}


def test_thumbs_reach_the_watch(uninterrupted, events):
    _, state, _ = uninterrupted
    heard = [
        about
        for tenants in state.values()
        for saved in tenants.values()
        for about in COUNTING.load(saved.watch).downs
    ]
    assert len(heard) == sum(event.kind is Kind.FEEDBACK for event in events)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", [1, 2, 3, 5, 8, 13, 21])
def test_crashed_anywhere_and_opened_again_it_ends_the_same(
    tmp_path, log, uninterrupted, at, after
):
    """Each time a little farther on, until it comes through."""
    crash, crashes, board = Crashing(at, after=after), 0, Board()
    while True:
        try:
            Shard(tmp_path, log, board=board, crash=crash).run()
            break
        except Crash:
            crashes += 1
            crash = Crashing(at + 3 * crashes, after=after)
    assert crashes >= 2
    whole, state, seen = uninterrupted
    assert state_of(tmp_path / "slots") == state
    assert board.seen == seen
    assert recent_of(tmp_path) == recent_of(whole)


def test_shards_together_know_what_one_knows(tmp_path, log, uninterrupted):
    for number, slots in enumerate(dealt(3)):
        Shard(tmp_path, log, slots=slots, number=number).run()
    assert state_of(tmp_path / "slots") == uninterrupted[1]


def test_slots_that_move_between_shards_go_on_where_they_were(tmp_path, log, uninterrupted):
    for shards in (1, 2, 3, 2, 1):
        for number, slots in enumerate(dealt(shards)):
            shard = Shard(tmp_path, log, slots=slots, number=number)
            for _ in range(2 + number):  # some are ahead of others
                shard.clusterer.step()
            shard.clusterer.checkpoint()
    Shard(tmp_path, log).run()
    assert state_of(tmp_path / "slots") == uninterrupted[1]


@pytest.mark.parametrize("limit", ["most_tenants", "most_micros"])
def test_tenants_that_make_room_for_others_come_back_as_they_were(
    tmp_path, log, uninterrupted, limit
):
    shard = Shard(tmp_path, log, **{limit: 1}).run(checkpoint_each=1)
    assert shard.clusterer.counts().tenants_held == 1
    assert state_of(tmp_path / "slots") == uninterrupted[1]


def test_a_quiet_slot_does_not_hold_the_others_back(tmp_path, log):
    Shard(tmp_path, log).run()
    files = SlotFiles(tmp_path / "slots", log.identity)
    assert {dict(position)[0] for position in files.positions().values()} == {1_201}
    assert len(list(files.folder.glob("slot-*"))) == len({slot_of(name) for name in TENANTS})
    again = Shard(tmp_path, log).clusterer
    assert again.step() == 0


def test_the_log_keeps_what_the_slowest_shard_has_not_read(tmp_path, log):
    two = dealt(2)
    Shard(tmp_path, log, slots=two[0], number=0).run()
    assert log.committed(CONSUMER).get(0, 0) == 0
    slow = Shard(tmp_path, log, slots=two[1], number=1).clusterer
    slow.step()
    slow.checkpoint()
    assert log.committed(CONSUMER) == {0: 71}
    log.commit("lake", log.end())
    kept = log.retain(Retention(older_than_s=0.0))
    assert (kept.removed, kept.held_back_by) == (70, (CONSUMER,))


def test_events_that_are_gone_are_counted_and_passed_over(tmp_path, log):
    shard = Shard(tmp_path, log).clusterer
    shard.step()
    shard.checkpoint()
    for name in (CONSUMER, "lake"):
        log.commit(name, {0: 201})
    assert log.retain(Retention(older_than_s=0.0)).removed == 200
    assert shard.step() == 70
    assert shard.counts().missed == 130
    assert shard.counts().unread == 1_201 - 271


def test_a_log_that_lost_its_end_is_refused(tmp_path, log, events):
    Shard(tmp_path, log).run()
    with closing(filled(tmp_path / "restored.db", events[:600])) as shorter:
        shorter.identity = log.identity
        with pytest.raises(Conflict, match="lost its end") as refused:
            Shard(tmp_path, shorter)
    assert "rebuild" in refused.value.remedy


def test_another_log_is_refused(tmp_path, log, events):
    Shard(tmp_path, log).run()
    with (
        closing(filled(tmp_path / "other.db", events)) as other,
        pytest.raises(Conflict, match="another event log"),
    ):
        Shard(tmp_path, other)


def test_an_empty_log_is_waited_for(tmp_path, events):
    with closing(filled(tmp_path / "empty.db", [])) as log:
        shard = Shard(tmp_path, log).clusterer
        assert shard.step() == 0
        shard.checkpoint()
        assert shard.counts().unread == 0
        log.append(events[:10])
        assert shard.step() == 10


def test_new_issues_are_told_from_a_slot_that_is_saved(tmp_path, log):
    board = Board()
    states = []
    tell = board.tell

    def told(tenant, sightings, *, now):
        saved = SlotFiles(tmp_path / "slots", log.identity).read(slot_of(tenant)).tenants
        known = load(saved[tenant].stream).lineage if tenant in saved else None
        fresh = {each.cluster for each in sightings} - set(board.known(tenant))
        states.append(not fresh or (known is not None and max(fresh) < known.next_id))
        tell(tenant, sightings, now=now)

    board.tell = told
    Shard(tmp_path, log, board=board).run(checkpoint_each=1_000)
    assert len(states) > 5
    assert all(states)


def test_what_was_saved_and_not_told_is_told_by_the_next_process(tmp_path, log):
    killed = Shard(tmp_path, log)
    while killed.clusterer.step():
        pass
    killed.clusterer.checkpoint()
    following = Shard(tmp_path, log)
    following.clusterer.tell()
    killed.clusterer.tell()  # what it would have said
    assert following.board.seen == killed.board.seen
    assert {tenant for tenant, _ in following.board.seen} == set(TENANTS)


def test_who_was_replaced_writes_nothing_any_more(tmp_path, log):
    class Replacement(Conflict):
        pass

    replaced = False

    @contextmanager
    def held():
        if replaced:
            raise Replacement("replaced")
        yield

    shard = Clusterer(
        log=log,
        files=SlotFiles(tmp_path / "slots", log.identity),
        shard=0,
        slots=range(SLOTS),
        watching=COUNTING,
        held=held,
        stream=SMALL,
        settings=ClustererSettings(page_events=100),
    )
    shard.step()
    shard.checkpoint()
    before = state_of(tmp_path / "slots")
    shard.step()
    replaced = True
    with pytest.raises(Replacement):
        shard.checkpoint()
    assert state_of(tmp_path / "slots") == before
    assert log.committed(CONSUMER) == {0: 101}


@pytest.mark.parametrize("kind", ["sqlite", "kafka"])
def test_every_log_is_read_to_its_end_and_each_event_counts_once(
    tmp_path, new_log_url, kind, events
):
    url = new_log_url(kind)
    with closing(open_event_log(url)) as log:
        log.append(events)
        shard = Shard(tmp_path, log).clusterer
        for _ in range(4):
            shard.step()
        shard.checkpoint()
        shard.step()  # lost
        Shard(tmp_path, log).run()
        state = state_of(tmp_path / "slots")
    texts = sum(
        load(saved.stream).texts for tenants in state.values() for saved in tenants.values()
    )
    assert texts == sum(map(carries_text, events))

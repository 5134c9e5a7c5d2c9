"""What is kept of texts, intents and what came last."""

from datetime import UTC, datetime, timedelta

from closedloop.data.event import Event, Kind
from closedloop.defence.issues.evidence import CHANNEL, FEEDBACK, INTENT, Evidence
from closedloop.defence.issues.known_intents import KnownIntents
from closedloop.defence.issues.recent import Recent

START = datetime(2026, 11, 2, tzinfo=UTC)


def _event(number, minutes=0.0, **fields):
    ts = START + timedelta(minutes=minutes)
    return Event(
        event_id=f"e{number}", ts=ts, tenant="shop", kind=Kind.TURN, text=f"text {number}", **fields
    )


def test_the_last_texts_of_each_micro_cluster_are_kept_the_newest_first():
    evidence = Evidence(each=3)
    for n in range(10):
        event = _event(n, minutes=n)
        evidence.note(event, n % 2, event.ts.timestamp())
    assert [[said.event_id for said in each] for each in evidence.texts([0, 1, 99])] == [
        ["e8", "e6", "e4"],
        ["e9", "e7", "e5"],
    ]


def test_counts_are_of_the_present_and_the_last_hour():
    evidence = Evidence(each=3)
    for n, minutes in enumerate((0, 30, 70, 75)):
        event = _event(n, minutes, channel="web" if n % 2 else "app", prediction="refund")
        evidence.note(event, 5, event.ts.timestamp())
    evidence.rate(5, "down", (START + timedelta(minutes=76)).timestamp())
    evidence.rate(6, "down", 0.0)
    counts = evidence.counts([5, 6])
    assert counts[CHANNEL] == {"app": 2, "web": 2}
    assert counts[INTENT] == {"refund": 4}
    assert counts[FEEDBACK] == {"down": 1}
    late = _event(9, minutes=200)
    evidence.note(late, 5, late.ts.timestamp())
    assert evidence.counts([5])[CHANNEL] == {}


def test_free_text_answers_do_not_fill_the_memory():
    evidence = Evidence(each=1)
    for n in range(6_000):
        evidence.note(_event(n, prediction=f"answer {n}"), n % 7, 0.0)
    assert len(evidence.names) <= 5_001
    assert evidence.counts(range(7))[INTENT]["other"] == 1_000


def test_forgotten_micro_clusters_leave_nothing():
    evidence = Evidence(each=1)
    evidence.note(_event(1), 5, 0.0)
    evidence.forget([5, 6])
    assert evidence.texts([5]) == []


def test_novelty_is_low_in_the_words_of_a_known_intent_and_high_in_new_ones():
    known = KnownIntents(intents=10, terms=16)
    for n in range(500):
        known.learn("refund", f"where is my refund number{n}")
        known.learn("parcel", f"my parcel is late number{n}")
    frequency = dict.fromkeys(("refund", "parcel", "where", "late"), 50.0)
    frequency |= {"my": 90.0, "is": 90.0}
    old = known.novelty([["where", "is", "my", "refund"]] * 5, frequency, 100.0)
    new = known.novelty([["lucky", "wheel", "is", "rigged"]] * 5, frequency, 100.0)
    assert old < 0.5 < 0.8 < new
    assert all(len(words) <= 32 for words in known.words.values())


def test_novelty_is_unknown_where_no_intent_is():
    assert KnownIntents(intents=10, terms=16).novelty([["refund"]], {}, 1.0) is None


def test_intents_beyond_the_limit_are_not_learnt():
    known = KnownIntents(intents=2, terms=16)
    for name in ("a", "b", "c"):
        known.learn(name, "text")
    assert known.words.keys() == {"a", "b"}


def test_recent_keys_are_remembered_and_old_ones_are_not():
    memory = Recent(limit=100)
    for n in range(1_000):
        memory.put(f"k{n}", n)
    assert all(memory.get(f"k{n}") == n for n in range(900, 1_000))
    assert memory.get("k700") is None
    assert len(memory.newer) + len(memory.older) <= 200

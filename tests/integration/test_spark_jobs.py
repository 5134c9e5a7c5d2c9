"""The Spark jobs on both engines: plain local Spark and RayDP inside the Ray cluster."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from closedloop.data.event import SCHEMA as EVENT_SCHEMA
from closedloop.data.event import Event, Kind, derived_event_id, to_table
from closedloop.data.interaction import SCHEMA as INTERACTION_SCHEMA
from closedloop.data.jobs.bad_cases import BAD_CASES_SCHEMA, bad_cases
from closedloop.data.jobs.daily import DAILY_SCHEMA, daily
from closedloop.data.jobs.dialogues import DIALOGUES_SCHEMA, dialogues
from closedloop.data.jobs.features import DIMENSIONS, FEATURES_SCHEMA, features
from closedloop.data.jobs.interactions import interactions
from closedloop.data.jobs.samples import SAMPLES_SCHEMA, distinct_samples, read_events
from closedloop.data.jobs.sessionise import sessionise
from closedloop.data.jobs.topics import with_topics
from closedloop.data.lake import Lake
from closedloop.data.spark import Engine, collect, spark_session

START = datetime(2026, 1, 1, tzinfo=UTC)
TEXTS = [
    ("Where is my parcel", "u1"),
    ("where  is my PARCEL ", "u2"),  # the same sample
    ("我要退款", "u1"),
    ("…!?", "u3"),  # no word in it: not a sample
    *((f"refund of order number {i % 7} please {i}", "u4") for i in range(40)),
]


def event(place, kind, **values):
    ts = START + timedelta(seconds=place)
    return Event(
        event_id=derived_event_id(ts, kind.value, str(place)),
        ts=ts,
        tenant="shop",
        kind=kind,
        **values,
    )


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    lake = Lake(str(tmp_path_factory.mktemp("lake")))
    turns = [
        event(i, Kind.TURN, text=text, user_id=user, attributes={"label": "a"} if i == 0 else {})
        for i, (text, user) in enumerate(TEXTS)
    ]
    lake.append("turns", to_table(turns[:20]))
    lake.append("turns", to_table(turns[20:]))

    def answered(place, version, text, prediction):
        return event(
            place,
            Kind.PREDICTION,
            model="shop.intent.main",
            model_version=version,
            text=text,
            prediction=prediction,
            confidence=0.5,
        )

    predictions = [
        answered(0, 1, "late parcel", "refund"),
        answered(1, 1, "late parcel", "refund"),
        answered(2, 1, "hello", "greet"),
        answered(3, 2, "late parcel", "track"),
        answered(4, 1, "change of mind", "refund"),
    ]
    lake.append("predictions", to_table(predictions))

    def rated(place, prediction, thumb):
        return event(
            place, Kind.FEEDBACK, refers_to=predictions[prediction].event_id, feedback=thumb
        )

    feedback = [
        rated(10, 0, "down"),
        rated(11, 1, "down"),
        rated(12, 2, "up"),
        rated(13, 4, "down"),
        rated(14, 4, "up"),  # the same user thought again
    ]
    lake.append("feedback", to_table(feedback))
    return lake


def said(place, text, *, dialogue=None, turn=None, user="u1", **values):
    return event(
        place,
        Kind.TURN,
        text=text,
        dialogue_id=dialogue,
        turn=turn,
        user_id=user,
        channel="web",
        **values,
    )


def told(place, text, *, dialogue, turn, intent="track", confidence=0.9, **values):
    return event(
        place,
        Kind.PREDICTION,
        text=text,
        dialogue_id=dialogue,
        turn=turn,
        user_id="u1",
        channel="web",
        model="shop.intent.main",
        model_version=2,
        prediction=intent,
        confidence=confidence,
        latency_ms=float(place),
        **values,
    )


@pytest.fixture(scope="module")
def talks(tmp_path_factory):
    """Dialogues in which each signal is given once, and nearly given."""
    lake = Lake(str(tmp_path_factory.mktemp("talks")))
    predictions = [
        # Said again in other words; then with low confidence, and a human is asked for.
        told(0, "Where is my parcel?", dialogue="again", turn=0),
        told(20, "where is my parcel, it is late", dialogue="again", turn=1, confidence=0.3),
        told(40, "转人工", dialogue="again", turn=2, intent="talk"),
        # Typed twice: not in other words. Another thing: not the same.
        told(0, "refund please", dialogue="twice", turn=1),
        told(10, "Refund, please!", dialogue="twice", turn=2),
        told(20, "what about shoes", dialogue="twice", turn=3),
        # Left without a word; with a word of thanks; happy after all.
        told(0, "我要退款", dialogue="left", turn=1, confidence=0.2),
        told(0, "好的谢谢", dialogue="thanks", turn=1, confidence=0.2),
        told(1, "where is it", dialogue="happy", turn=1),
        told(2, "where is it", dialogue="angry", turn=1, attributes={"region": "north"}),
        # Two models answer one turn.
        told(0, "hello there", dialogue="two", turn=1),
        told(1, "hello there", dialogue="two", turn=1, intent="greet"),
        told(9, "human please", dialogue="two", turn=2),
        told(60, "and the colour", dialogue="logged", turn=2),
        # Decided by a keyword rule: what is wrong with it is no fault of the model.
        told(3, "coupon of the night", dialogue="ruled", turn=1, rule_id="r1"),
    ]
    happy, angry = predictions[8:10]
    feedback = [
        event(30, Kind.FEEDBACK, refers_to=happy.event_id, feedback="down"),
        event(31, Kind.FEEDBACK, refers_to=happy.event_id, feedback="up"),
        event(32, Kind.FEEDBACK, refers_to=angry.event_id, feedback="down"),
        event(33, Kind.FEEDBACK, refers_to=predictions[-1].event_id, feedback="down"),
    ]
    turns = [
        said(50, "is it in stock", dialogue="logged", turn=1, attributes={"merchant": "m1"}),
        said(59, "and the colour", dialogue="logged", turn=2, attributes={"merchant": "m2"}),
        said(61, "Blue.", dialogue="logged", turn=3, attributes={"role": "assistant"}),
        # Without a dialogue: two sessions of one user, and nobody's turn.
        said(0, "one", user="u9"),
        said(600, "two", user="u9"),
        said(600 + 1801, "three", user="u9"),
        said(601, "four", user=None),
    ]
    lake.append("predictions", to_table(predictions))
    lake.append("feedback", to_table(feedback))
    lake.append("turns", to_table(turns))
    return lake


@pytest.fixture(scope="module", params=[Engine.LOCAL, Engine.RAY])
def results(request, lake, talks):
    """What each engine makes of the same lake."""
    engine = request.param
    if engine is Engine.RAY:
        request.getfixturevalue("ray_cluster")
    with spark_session(engine) as session:
        samples = distinct_samples(read_events(session, lake.files("turns")))
        cases = bad_cases(
            read_events(session, lake.files("predictions")),
            read_events(session, lake.files("feedback")),
        )
        turns, predictions, feedback = (
            read_events(session, talks.files(table))
            for table in ("turns", "predictions", "feedback")
        )
        rows = interactions(turns, predictions, feedback).orderBy("event_id").cache()
        made = {
            "sessions": (sessionise(turns).orderBy("event_id"), EVENT_SCHEMA),
            "interactions": (rows, INTERACTION_SCHEMA),
            "dialogues": (dialogues(rows).orderBy("dialogue_id"), DIALOGUES_SCHEMA),
            "daily": (daily(rows).orderBy("channel", "model", "intent"), DAILY_SCHEMA),
            "features": (features(rows).orderBy("dialogue_id"), FEATURES_SCHEMA),
        }
        return {name: collect(frame, engine, schema) for name, (frame, schema) in made.items()} | {
            "samples": collect(with_topics(samples, topics=3), engine, SAMPLES_SCHEMA),
            "bad cases": collect(cases, engine, BAD_CASES_SCHEMA),
        }


pytestmark = [pytest.mark.spark, pytest.mark.ray]
KEPT: dict[str, dict[str, list]] = {}  # results of the engine that came first


def test_equal_texts_are_one_sample(results):
    samples = results["samples"].to_pylist()
    assert len(samples) == 42
    first, second = samples[:2]
    assert (first["text"], first["asked"], first["users"]) == ("Where is my parcel", 2, 2)
    assert (first["label"], first["language"]) == ("a", "en")
    assert (second["text"], second["language"], second["label"]) == ("我要退款", "zh", None)


def test_every_sample_has_a_topic(results):
    assert set(results["samples"]["topic"].to_pylist()) <= {0, 1, 2}


def test_bad_cases_are_attributed_to_the_version_that_answered(results):
    [case] = results["bad cases"].to_pylist()
    assert (case["text"], case["model_version"]) == ("late parcel", 1)
    assert (case["dislikes"], case["likes"], case["asked"]) == (2, 0, 2)


def signals(results, dialogue):
    """The signals of a dialogue's turns, in order, by their initials."""
    rows = [r for r in results["interactions"].to_pylist() if r["dialogue_id"] == dialogue]
    rows.sort(key=lambda r: (r["turn"], r["event_id"]))
    names = ("rephrased", "handover", "abandoned", "low_confidence", "bad")
    return ["".join(name[0] for name in names if row[name]) for row in rows]


def test_implicit_signals_stay_within_the_dialogue(results):
    assert signals(results, "again") == ["rb", "hlb", ""]
    assert signals(results, "twice") == ["", "", ""]
    assert signals(results, "left") == ["alb"]
    assert signals(results, "thanks") == ["lb"]
    assert signals(results, "two") == ["hb", "hb", ""]


def test_the_last_word_of_feedback_counts(results):
    assert signals(results, "happy") == [""]
    assert signals(results, "angry") == ["ab"]
    rows = {r["dialogue_id"]: r for r in results["interactions"].to_pylist()}
    assert (rows["happy"]["feedback"], rows["angry"]["feedback"]) == ("up", "down")
    assert (rows["angry"]["region"], rows["angry"]["attributes"]) == ("north", [])


def test_an_answered_turn_is_one_interaction(results):
    rows = [r for r in results["interactions"].to_pylist() if r["dialogue_id"] == "logged"]
    rows.sort(key=lambda r: r["turn"])
    assert [(r["model"], r["merchant"]) for r in rows] == [(None, "m1"), ("shop.intent.main", "m2")]
    assert {r["language"] for r in rows} == {"en"}


def test_turns_without_a_dialogue_become_sessions(results):
    sessions = {r["text"]: r["dialogue_id"] for r in results["sessions"].to_pylist()}
    ids = {r["text"]: r["event_id"] for r in results["sessions"].to_pylist()}
    assert sessions["one"] == sessions["two"] == f"s-{ids['one']}"
    assert sessions["three"] == f"s-{ids['three']}"
    assert sessions["four"] == f"s-{ids['four']}"
    assert sessions["is it in stock"] == "logged"


def test_a_dialogue_is_summed_up(results):
    found = {r["dialogue_id"]: r for r in results["dialogues"].to_pylist()}
    again = found["again"]
    assert (again["turns"], again["bad_turns"], again["handover"]) == (3, 2, True)
    assert (again["first_intent"], again["last_intent"]) == ("track", "talk")
    assert (again["ended"] - again["started"]).total_seconds() == 40
    assert (found["two"]["turns"], found["two"]["models"]) == (2, ["shop.intent.main"])
    assert (found["angry"]["disliked"], found["angry"]["abandoned"]) == (1, True)
    assert found["logged"]["turns"] == 2


def test_daily_figures_are_exact(results):
    [track] = [r for r in results["daily"].to_pylist() if r["intent"] == "track"]
    rows = [r for r in results["interactions"].to_pylist() if r["intent"] == "track"]
    assert (track["turns"], track["users"], track["disliked"]) == (len(rows), 1, 2)
    assert track["bad"] == sum(r["bad"] for r in rows)
    assert track["mean_confidence"] == pytest.approx(sum(r["confidence"] for r in rows) / len(rows))
    latencies = [r["latency_ms"] for r in rows]
    assert track["p95_latency_ms"] == pytest.approx(np.percentile(latencies, 95))
    [unanswered] = [r for r in results["daily"].to_pylist() if r["model"] is None]
    assert (unanswered["turns"], unanswered["users"]) == (5, 2)
    assert unanswered["mean_confidence"] is None


def test_feature_vectors_have_length_one(results):
    vectors = np.array(results["features"]["vector"].to_pylist())
    assert vectors.shape == (results["dialogues"].num_rows, DIMENSIONS)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-6)


def test_both_engines_give_the_same(results):
    found = {name: table.to_pylist() for name, table in results.items()}
    assert KEPT.setdefault("first", found) == found


def test_a_task_may_answer_with_megabytes():
    with spark_session(Engine.LOCAL) as session:
        # Above 1 MiB the driver fetches a task's result from the block server, by its address.
        rows = session.range(0, 400_000, numPartitions=1)._collect_as_arrow()
    assert sum(batch.num_rows for batch in rows) == 400_000

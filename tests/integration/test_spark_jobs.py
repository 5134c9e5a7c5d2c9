"""The Spark jobs on both engines: plain local Spark and RayDP inside the Ray cluster."""

from datetime import UTC, datetime, timedelta

import pytest

from closedloop.data.event import Event, Kind, derived_event_id, to_table
from closedloop.data.jobs.bad_cases import BAD_CASES_SCHEMA, bad_cases
from closedloop.data.jobs.samples import SAMPLES_SCHEMA, distinct_samples, read_events
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


@pytest.fixture(scope="module", params=[Engine.LOCAL, Engine.RAY])
def results(request, lake):
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
        return {
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


def test_both_engines_give_the_same(results):
    found = {name: table.to_pylist() for name, table in results.items()}
    assert KEPT.setdefault("first", found) == found

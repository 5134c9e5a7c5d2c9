"""Samples do not depend on how the stream is cut, and have the shares that they promise."""

import subprocess
import sys
from collections import Counter
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from closedloop.core.errors import InputError
from closedloop.samples.slice_sample import Pool, Sampling, Shares, Weight


def rows(texts, **columns):
    count = len(texts)
    frame = pl.DataFrame(
        {
            "event_id": [f"e{i:05}" for i in range(count)],
            "ts": list(range(count)),
            "text": texts,
            "confidence": [0.5] * count,
            "feedback": pl.Series([None] * count, dtype=pl.String),
            **dict.fromkeys(
                ("rephrased", "handover", "abandoned", "low_confidence"), [False] * count
            ),
        }
    )
    return frame.with_columns(pl.Series(name, values) for name, values in columns.items())


def draw(frame, sampling, *, cuts=(), known=()):
    pool = Pool(sampling, known=known)
    edges = [0, *sorted(cuts), frame.height]
    for start, end in pairwise(edges):
        pool.take_in(frame.slice(start, end - start).lazy())
    return pool


def texts_of(pool):
    return [row["text"] for row in pool.drawn()]


MIXED = rows(
    [f"text {i * i % 83}" for i in range(300)],
    intent=[None if i % 9 == 0 else f"i{i * i % 7}" for i in range(300)],
    confidence=[None if i % 11 == 0 else i % 10 / 10 for i in range(300)],
    rephrased=[i % 4 == 0 for i in range(300)],
)


@given(
    cuts=st.lists(st.integers(0, 300), max_size=5),
    count=st.integers(1, 100),
    weight=st.sampled_from(Weight),
    shares=st.sampled_from(Shares),
    by=st.sampled_from(["", "intent"]),
    seed=st.integers(-3, 3),
)
@settings(max_examples=60)
def test_the_sample_is_the_same_however_the_stream_is_cut(cuts, count, weight, shares, by, seed):
    sampling = Sampling(count=count, weight=weight, by=by, shares=shares, seed=seed)
    whole = draw(MIXED, sampling)
    drawn = texts_of(whole)
    assert texts_of(draw(MIXED, sampling, cuts=cuts)) == drawn
    assert len(set(drawn)) == len(drawn) == min(count, MIXED["text"].n_unique())
    assert whole.turns == 300


def test_texts_that_differ_in_case_and_spacing_are_one():
    frame = rows(["Where is it?", "where  is it? ", "\u3000WHERE IS IT?", "", "  ", "退款"])
    pool = draw(frame, Sampling(count=10))
    assert set(texts_of(pool)) == {"退款", "\u3000WHERE IS IT?"}  # the latest stands for all
    assert pool.turns == 4


def test_known_texts_are_counted_and_never_drawn():
    frame = rows([f"text {i % 10}" for i in range(50)])
    pool = draw(frame, Sampling(count=100), known=["text 3", "text 7", "another"], cuts=[20])
    assert len(texts_of(pool)) == 8
    assert pool.known == 2


def test_every_text_is_as_likely_as_another_whatever_its_frequency():
    frame = rows(["often"] * 90 + [f"rare {i}" for i in range(9)])
    found = Counter(
        text for seed in range(400) for text in texts_of(draw(frame, Sampling(count=2, seed=seed)))
    )
    # 800 draws of 10 texts: 80 each, standard deviation 8; the seeds are fixed.
    assert len(found) == 10
    assert all(48 < count < 112 for count in found.values())


def test_frequent_texts_come_first_where_asked_for():
    frame = rows(["often"] * 90 + [f"rare {i}" for i in range(10)])
    sampling = [Sampling(count=1, weight=Weight.FREQUENT, seed=seed) for seed in range(200)]
    often = sum(texts_of(draw(frame, each)) == ["often"] for each in sampling)
    assert 160 < often < 197  # nine in ten: 180, standard deviation 4.2


def test_weights_decide_how_often_an_unsure_answer_is_drawn():
    frame = rows(["unsure", "sure"], confidence=[0.25, 0.75])
    sampling = [Sampling(count=1, weight=Weight.UNSURE, seed=seed) for seed in range(400)]
    unsure = sum(texts_of(draw(frame, each)) == ["unsure"] for each in sampling)
    assert 265 < unsure < 335  # three in four: 300, standard deviation 8.7


def test_a_bad_turn_is_drawn_before_fifty_good_ones_most_of_the_time():
    frame = rows(
        [f"text {i}" for i in range(21)],
        feedback=["down"] + [None] * 20,
        rephrased=[True] + [False] * 20,
        handover=[True] + [False] * 20,
        abandoned=[True] + [False] * 20,
        low_confidence=[True] + [False] * 20,
    )
    sampling = [Sampling(count=1, weight=Weight.BAD, seed=seed) for seed in range(200)]
    bad = sum(texts_of(draw(frame, each)) == ["text 0"] for each in sampling)
    assert 115 < bad < 170  # 1 / (1 + 20 · 0.02) = 0.71


INTENTS = ["a"] * 60 + ["b"] * 30 + ["c"] * 10
BY_INTENT = rows([f"text {i}" for i in range(100)], intent=INTENTS)


@pytest.mark.parametrize(
    ("shares", "count", "expected"),
    [
        (Shares.EQUAL, 30, {"a": 10, "b": 10, "c": 10}),
        (Shares.PROPORTIONAL, 30, {"a": 18, "b": 9, "c": 3}),
        (Shares.EQUAL, 60, {"a": 25, "b": 25, "c": 10}),  # c has no more: the others take them
        (Shares.EQUAL, 2, {"a": 1, "b": 1}),
        (Shares.PROPORTIONAL, 500, {"a": 60, "b": 30, "c": 10}),
    ],
)
def test_strata_get_their_shares(shares, count, expected):
    sampling = Sampling(count=count, by="intent", shares=shares)
    drawn = Counter(row["intent"] for row in draw(BY_INTENT, sampling, cuts=[50]).drawn())
    assert drawn == expected


def test_turns_without_a_value_are_a_stratum():
    frame = rows(["x", "y", "z"], intent=["a", None, None])
    drawn = draw(frame, Sampling(count=2, by="intent")).drawn()
    assert sorted(str(row["intent"]) for row in drawn) == ["None", "a"]


def test_a_text_in_two_strata_is_drawn_once_and_the_places_are_filled():
    frame = rows(["same", "same", "one", "two"], intent=["a", "b", "a", "b"])
    assert sorted(texts_of(draw(frame, Sampling(count=3, by="intent")))) == ["one", "same", "two"]


def test_the_pool_holds_no_more_than_it_may_draw():
    pool = draw(MIXED, Sampling(count=4, by="intent"), cuts=range(0, 300, 10))
    assert pool._rows.height <= 4 * 8


def test_another_process_draws_the_same():
    code = (
        "import polars as pl; from closedloop.samples.slice_sample import *\n"
        "pool = Pool(Sampling(count=3, seed=5), known=())\n"
        "texts = [f'text {i}' for i in range(50)]\n"
        "pool.take_in(pl.LazyFrame({'event_id': texts, 'ts': range(50), 'text': texts}))\n"
        "print([row['text'] for row in pool.drawn()])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    frame = rows([f"text {i}" for i in range(50)])
    assert said.stdout.strip() == str(texts_of(draw(frame, Sampling(count=3, seed=5))))


def test_bad_counts_and_too_many_strata_are_refused():
    with pytest.raises(InputError, match="0 texts"):
        Sampling(count=0)
    frame = rows([f"text {i}" for i in range(1001)], merchant=[f"m{i}" for i in range(1001)])
    with pytest.raises(InputError, match="too many strata"):
        draw(frame, Sampling(count=5, by="merchant"))


def test_nothing_comes_of_nothing():
    assert draw(rows(["x"]).clear(), Sampling(count=5)).drawn() == []
    assert Pool(Sampling(count=5), known=()).drawn() == []

"""Segments answer as a plain scan does, whatever the filter."""

from datetime import UTC, datetime

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from closedloop.data.cube import index_answer, scan_answer
from closedloop.data.cube.cube import _finished
from closedloop.data.cube.declaration import FLAGS, CubeDeclaration, Dimension
from closedloop.data.cube.dictionary import Dictionaries
from closedloop.data.cube.filters import And, In, IsNull, Not, Or, Prefix, Range
from closedloop.data.cube.query import Query
from closedloop.data.cube.refresh import build_segment, survey
from closedloop.data.cube.segment import Segment
from closedloop.data.interaction import SCHEMA

DECLARATION = CubeDeclaration(
    dimensions=(
        Dimension(name="tenant"),
        Dimension(name="channel"),
        Dimension(name="version", source="model_version"),
        Dimension(name="merchant", indexed=True),
        Dimension(name="campaign", source="attributes.campaign", indexed=True),
    ),
    cuboids=(),
)
DAYS = ("2026-09-30", "2026-10-01", "2026-10-02")


def a_day(day: str, rows: int) -> pa.Table:
    start = datetime.fromisoformat(day).replace(tzinfo=UTC)
    place = range(rows)
    return pa.Table.from_pylist(
        [
            {
                "event_id": f"{day}-{i}",
                "ts": start.replace(hour=i * 7 % 24),
                "tenant": ("shop", "商城", "bank")[i % 3],
                "channel": None if i % 11 == 0 else ("app", "web")[i % 2],
                "user_id": None if i % 13 == 0 else f"u{i * i % 17}",
                "model_version": None if i % 7 == 0 else i % 4,
                "confidence": None if i % 5 == 0 else i % 10 / 10,
                "merchant": None if i % 6 == 0 else f"{'mn'[i % 2]}{i * i % 29}",
                "attributes": [] if i % 4 == 0 else [("campaign", f"c{i % 5}"), ("other", "x")],
                **{flag: (i * (k + 3)) % 5 == 0 for k, flag in enumerate(FLAGS)},
            }
            for i in place
        ],
        schema=SCHEMA,
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    root = tmp_path_factory.mktemp("cube 立方")
    files = {}
    for place, day in enumerate(DAYS):
        files[day] = str(root / f"{day}.parquet")
        table = a_day(day, 120 + place * 40)
        pl.DataFrame(pl.from_arrow(table)).write_parquet(files[day])
        survey([files[day]], DECLARATION, root / "survey" / day)
    dictionaries = Dictionaries(root / "dictionaries", DECLARATION)
    dictionaries.take_in(root / "survey" / day for day in DAYS)
    for day in DAYS:
        build_segment([files[day]], DECLARATION, root / "dictionaries", root / day)
    segments = [Segment(root / day, day) for day in DAYS]
    return segments, dictionaries, list(files.values())


names = st.sampled_from(["m0", "m1", "n1", "m4", "n25", "nobody"])
leaves = st.one_of(
    st.builds(lambda v: In(field="merchant", values=tuple(v)), st.lists(names, max_size=4)),
    st.builds(lambda v: In(field="tenant", values=(v,)), st.sampled_from(["shop", "商城"])),
    st.builds(lambda v: In(field="campaign", values=(v,)), st.sampled_from(["c1", "c3"])),
    st.builds(lambda v: In(field="bad", values=(v,)), st.booleans()),
    st.builds(lambda f: IsNull(field=f), st.sampled_from(["merchant", "channel", "campaign"])),
    st.builds(lambda p: Prefix(field="merchant", prefix=p), st.sampled_from(["m1", "n", ""])),
    st.builds(lambda n: Range(field="version", low=n), st.integers(0, 4)),
    st.builds(lambda n: Range(field="hour", low=n, high=n + 8), st.integers(0, 20)),
    st.builds(lambda d: Range(field="day", low=d), st.sampled_from(DAYS)),
    st.builds(lambda m: In(field="month", values=(m,)), st.sampled_from(["2026-09", "2026-11"])),
)
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(lambda parts: And(all_of=tuple(parts)), st.lists(inner, max_size=3)),
        st.builds(lambda parts: Or(any_of=tuple(parts)), st.lists(inner, max_size=3)),
        st.builds(lambda part: Not(part=part), inner),
    ),
    max_leaves=10,
)
groups = st.lists(
    st.sampled_from(
        ["day", "month", "hour", "tenant", "channel", "version", "merchant", "campaign"]
    ),
    max_size=3,
    unique=True,
)


@settings(max_examples=150)
@given(tree=trees, by=groups)
def test_segments_and_scan_agree(built, tree, by):
    segments, dictionaries, files = built
    measures = ("turns", "users", "bad", "handover_rate")
    query = Query(by=tuple(by), measures=measures, where=tree)
    found = index_answer.answer(query, segments, declaration=DECLARATION, dictionaries=dictionaries)
    expected = scan_answer.answer(query, files, DECLARATION)
    assert _finished(found, query).to_dicts() == _finished(expected, query).to_dicts()


def test_mean_confidence_comes_from_cells(built):
    segments, dictionaries, files = built
    query = Query(by=("tenant", "hour"), measures=("confidence",))
    found = index_answer.answer(query, segments, declaration=DECLARATION, dictionaries=dictionaries)
    means = _finished(found, query)["confidence"].to_list()
    expected = _finished(scan_answer.answer(query, files, DECLARATION), query)["confidence"]
    assert means == pytest.approx(expected.to_list())


def test_what_segments_cannot_answer_is_told(built):
    assert "text" in index_answer.answers(
        Query(where=In(field="text", values=("hi",))), DECLARATION
    )
    assert "latency" in index_answer.answers(Query(measures=("latency_p95",)), DECLARATION)
    below = Query(by=("merchant",), measures=("confidence",))
    assert "below cells" in index_answer.answers(below, DECLARATION)

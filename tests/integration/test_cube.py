"""The cube on both engines: every source gives the same answer, and a refresh corrects days."""

from contextlib import contextmanager, nullcontext
from datetime import date

import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal

from closedloop.core.errors import Conflict, InputError, NotFound
from closedloop.data.cube.cube import Cube
from closedloop.data.cube.declaration import CubeDeclaration, Cuboid, Dimension, Grain
from closedloop.data.cube.filters import And, In, IsNull, Not, Or, Prefix, Range
from closedloop.data.cube.query import OTHERS, Query, Source
from closedloop.data.cube.refresh import refresh
from closedloop.data.interaction import SCHEMA
from closedloop.data.lake import Lake
from closedloop.data.simulate.interactions import BulkTraffic, simulate_interactions
from closedloop.data.spark import Engine, spark_session

DECLARATION = CubeDeclaration(
    dimensions=(
        Dimension(name="tenant"),
        Dimension(name="channel"),
        Dimension(name="language"),
        Dimension(name="version", source="model_version"),
        Dimension(name="merchant", indexed=True),
        Dimension(name="campaign", source="attributes.campaign"),
    ),
    cuboids=(
        Cuboid(dimensions=("tenant", "channel")),
        Cuboid(dimensions=("tenant", "campaign"), grain=Grain.MONTH),
        Cuboid(dimensions=("tenant", "merchant"), grain=Grain.MONTH, sketches=False),
    ),
)
TRAFFIC = BulkTraffic(
    rows=6_000, first_day=date(2026, 9, 29), days=4, users=300, merchants=200, utterances=400
)
TENANT = In(field="tenant", values=("bazaar",))
NESTED = And(
    all_of=(
        Or(any_of=(Prefix(field="merchant", prefix="m00"), In(field="campaign", values=("双11",)))),
        Not(part=And(all_of=(TENANT, Range(field="day", high="2026-09-30")))),
    )
)  # fmt: skip
QUERIES = [
    Query(measures=("turns", "users", "bad_rate", "confidence", "latency_p95"), exact=False),
    Query(by=("tenant", "channel"), measures=("turns", "users"), exact=False),
    Query(by=("day", "tenant"), measures=("turns", "users", "handover"), exact=False),
    Query(by=("month", "campaign"), measures=("turns", "users", "latency_p50"), exact=False),
    Query(by=("merchant",), measures=("turns", "bad"), order_by="-turns", limit=5),
    Query(by=("merchant",), measures=("users", "turns"), order_by="-turns", limit=5, others=True),
    Query(by=("hour", "language"), measures=("turns", "users", "confidence")),
    Query(by=("campaign",), measures=("turns", "users"), where=NESTED),
    Query(measures=("turns", "users"), where=And(all_of=(NESTED, IsNull(field="campaign")))),
    Query(by=("tenant",), where=In(field="merchant", values=("nowhere",))),
    Query(measures=("turns", "users"), where=In(field="merchant", values=("nowhere",))),
    Query(by=("version",), measures=("turns",), where=In(field="version", values=("1",))),
    Query(by=("tenant",), where=In(field="text", values=("no such words",))),
]


def a_lake(folder):
    lake = Lake(str(folder / "lake 湖"))
    for _, table in simulate_interactions(TRAFFIC):
        lake.append("interactions", with_campaigns(table))
    return lake


def with_campaigns(table):
    campaigns = [[("campaign", "双11")], [("campaign", "spring sale"), ("x", "y")], []]
    column = pa.array(
        [campaigns[i % 3] for i in range(table.num_rows)], type=SCHEMA.field("attributes").type
    )
    return table.set_column(table.schema.get_field_index("attributes"), "attributes", column)


@pytest.fixture(scope="module", params=[Engine.LOCAL, Engine.RAY])
def spark(request):
    if request.param is Engine.RAY:
        request.getfixturevalue("ray_cluster")
    with spark_session(request.param) as session:
        yield session


@pytest.fixture(scope="module")
def built(spark, tmp_path_factory):
    lake = a_lake(tmp_path_factory.mktemp("cube"))
    done = refresh(lake, DECLARATION, open_spark=lambda: nullcontext(spark))
    assert (done.days, done.rows, done.removed) == (4, 6_000, 0)
    return lake


def by_scan(cube, query):
    return cube.query(query.with_(others=False), source=Source.SCAN).rows


@pytest.mark.spark
@pytest.mark.parametrize("query", QUERIES, ids=range(len(QUERIES)))
def test_every_source_answers_as_a_scan_does(built, query):
    cube = Cube(built)
    answer = cube.query(query)
    expected = by_scan(cube, query)
    rows = answer.rows
    if query.others:
        rows, rest = rows.head(query.limit), rows.tail(1).to_dicts()[0]
        assert rest["merchant"] == OTHERS
        assert rest["turns"] == 6_000 - rows["turns"].sum()
    exact = [name for name in rows.columns if name not in answer.relative_error]
    assert_frame_equal(rows.select(exact), expected.select(exact), rel_tol=1e-9)
    for name, bound in answer.relative_error.items():
        for one, two in zip(rows[name], expected[name], strict=True):
            assert one == pytest.approx(two, rel=2 * bound + 1e-9)


@pytest.mark.spark
def test_the_planner_takes_the_cheapest_source_and_says_why(built):
    cube = Cube(built)
    fast = Query(by=("tenant",), measures=("users",), exact=False)
    assert cube.explain(fast).cuboid == "month-tenant-campaign"
    exact = cube.explain(fast.with_(exact=True))
    assert exact.source is Source.INDEX
    assert "exact answer was asked for" in str(exact)
    one_day = fast.with_(where=In(field="day", values=("2026-10-01",)))
    assert cube.explain(one_day).cuboid == "day-tenant-channel"
    september = fast.with_(where=Range(field="day", high="2026-09-30"))
    assert cube.explain(september).cuboid == "month-tenant-campaign"
    text = Query(where=In(field="text", values=("hello",)))
    assert cube.explain(text).source is Source.SCAN
    assert "text is not a dimension" in str(cube.explain(text))


@pytest.mark.spark
def test_a_wrong_field_or_value_is_named_with_what_is_near(built):
    cube = Cube(built)
    with pytest.raises(InputError, match="no field 'merchan'") as caught:
        cube.query(Query(by=("merchan",)))
    assert "merchant" in caught.value.remedy
    with pytest.raises(InputError, match="'version' is a int"):
        cube.query(Query(where=In(field="version", values=("two",))))
    with pytest.raises(NotFound, match="no dimension 'text'"):
        cube.values("text")


@pytest.mark.spark
def test_drill_down_pages_through_the_interactions_behind_a_cell(built):
    cube = Cube(built)
    query = Query(by=("tenant", "campaign"), where=Range(field="day", low="2026-09-30"))
    cell = cube.query(query).rows.filter(pl.col("campaign").is_null()).to_dicts()[0]
    first = cube.drill_down(query, cell, limit=20)
    second = cube.drill_down(query, cell, limit=cell["turns"], offset=20)
    both = pl.concat([first, second])
    assert both.height == cell["turns"]
    assert both["event_id"].n_unique() == cell["turns"]
    assert both["ts"].is_sorted(descending=True)
    assert set(both["tenant"]) == {cell["tenant"]}


@pytest.mark.spark
def test_two_periods_side_by_side(built):
    cube = Cube(built)
    query = Query(by=("channel",), measures=("turns",))
    both = cube.compare(
        query, period=("2026-10-01", "2026-10-02"), before=("2026-09-29", "2026-09-30")
    )
    assert both["turns"].sum() == 3_000
    assert both["turns_before"].sum() == 3_000
    row = both.to_dicts()[0]
    assert row["turns_change"] == pytest.approx(row["turns"] / row["turns_before"] - 1)


@pytest.mark.spark
def test_a_refresh_builds_only_days_that_changed(spark, tmp_path):
    lake = a_lake(tmp_path)
    opened = []

    @contextmanager
    def session():
        opened.append(1)
        yield spark

    refresh(lake, DECLARATION, open_spark=session)
    cube = Cube(lake)
    before = cube.query(Query(by=("day",), measures=("turns", "users"))).rows
    assert refresh(lake, open_spark=session).days == 0
    assert len(opened) == 1

    late = next(iter(simulate_interactions(TRAFFIC)))[1].slice(0, 7)  # of the first day
    lake.append("interactions", with_campaigns(late))
    done = refresh(lake, open_spark=session)
    assert (done.days, done.rows) == (1, 1_507)
    after = cube.query(Query(by=("day",), measures=("turns", "users"))).rows
    assert after["turns"].to_list() == [1_507, 1_500, 1_500, 1_500]
    assert after["users"].to_list() == before["users"].to_list()  # the same users again
    for query in QUERIES[:5]:
        assert cube.query(query).rows["turns"].sum() == by_scan(cube, query)["turns"].sum()

    lake.open("interactions").delete("date = '2026-10-02'")
    assert refresh(lake, open_spark=session).removed == 1
    assert cube.days == ("2026-09-29", "2026-09-30", "2026-10-01")
    assert cube.query(Query(by=("tenant",), exact=False)).rows["turns"].sum() == 4_507


@pytest.mark.spark
def test_a_refresh_that_dies_leaves_the_cube_as_it_was(spark, tmp_path):
    lake = a_lake(tmp_path)
    refresh(lake, DECLARATION, open_spark=lambda: nullcontext(spark))
    cube = Cube(lake)
    lake.append("interactions", with_campaigns(next(iter(simulate_interactions(TRAFFIC)))[1]))

    class Killed(BaseException):
        pass

    def die(what, done, total):
        if what.startswith("cuboid"):
            raise Killed

    with pytest.raises(Killed):
        refresh(lake, open_spark=lambda: nullcontext(spark), progress=die)
    assert cube.query(Query()).rows["turns"].item() == 6_000
    assert refresh(lake, open_spark=lambda: nullcontext(spark)).rows == 3_000
    assert cube.query(Query()).rows["turns"].item() == 7_500
    assert not list((tmp_path / "lake 湖" / "_cube").glob("staging/*"))


@pytest.mark.spark
def test_one_refresh_at_a_time(built):
    @contextmanager
    def during():
        with pytest.raises(Conflict, match="being refreshed already"):
            refresh(built, open_spark=nullcontext)
        raise KeyError("enough")
        yield

    with pytest.raises(KeyError):
        refresh(built, rebuild=True, open_spark=during)


def test_without_a_cube_the_error_says_how_to_build_one(tmp_path):
    with pytest.raises(NotFound, match="no cube yet") as caught:
        Cube(Lake(str(tmp_path))).query(Query())
    assert "closedloop cube refresh" in caught.value.remedy


@pytest.mark.spark
def test_memory_stays_within_bounds_and_answers_the_same(built):
    query = Query(by=("merchant",), measures=("turns", "users", "bad"))
    tight, wide = Cube(built, memory_bytes=0), Cube(built)
    assert_frame_equal(tight.query(query).rows, wide.query(query).rows)
    assert_frame_equal(tight.query(query).rows, wide.query(query).rows)
    assert tight.loaded_bytes == 0 < wide.loaded_bytes

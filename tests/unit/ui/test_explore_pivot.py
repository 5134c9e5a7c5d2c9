"""Every figure of a table is the cube's own answer to that cell."""

import pytest

from closedloop.data.cube.filters import EVERYTHING, And, In, Or
from closedloop.data.cube.query import OTHERS, Query
from closedloop.ui.app.explore_pivot import MAX_COLUMNS, TOTAL, pivot
from closedloop.ui.app.explore_view import View

ALL = View(first="2026-10-01", last="2026-10-06")
FILTERS = [
    EVERYTHING,
    Or(any_of=(In(field="language", values=("zh",)), In(field="merchant", values=("m1", "m4")))),
]


def asked(cube, view, *filters, period=None):
    query = Query(measures=view.measures, where=view.in_period(period or view.period, *filters))
    [row] = cube.query(query).rows.to_dicts()
    return row


@pytest.mark.parametrize("where", FILTERS)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"by": ()},
        {"by": ("intent", "channel"), "top": 5},
        {"by": ("merchant",), "top": 5, "measures": ("users", "turns", "latency_p95")},
        {"by": ("day",)},
        {"by": ("channel",), "order": "channel"},
        {"by": ("intent", "language", "version"), "top": 5},
    ],
)
def test_each_figure_is_the_cubes_answer_to_its_cell(cube, where, changes):
    view = ALL.with_(where=where, **changes)
    table = pivot(cube, view)
    for row in table.rows:
        expected = asked(cube, view, row.where)
        found = {
            column.measure: cell.value
            for column, cell in zip(table.columns, row.cells, strict=True)
        }
        assert found == pytest.approx(expected)
        assert len(row.labels) == len(table.headings)
    assert table.total.labels[0] == TOTAL


def test_what_the_top_leaves_out_is_one_row(cube):
    view = ALL.with_(by=("merchant",), top=5)
    table = pivot(cube, view)
    assert [row.kind for row in table.rows] == ["total", *[""] * 5, "others"]
    assert table.rows[-1].labels == (OTHERS,)
    turns = [row.cells[0].value for row in table.rows]
    assert turns[0] == sum(turns[1:]) == 600
    assert turns[1:6] == sorted(turns[1:6], reverse=True)


@pytest.mark.parametrize("across", ["language", "day", "channel", "version"])
def test_a_dimension_across_becomes_columns(cube, across):
    view = ALL.with_(by=("intent", across), across=across, top=5)
    table = pivot(cube, view)
    assert table.headings == ("intent",)
    assert table.columns[0].title == TOTAL
    for row in table.rows:
        for column, cell in zip(table.columns, row.cells, strict=True):
            expected = asked(cube, view, row.where, column.where)["turns"]
            assert (cell.value or 0) == expected


def test_time_across_is_in_order_and_too_many_columns_are_told(cube):
    days = [
        column.title
        for column in pivot(cube, ALL.with_(by=("intent", "day"), across="day")).columns
    ]
    assert days == [TOTAL, *(f"2026-10-0{day}" for day in range(1, 7))]
    wide = pivot(cube, ALL.with_(by=("intent", "merchant"), across="merchant"))
    assert wide.more_columns
    assert len(wide.columns) == MAX_COLUMNS + 1


@pytest.mark.parametrize("by", [("intent",), ("merchant",), (), ("channel", "language")])
def test_a_period_is_compared_with_the_one_before(cube, by):
    view = View(first="2026-10-04", last="2026-10-06", compare=True, by=by, top=5)
    assert view.before == ("2026-10-01", "2026-10-03")
    for row in pivot(cube, view).rows:
        now = asked(cube, view, row.where)["turns"]
        then = asked(cube, view, row.where, period=view.before)["turns"]
        assert (row.cells[0].value, row.cells[0].before or 0) == (now, then)
        assert row.cells[0].change == pytest.approx((now - then) / then if then else None)


@pytest.mark.parametrize("changes", [{"by": ("day",)}, {"by": ("intent", "day"), "across": "day"}])
def test_days_are_compared_by_their_place_in_the_period(cube, changes):
    view = View(first="2026-10-04", last="2026-10-06", compare=True, **changes)
    table = pivot(cube, view)
    day = {"2026-10-04": "2026-10-01", "2026-10-05": "2026-10-02", "2026-10-06": "2026-10-03"}
    checked = 0
    for row in table.rows:
        for column, cell in zip(table.columns, row.cells, strict=True):
            now = row.labels[0] if "across" not in changes else column.title
            if column.measure != "turns" or now not in day:
                continue
            inside = And() if row.labels[0] in day else row.where
            then = asked(cube, view, inside, period=(day[now], day[now]))["turns"]
            assert (cell.before or 0) == then
            checked += 1
    assert checked >= 3


def test_nothing_selected_is_a_table_of_nothing(cube):
    view = ALL.with_(where=In(field="merchant", values=("nobody",)))
    table = pivot(cube, view)
    assert [row.kind for row in table.rows] == ["total"]
    assert table.total.cells[0].value == 0
    assert table.total.cells[2].value is None

import pytest

from closedloop.ui.app.explore_chart import chart
from closedloop.ui.app.explore_pivot import pivot
from closedloop.ui.app.explore_table import figure, grid, token_of
from closedloop.ui.app.explore_view import View

ALL = View(first="2026-10-01", last="2026-10-06")
HALF = View(first="2026-10-04", last="2026-10-06", compare=True)


@pytest.mark.parametrize(
    ("measure", "value", "text"),
    [
        ("turns", 1234567, "1,234,567"),
        ("bad_rate", 0.0567, "5.7%"),
        ("confidence", 0.51234, "0.512"),
        ("latency_p95", 1234.56, "1,234.6 ms"),
        ("bad_rate", None, "–"),
    ],
)
def test_figures_as_text(measure, value, text):
    assert figure(measure, value) == text


def test_every_row_has_a_cell_a_column_and_the_open_one_is_marked(cube):
    table = pivot(cube, ALL)
    columns, rows = grid(table, ALL, opened=(1, 2))
    assert [column.title for column in columns] == ["intent", "turns", "users", "bad_rate"]
    assert all(len(row.cells) == len(columns) for row in rows)
    chosen = [
        (r, c) for r, row in enumerate(rows) for c, cell in enumerate(row.cells) if cell.chosen
    ]
    assert chosen == [(1, 2)]
    assert rows[1].cells[1].shade == 1.0
    assert rows[0].cells[1].shade == 0.0  # the total is no group


def test_a_heading_turns_the_order_round(cube):
    columns, _ = grid(pivot(cube, ALL), ALL, opened=None)
    by_turns = next(column for column in columns if column.title == "turns")
    assert (by_turns.sorted, by_turns.order) == ("descending", "turns")
    by_users = next(column for column in columns if column.title == "users")
    assert (by_users.sorted, by_users.order) == ("", "-users")
    upward = ALL.with_(order="turns")
    columns, rows = grid(pivot(cube, upward), upward, opened=None)
    assert next(column for column in columns if column.title == "turns").sorted == "ascending"
    turns = [int(row.cells[1].text) for row in rows if not row.kind]
    assert turns == sorted(turns)


def test_a_change_of_a_rate_is_in_points(cube):
    table = pivot(cube, HALF)
    _, rows = grid(table, HALF, opened=None)
    total = table.total.cells
    points = abs(total[2].value - total[2].before) * 100
    assert f"{points:.1f} points, was {total[2].before:.1%}" in rows[0].cells[3].change
    assert f"was {total[0].before:,}" in rows[0].cells[1].change


def test_another_view_or_lake_has_another_token():
    assert token_of(ALL, 1) == token_of(ALL.with_(), 1)
    assert len({token_of(ALL, 1), token_of(ALL, 2), token_of(HALF, 1)}) == 3


@pytest.mark.parametrize(
    ("view", "kind", "traces"),
    [
        (ALL, "bar", 1),
        (HALF, "bar", 2),
        (ALL.with_(by=("day",)), "scatter", 1),
        (HALF.with_(by=("day",)), "scatter", 2),
        (ALL.with_(by=("day", "language")), "scatter", 2),
        (ALL.with_(by=("language", "day"), across="day"), "scatter", 2),
    ],
)
def test_time_is_drawn_as_lines_and_all_else_as_bars(cube, view, kind, traces):
    table = pivot(cube, view)
    drawn = chart(table, view)
    assert {trace.type for trace in drawn.data} == {kind}
    assert len(drawn.data) == traces
    if kind == "bar":
        last = drawn.data[-1]
        assert list(reversed(last.x)) == [row.cells[0].value for row in table.groups]


def test_nothing_is_drawn_where_there_are_no_groups(cube):
    total_only = ALL.with_(by=())
    assert chart(pivot(cube, total_only), total_only) is None

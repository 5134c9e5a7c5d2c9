"""A view's table on the Explore page: its figures as text, and which cell is open."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence

import streamlit as st

from closedloop.data.cube.query import MEASURES
from closedloop.ui.app.data_grid import GridAct, GridCell, GridColumn, GridRow, data_grid, read_act
from closedloop.ui.app.explore_pivot import Cell, Column, Pivot, Row
from closedloop.ui.app.explore_view import View

_GRID = "explore_grid"


def figure(measure: str, value: float | int | None) -> str:
    """Return a measure's value as text.

    Examples
    --------
    >>> figure("bad_rate", 0.1234), figure("turns", 12345), figure("latency_p95", 20.26)
    ('12.3%', '12,345', '20.3 ms')
    """
    if value is None:
        return "–"
    if measure.endswith("_rate"):
        return f"{value:.1%}"
    if measure.startswith("latency"):
        return f"{value:,.1f} ms"
    return f"{value:.3f}" if measure == "confidence" else f"{value:,.0f}"


def token_of(view: View, lake_version: int) -> str:
    """Return a short text that changes with what the table shows."""
    text = json.dumps([view.to_params(), lake_version], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def show_table(
    table: Pivot,
    view: View,
    *,
    token: str,
    opened: tuple[int, int] | None,
    on_act: Callable[[GridAct], None],
) -> None:
    """Show the table; ``on_act`` hears of opened cells and of orders."""
    columns, rows = grid(table, view, opened=opened)

    def heard() -> None:
        value = st.session_state[_GRID].act
        act = read_act(value, token=token, columns=len(columns), rows=len(rows))
        if act is not None:
            on_act(act)

    data_grid(
        columns,
        rows,
        label="Figures by " + ", ".join(view.by) if view.by else "Figures",
        token=token,
        key=_GRID,
        on_act=heard,
    )


def grid(
    table: Pivot, view: View, *, opened: tuple[int, int] | None
) -> tuple[list[GridColumn], list[GridRow]]:
    """Return the table as cells of text."""
    labels = [
        _heading(name, name, view, ascending=True) if name else GridColumn(title="")
        for name in table.headings
    ]
    figures = [
        GridColumn(title=column.title, number=True)
        if view.across
        else _heading(column.title, column.measure, view, help_=MEASURES[column.measure])
        for column in table.columns
    ]
    largest = [_largest(table, place, pooled=bool(view.across)) for place in range(len(figures))]
    rows = []
    for row_place, row in enumerate(table.rows):
        cells = [GridCell(text=text, leads=True) for text in row.labels]
        for place, (column, cell) in enumerate(zip(table.columns, row.cells, strict=True)):
            here = (row_place, place + len(labels)) == opened
            cells.append(_cell(cell, column, row, largest[place], view, chosen=here))
        rows.append(GridRow(cells=tuple(cells), kind=row.kind))
    return [*labels, *figures], rows


def _heading(
    title: str, name: str, view: View, *, ascending: bool = False, help_: str = ""
) -> GridColumn:
    order = view.query().order_by
    sorted_ = ""
    if order.removeprefix("-") == name:
        sorted_ = "descending" if order.startswith("-") else "ascending"
    first, second = (name, f"-{name}") if ascending else (f"-{name}", name)
    return GridColumn(
        title=title,
        number=not ascending,
        order=second if order == first else first,
        sorted=sorted_,
        help=f"{help_}; sort by it" if help_ else "",
    )


def _cell(
    cell: Cell, column: Column, row: Row, largest: float, view: View, *, chosen: bool
) -> GridCell:
    change, title = "", ""
    if view.compare and cell.before is not None:
        before = figure(column.measure, cell.before)
        title = f"{before} from {view.before[0]} to {view.before[1]}"
        change = f"was {before}"
        if said := _changed(cell, column.measure):
            change = f"{said}, was {before}"
    shade = 0.0
    if not row.kind and cell.value and largest > 0:
        shade = round(max(0.0, cell.value / largest), 3)
    return GridCell(
        text=figure(column.measure, cell.value),
        change=change,
        title=title,
        shade=shade,
        leads=True,
        chosen=chosen,
    )


def _changed(cell: Cell, measure: str) -> str:
    if cell.change is None or cell.value is None or cell.before is None:
        return ""
    arrow = "▲" if cell.change > 0 else "▼" if cell.change < 0 else "="
    if measure.endswith("_rate"):  # a percentage of a percentage would mislead
        return f"{arrow} {abs(cell.value - cell.before) * 100:.1f} points"
    return f"{arrow} {abs(cell.change):.1%}"


def _largest(table: Pivot, place: int, *, pooled: bool) -> float:
    """Return what a shade is relative to: its column's largest, or all columns' across."""
    places: Sequence[int] = range(1, len(table.columns)) if pooled and place else [place]
    values = [row.cells[p].value or 0 for row in table.groups for p in places]
    return float(max(values, default=0))

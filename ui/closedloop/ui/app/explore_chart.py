"""A table of the Explore page as a chart: lines over time, bars for all else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from closedloop.data.cube.query import MEASURES
from closedloop.ui.app.explore_pivot import Pivot
from closedloop.ui.app.explore_view import TIME, View

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_COLOURS = ("#0f6b5c", "#c7762f", "#5a6fb5", "#a9476c", "#7c9a2e", "#3d8fb0", "#8a6bb3", "#8c8c84")
_BEFORE = "#b9c2bd"
_MAX_LINES = len(_COLOURS)
_LABEL_CHARS = 28
_ROW_PX = 30


def chart(table: Pivot, view: View) -> Figure | None:
    """Return the chart of a table's first measure; None where there is nothing to draw."""
    if not table.groups or table.total.cells[0].value in (None, 0):
        return None
    if view.across in TIME:
        return _styled(_lines_across(table), view, table)
    if view.rows_by and view.rows_by[0] in TIME:
        return _styled(_lines(table, view), view, table)
    return _styled(_bars(table, view), view, table)


def _lines_across(table: Pivot) -> Figure:
    import plotly.graph_objects as go

    places = [_point(column.title) for column in table.columns[1:]]
    figure = go.Figure()
    for row, colour in zip(table.groups[:_MAX_LINES], _COLOURS, strict=False):
        values = [cell.value for cell in row.cells[1:]]
        figure.add_scatter(
            x=places, y=values, name=_short(" · ".join(row.labels)), line_color=colour
        )
    return figure


def _lines(table: Pivot, view: View) -> Figure:
    import plotly.graph_objects as go

    lines: dict[str, list[tuple[str, Any, Any]]] = {}
    for row in table.groups:
        name = " · ".join(row.labels[1:]) or view.measures[0]
        lines.setdefault(name, []).append(
            (_point(row.labels[0]), row.cells[0].value, row.cells[0].before)
        )
    largest = sorted(lines, key=lambda name: -sum(value or 0 for _, value, _ in lines[name]))
    figure = go.Figure()
    for name, colour in zip(largest[:_MAX_LINES], _COLOURS, strict=False):
        at, values, before = zip(*lines[name], strict=True)
        if view.compare and any(value is not None for value in before):
            figure.add_scatter(
                x=at,
                y=before,
                name=f"{_short(name)}, before",
                line={"color": _BEFORE if len(lines) == 1 else colour, "dash": "dot"},
            )
        figure.add_scatter(x=at, y=values, name=_short(name), line_color=colour)
    return figure


def _bars(table: Pivot, view: View) -> Figure:
    import plotly.graph_objects as go

    rows = list(reversed(table.groups))
    names = [_short(" · ".join(row.labels)) for row in rows]
    figure = go.Figure()
    if view.compare:
        values = [row.cells[0].before for row in rows]
        figure.add_bar(y=names, x=values, name="before", orientation="h", marker_color=_BEFORE)
    values = [row.cells[0].value for row in rows]
    figure.add_bar(
        y=names, x=values, name=view.measures[0], orientation="h", marker_color=_COLOURS[0]
    )
    return figure


def _styled(figure: Figure, view: View, table: Pivot) -> Figure:
    measure = view.measures[0]
    bars = figure.data[0].type == "bar"
    height = max(260, 90 + _ROW_PX * len(table.groups)) if bars else 380
    figure.update_layout(
        height=min(height, 560),
        margin={"l": 8, "r": 8, "t": 36, "b": 8},
        title={"text": MEASURES[measure], "font_size": 14, "x": 0},
        showlegend=len(figure.data) > 1,
        legend={"orientation": "h", "y": -0.16},
        bargap=0.25,
        hovermode="closest" if bars else "x unified",
        yaxis={"automargin": True},
    )
    axis = figure.update_xaxes if bars else figure.update_yaxes
    axis(rangemode="tozero", tickformat=".1%" if measure.endswith("_rate") else ",")
    if not bars:
        figure.update_xaxes(type="category", nticks=7, tickangle=0)
        figure.update_traces(mode="lines+markers")
    else:
        figure.update_yaxes(type="category")
    return figure


def _point(label: str) -> str:
    """Return a point in time as short as it stays clear: a day without its year."""
    return label[5:] if len(label) == 10 else label


def _short(text: str) -> str:
    return text if len(text) <= _LABEL_CHARS else text[: _LABEL_CHARS - 1] + "…"

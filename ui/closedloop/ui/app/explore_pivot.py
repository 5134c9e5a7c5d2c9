"""A view's answer as a table of rows and columns, with where each cell comes from.

Distinct users and quantiles do not add up, so nothing here is summed: the total, the rest
beyond the top and every cell of a pivot are questions of their own to the cube.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol

import polars as pl

from closedloop.data.cube.filters import EVERYTHING, And, Filter, In, IsNull, Not, Or, Value
from closedloop.data.cube.query import OTHERS, Answer, Plan, Query
from closedloop.ui.app.explore_view import TIME, View
from closedloop.ui.filter_text import shown

MAX_COLUMNS = 14
TOTAL = "(all)"


class Answers(Protocol):
    """What the table asks: a cube."""

    def query(self, query: Query) -> Answer:
        """Answer a query."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One figure."""

    value: float | int | None
    before: float | int | None = None

    @property
    def change(self) -> float | None:
        """The change since the period before, relative to it."""
        if self.value is None or not self.before:
            return None
        return (self.value - self.before) / self.before


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A column of figures: a measure, or a value of the dimension across."""

    title: str
    measure: str
    where: Filter = EVERYTHING


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A row with what it selects."""

    labels: tuple[str, ...]
    where: Filter
    cells: tuple[Cell, ...]
    kind: str = ""  # total, others, or empty
    group: Mapping[str, Value | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pivot:
    """A view's table, and how it was answered."""

    headings: tuple[str, ...]  # of the rows' labels
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]  # the total first, what the top leaves out last
    plan: Plan
    seconds: float  # of all its queries
    queries: int
    errors: Mapping[str, float]  # measure → half-width of its 95 % interval, relative
    more_columns: bool = False  # there are more than are shown

    @property
    def total(self) -> Row:
        """The row of everything that the view selects."""
        return self.rows[0]

    @property
    def groups(self) -> tuple[Row, ...]:
        """The rows of single groups."""
        return tuple(row for row in self.rows if not row.kind)


def pivot(cube: Answers, view: View) -> Pivot:
    """Answer a view.

    Raises
    ------
    InputError
        The filter names a field or a value that the cube does not know.
    """
    asking = _Asking(cube, view)
    main = asking.ask(view.query())
    top, others = _split(main.rows, view)
    tops = [_group_filter(group) for group in top]
    rest = And() if not tops else Not(part=Or(any_of=tuple(tops)))
    columns = [Column(title=name, measure=name) for name in view.measures]
    more = False
    if view.across:
        across, more = asking.values_across()
        columns = [Column(title=TOTAL, measure=view.measures[0])] + [
            Column(title=shown(value), measure=view.measures[0], where=_is(view.across, value))
            for value in across
        ]
    frames = _Frames(
        asking,
        view,
        parts={"total": EVERYTHING, "": Or(any_of=tuple(tops)), "others": rest},
        across=Or(any_of=tuple(column.where for column in columns)),
    )
    frames.know("", top, main.rows)
    if others:
        frames.know("others", [{}], main.rows.tail(1))
    rows = [
        Row(
            labels=(TOTAL, *[""] * (len(view.rows_by) - 1)) if view.rows_by else (TOTAL,),
            where=EVERYTHING,
            cells=frames.cells(None, columns, "total"),
            kind="total",
            group={},
        )
    ]
    for group, where in zip(top, tops, strict=True):
        labels = tuple(shown(value) for value in group.values())
        cells = frames.cells(group, columns, "")
        rows.append(Row(labels=labels, where=where, cells=cells, group=group))
    if others:
        labels = (OTHERS, *[""] * (len(view.rows_by) - 1))
        cells = frames.cells(None, columns, "others")
        rows.append(Row(labels=labels, where=rest, cells=cells, kind="others", group={}))
    return Pivot(
        headings=view.rows_by or ("",),
        columns=tuple(columns),
        rows=tuple(rows),
        plan=main.plan,
        seconds=asking.seconds,
        queries=asking.queries,
        errors=main.relative_error,
        more_columns=more,
    )


class _Asking:
    """Asks the cube and adds up what it costs."""

    def __init__(self, cube: Answers, view: View) -> None:
        self._cube = cube
        self._view = view
        self.seconds = 0.0
        self.queries = 0

    def ask(self, query: Query) -> Answer:
        answer = self._cube.query(query)
        self.seconds += answer.seconds
        self.queries += 1
        return answer

    def rows(
        self,
        by: Sequence[str],
        *more: Filter,
        period: tuple[str, str] | None = None,
        measures: Sequence[str] | None = None,
    ) -> list[dict[str, Any]]:
        view = self._view
        query = Query(
            by=tuple(by),
            measures=tuple(measures or view.measures),
            where=view.in_period(period or view.period, *more),
            exact=view.exact,
        )
        return self.ask(query).rows.to_dicts()

    def values_across(self) -> tuple[list[Value | None], bool]:
        """Return the values that become columns: the most frequent, or those of time in order."""
        view = self._view
        measure = view.measures[0]
        query = Query(
            by=(view.across,),
            measures=(measure,),
            where=view.in_period(view.period),
            order_by=f"-{view.across}" if view.across in TIME else f"-{measure}",
            limit=MAX_COLUMNS + 1,
            exact=view.exact,
        )
        values = self.ask(query).rows[view.across].to_list()
        shown_ones = values[:MAX_COLUMNS]
        if view.across in TIME:  # the latest, in the order of time
            shown_ones.reverse()
        return shown_ones, len(values) > MAX_COLUMNS


class _Frames:
    """The figures of a table's parts (total, top, others), now and before, by group."""

    def __init__(
        self, asking: _Asking, view: View, *, parts: Mapping[str, Filter], across: Filter
    ) -> None:
        self._asking = asking
        self._view = view
        self._part = parts
        self._across = across
        self._kept: dict[tuple[str, bool, bool], dict[tuple[Any, ...], dict[str, Any]]] = {}

    def know(
        self, kind: str, groups: Sequence[Mapping[str, Value | None]], rows: pl.DataFrame
    ) -> None:
        """Take figures of groups from the main answer, which has them already."""
        self._kept[(kind, False, False)] = {
            tuple(group.values()): row
            for group, row in zip(groups, rows.head(len(groups)).to_dicts(), strict=True)
        }

    def cells(
        self, group: Mapping[str, Value | None] | None, columns: Sequence[Column], kind: str
    ) -> tuple[Cell, ...]:
        found = []
        for column in columns:
            across = bool(self._view.across) and column.where != EVERYTHING
            key = tuple((group or {}).values())
            if across:
                key = (*key, column.title)
            before = None
            if self._view.compare:
                before = self._of(kind, across, then=True).get(key, {}).get(column.measure)
            now = self._of(kind, across, then=False).get(key, {}).get(column.measure)
            found.append(Cell(value=now, before=before))
        return tuple(found)

    def _of(self, kind: str, across: bool, *, then: bool) -> dict[tuple[Any, ...], dict[str, Any]]:
        place = (kind, across, then)
        if place not in self._kept:
            self._kept[place] = self._asked(kind, across, then=then)
        return self._kept[place]

    def _asked(
        self, kind: str, across: bool, *, then: bool
    ) -> dict[tuple[Any, ...], dict[str, Any]]:
        view = self._view
        by = list(view.rows_by) if kind == "" else []
        part = self._part[kind]
        if then and "day" in view.rows_by:
            if kind == "others":
                return {}
            part = EVERYTHING  # other days; they are matched by their place in the period
        if part == Or():
            return {}
        columns: Filter = EVERYTHING
        if across:
            by.append(view.across)
            columns = EVERYTHING if then and view.across == "day" else self._across
        rows = self._asking.rows(
            by,
            part,
            columns,
            period=view.before if then else view.period,
            measures=view.measures[:1] if across else None,
        )
        if then and "day" in by:
            for row in rows:
                row["day"] = _shifted(row["day"], view)
        return {_key(row, by, view.across if across else ""): row for row in rows}


def _key(row: Mapping[str, Any], by: Sequence[str], across: str) -> tuple[Any, ...]:
    return tuple(shown(row[name]) if name == across else row[name] for name in by)


def _shifted(day: str, view: View) -> str:
    """Return the day of the period that stands where ``day`` stands in the one before."""
    ahead = date.fromisoformat(view.first) - date.fromisoformat(view.before[0])
    return (date.fromisoformat(day) + ahead).isoformat()


def _split(rows: pl.DataFrame, view: View) -> tuple[list[dict[str, Value | None]], bool]:
    """Return the groups of the top, and whether there are others behind them."""
    limit = view.query().limit
    others = limit is not None and rows.height > limit
    if not view.rows_by:
        return [], False
    top = rows.head(limit) if limit is not None else rows
    return top.select(view.rows_by).to_dicts(), others


def _group_filter(group: Mapping[str, Value | None]) -> Filter:
    parts = tuple(_is(name, value) for name, value in group.items())
    return parts[0] if len(parts) == 1 else And(all_of=parts)


def _is(field: str, value: Value | None) -> Filter:
    return IsNull(field=field) if value is None else In(field=field, values=(value,))

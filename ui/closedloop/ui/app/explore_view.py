"""What the Explore page shows, as one value: it becomes queries, and the page's address.

The address holds the whole view, so that it can be sent to a colleague. What an address says
wrongly is left at its default and told, not refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date, timedelta
from typing import Any

from closedloop.core.errors import InputError
from closedloop.data.cube.filters import (
    EVERYTHING,
    And,
    Filter,
    Range,
    conjuncts,
    from_json,
    to_json,
)
from closedloop.data.cube.query import MEASURES, Query

TIME = ("month", "day", "hour")
MAX_GROUPS = 3
DEFAULT_DAYS = 7
TOPS = (5, 10, 20, 50, 100)
_SERIES_ROWS = 400  # of a table by day or hour, which is not cut at its top


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """A question to the cube, as the page puts it.

    Examples
    --------
    >>> View(first="2026-10-08", last="2026-10-14").before
    ('2026-10-01', '2026-10-07')
    """

    first: str  # days, YYYY-MM-DD, both included
    last: str
    where: Filter = EVERYTHING
    compare: bool = False  # with as many days before
    by: tuple[str, ...] = ("intent",)
    across: str = ""  # a dimension whose values become columns; one of ``by``
    measures: tuple[str, ...] = ("turns", "users", "bad_rate")
    order: str = ""  # as of a query; the first measure, largest first, where empty
    top: int = 10
    exact: bool = True

    @property
    def rows_by(self) -> tuple[str, ...]:
        """The dimensions whose values become rows."""
        return tuple(name for name in self.by if name != self.across)

    @property
    def is_series(self) -> bool:
        """Whether the rows are points in time, which no top is taken of."""
        return bool(self.rows_by) and self.rows_by[0] in TIME and not self.order

    @property
    def period(self) -> tuple[str, str]:
        """First and last day."""
        return self.first, self.last

    @property
    def before(self) -> tuple[str, str]:
        """The period of the same length just before."""
        first = date.fromisoformat(self.first)
        length = date.fromisoformat(self.last) - first
        end = first - timedelta(days=1)
        return (end - length).isoformat(), end.isoformat()

    def in_period(self, period: tuple[str, str], *more: Filter) -> Filter:
        """Return the view's filter within a period, and within ``more``."""
        days = Range(field="day", low=period[0], high=period[1])
        return And(all_of=(days, *(p for part in (self.where, *more) for p in conjuncts(part))))

    def query(self) -> Query:
        """Return the query for the rows."""
        order = self.order
        if not order and self.rows_by and not self.is_series:
            order = f"-{self.measures[0]}"
        asked = (*self.rows_by, *self.measures)
        return Query(
            by=self.rows_by,
            measures=self.measures,
            where=self.in_period(self.period),
            order_by=order if order.removeprefix("-") in asked else "",
            limit=_SERIES_ROWS if self.is_series else self.top if self.rows_by else None,
            others=bool(self.rows_by),
            exact=self.exact,
        )

    def with_(self, **changes: object) -> View:
        """Return the view with some fields changed."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def to_params(self) -> dict[str, str]:
        """Return the view as parameters of an address; defaults are left out."""
        plain: dict[str, str] = {"first": self.first, "last": self.last}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in plain or value == field.default:
                continue
            plain[field.name] = _as_param(value)
        return plain


def default_view(days: Sequence[str]) -> View:
    """Return the view of a page that is opened without parameters: the last week."""
    last = days[-1]
    first = (date.fromisoformat(last) - timedelta(days=DEFAULT_DAYS - 1)).isoformat()
    return View(first=max(first, days[0]), last=last)


def from_params(
    params: Mapping[str, str], *, days: Sequence[str], dimensions: Sequence[str]
) -> tuple[View, list[str]]:
    """Read the parameters of an address.

    Parameters
    ----------
    days : sequence of str
        That the cube holds, in order; not empty.
    dimensions : sequence of str
        That the cube has.

    Returns
    -------
    (View, list of str)
        The view, and in words what could not be read.
    """
    view, problems = default_view(days), []
    readers = {
        "first": _day,
        "last": _day,
        "where": lambda text: from_json(json.loads(text)),
        "compare": lambda text: text == "1",
        "exact": lambda text: text != "0",
        "by": lambda text: _names(text, dimensions, most=MAX_GROUPS),
        "across": lambda text: _names(text, dimensions, most=1)[0],
        "measures": lambda text: _names(text, tuple(MEASURES)) or view.measures,
        "order": lambda text: _order(text, (*dimensions, *MEASURES)),
        "top": _top,
    }
    for name, read in readers.items():
        if name not in params:
            continue
        try:
            view = view.with_(**{name: read(params[name])})
        except (ValueError, IndexError, RecursionError, InputError):
            problems.append(f"{name}={params[name][:60]}")
    if view.first > view.last:
        view = view.with_(first=view.last)
    if view.across not in view.by:
        view = view.with_(across="")
    return view, problems


def _as_param(value: Any) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, tuple):
        return ",".join(value)
    if isinstance(value, str | int):
        return str(value)
    return json.dumps(to_json(value), ensure_ascii=False, separators=(",", ":"))


def _day(text: str) -> str:
    return date.fromisoformat(text).isoformat()


def _top(text: str) -> int:
    top = int(text)
    if top not in TOPS:
        raise ValueError(text)
    return top


def _order(text: str, known: Sequence[str]) -> str:
    if text.removeprefix("-") not in known:
        raise ValueError(text)
    return text


def _names(text: str, known: Sequence[str], *, most: int = 20) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name for name in text.split(",") if name))
    if len(names) > most or set(names) - set(known):
        raise ValueError(text)
    return names

"""What is asked of the cube, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from closedloop.core.errors import InputError
from closedloop.data.cube.declaration import FLAGS
from closedloop.data.cube.filters import EVERYTHING, Filter

if TYPE_CHECKING:
    import polars as pl

QUANTILES = {"latency_p50": 0.50, "latency_p95": 0.95, "latency_p99": 0.99}
MEANS = {"confidence": "confidence"}  # measure → column
MEASURES = {
    "turns": "user turns",
    "users": "distinct users",
    **{flag: f"turns that are {flag.replace('_', ' ')}" for flag in FLAGS},
    **{f"{flag}_rate": f"share of turns that are {flag.replace('_', ' ')}" for flag in FLAGS},
    "confidence": "mean confidence of the answers",
    **{name: f"latency in ms, quantile {q:g}" for name, q in QUANTILES.items()},
}
OTHERS = "(others)"


class Source(StrEnum):
    """Where an answer comes from."""

    CUBOID = "cuboid"
    INDEX = "index"  # the segments: cells, row columns and Roaring bitmaps
    SCAN = "scan"  # the lake's Parquet files


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """A group-by with measures and a filter.

    Examples
    --------
    >>> Query(by=("intent",), measures=("turns", "bad_rate"), order_by="-bad_rate", limit=10).limit
    10
    """

    by: tuple[str, ...] = ()
    measures: tuple[str, ...] = ("turns",)
    where: Filter = EVERYTHING
    order_by: str = (
        ""  # a measure or dimension, "-" in front for descending; by the groups where empty
    )
    limit: int | None = None
    others: bool = False  # fold what the limit cuts off into one row
    exact: bool = True  # False allows sketches, within 1.5 % (see Answer.relative_error)

    def __post_init__(self) -> None:
        for measure in self.measures:
            if measure not in MEASURES:
                raise InputError(
                    f"There is no measure {measure!r}.", remedy=f"Use {', '.join(MEASURES)}."
                )
        if not self.measures:
            raise InputError("The query asks for no measure.", remedy="Ask for turns, at least.")
        key = self.order_by.removeprefix("-")
        if key and key not in (*self.by, *self.measures):
            raise InputError(
                f"The order {key!r} is neither a group nor a measure of the query.",
                remedy=f"Order by one of {', '.join((*self.by, *self.measures))}.",
            )
        if self.limit is not None and self.limit < 1:
            raise InputError(f"The limit is {self.limit}.", remedy="Give a limit of 1 or more.")

    def with_(self, **changes: object) -> Query:
        """Return the query with some fields changed."""
        return replace(self, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Which source answers a query, and why not a cheaper one."""

    source: Source
    cuboid: str = ""  # its name, where the source is a cuboid
    exact: bool = True
    reasons: tuple[str, ...] = ()
    days: int = 0  # day partitions that are looked at

    @property
    def label(self) -> str:
        """The source and the kind of answer, in a few words."""
        where = f"cuboid {self.cuboid}" if self.cuboid else self.source.value
        return f"{where} ({'exact' if self.exact else 'sketch'})"

    def __str__(self) -> str:
        return "\n".join([f"{self.label}, {self.days} days", *(f"  {r}" for r in self.reasons)])


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """The rows of an answer, with how they were made.

    ``relative_error`` has, for a measure that comes from a sketch, the half-width of its 95 %
    interval as a share of the value (for a latency, the guaranteed bound).
    """

    rows: pl.DataFrame  # one column a group, then one a measure
    plan: Plan
    seconds: float
    relative_error: dict[str, float]

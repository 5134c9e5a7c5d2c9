"""The cube: multi-dimensional questions over interactions, answered by the cheapest source.

Every source answers from the same version of the lake, the one that the cube was last
refreshed at, so that an answer does not depend on which of them gave it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import polars as pl

from closedloop.core.errors import InputError, NotFound
from closedloop.data.cube import index_answer, scan_answer
from closedloop.data.cube.cuboid_answer import CuboidCells
from closedloop.data.cube.declaration import FLAGS, CubeDeclaration
from closedloop.data.cube.dictionary import Dictionaries
from closedloop.data.cube.filters import And, Filter, In, IsNull, Not, Or, Range, Value
from closedloop.data.cube.manifest import Manifest, read_manifest, stamp
from closedloop.data.cube.planner import Planned, plan
from closedloop.data.cube.query import OTHERS, QUANTILES, Answer, Plan, Query, Source
from closedloop.data.cube.refresh import TABLE, cube_folder, days_of
from closedloop.data.cube.segment import Segment
from closedloop.data.cube.sketches import LATENCY_ERROR, USERS_ERROR
from closedloop.data.lake import Lake

_ADDITIVE = ("turns", *FLAGS)


@dataclass(frozen=True, kw_only=True)
class _Opened:
    """One generation of the cube, as its manifest names it."""

    manifest: Manifest
    dictionaries: Dictionaries
    segments: dict[str, Segment]
    cuboids: dict[str, CuboidCells]
    files: dict[str, list[str]]  # of the lake, by day


class Cube:
    """A lake's cube, opened for questions; follows refreshes by itself.

    Examples
    --------
    >>> cube = Cube(Lake("/srv/closedloop/lake"))                       # doctest: +SKIP
    >>> worst = Query(by=("intent",), measures=("turns", "bad_rate"),
    ...               order_by="-bad_rate", limit=10)                    # doctest: +SKIP
    >>> print(cube.query(worst).rows)                                   # doctest: +SKIP
    """

    def __init__(self, lake: Lake, *, memory_bytes: int = 2 << 30) -> None:
        self._memory_bytes = memory_bytes  # of columns kept between queries
        self._lake = lake
        self._root: Path = cube_folder(lake.url)
        self._turn = threading.Lock()
        self._stamp = -1
        self._current: _Opened | None = None

    @property
    def declaration(self) -> CubeDeclaration:
        """Its dimensions and cuboids."""
        return self._open().manifest.declaration

    @property
    def days(self) -> tuple[str, ...]:
        """The days that the cube holds, in order."""
        return tuple(self._open().manifest.segments)

    @property
    def lake_version(self) -> int:
        """The version of the lake's table that answers come from."""
        return self._open().manifest.lake_version

    @property
    def newest_lake_version(self) -> int:
        """The version that the lake's table has now."""
        return self._lake.version(TABLE)

    @property
    def size_bytes(self) -> int:
        """Bytes on disk."""
        return sum(path.stat().st_size for path in self._root.rglob("*") if path.is_file())

    @property
    def loaded_bytes(self) -> int:
        """Bytes of the segments' columns in memory."""
        return sum(segment.loaded_bytes for segment in self._open().segments.values())

    @property
    def rows(self) -> int:
        """Interactions in the cube."""
        return sum(entry.rows for entry in self._open().manifest.segments.values())

    def values(self, dimension: str, *, prefix: str = "", limit: int = 100) -> list[Value]:
        """Return values of a dimension that start with ``prefix``, whatever their case."""
        held = self._open().dictionaries.of.get(dimension)
        if held is None:
            raise NotFound(
                f"The cube has no dimension {dimension!r}.",
                remedy=f"It has {', '.join(self.declaration.names)}.",
            )
        text = held.values.cast(pl.String).str.to_lowercase()
        return held.values.filter(text.str.starts_with(prefix.lower())).head(limit).to_list()

    def explain(self, query: Query) -> Plan:
        """Return which source would answer, and why."""
        return self._plan(query, self._open()).plan

    def query(self, query: Query, *, source: Source | None = None) -> Answer:
        """Answer a query.

        Parameters
        ----------
        source : Source, optional
            Ask this source whatever the planner says; for measurements and tests.

        Raises
        ------
        InputError
            A field or value that the cube does not know, or a source that cannot answer.
        """
        started = time.perf_counter()
        opened = self._open()
        planned = self._plan(query, opened, source=source)
        if self._counts_users_late(planned):
            rows = self._top_then_users(query, opened)
        else:
            rows = _finished(self._grouped(planned, opened), planned.query)
            if query.limit is not None and rows.height > query.limit:
                top = rows.head(query.limit)
                rows = self._with_others(query, top, opened) if query.others else top
        return Answer(
            rows=rows,
            plan=planned.plan,
            seconds=time.perf_counter() - started,
            relative_error=_errors(planned.plan, query),
        )

    def compare(
        self, query: Query, *, period: tuple[str, str], before: tuple[str, str]
    ) -> pl.DataFrame:
        """Answer a query for two periods, side by side.

        Parameters
        ----------
        period, before : (str, str)
            First and last day, YYYY-MM-DD, both included.

        Returns
        -------
        DataFrame
            For each measure ``m``: ``m``, ``m_before`` and ``m_change`` (relative, null where
            there is nothing to compare with). The query's limit applies to the later period.
        """
        now, then = (
            self.query(
                query.with_(
                    where=And(all_of=(Range(field="day", low=low, high=high), query.where)),
                    limit=limit,
                    others=False,
                )
            ).rows
            for (low, high), limit in ((period, query.limit), (before, None))
        )
        by = list(query.by)
        then = then.rename({measure: f"{measure}_before" for measure in query.measures})
        if by:
            how: Literal["left", "full"] = "left" if query.limit else "full"
            both = now.join(then, on=by, how=how, nulls_equal=True, coalesce=True)
        else:
            both = now.hstack(then)
        return both.with_columns(
            pl.when(pl.col(f"{m}_before") != 0)
            .then((pl.col(m).fill_null(0) - pl.col(f"{m}_before")) / pl.col(f"{m}_before"))
            .alias(f"{m}_change")
            for m in query.measures
        )

    def drill_down(
        self, query: Query, group: Mapping[str, Value | None], *, limit: int = 50, offset: int = 0
    ) -> pl.DataFrame:
        """Return the interactions behind one cell of an answer, the latest first.

        Parameters
        ----------
        group : mapping
            The cell: a value for each dimension of ``query.by``.
        """
        if missing := set(query.by) - set(group):
            raise InputError(
                f"The cell has no value for {min(missing)!r}.",
                remedy=f"Give {', '.join(query.by)}.",
            )
        return self.interactions(
            And(all_of=(query.where, *(_is(name, group[name]) for name in query.by))),
            limit=limit,
            offset=offset,
        )

    def interactions(self, where: Filter, *, limit: int, offset: int = 0) -> pl.DataFrame:
        """Return interactions that a filter selects, the latest first."""
        opened = self._open()
        planned = self._plan(Query(where=where), opened)
        files = [opened.files[day] for day in reversed(planned.days)]
        return scan_answer.interactions(
            planned.query.where, files, opened.manifest.declaration, limit=limit, offset=offset
        )

    def lazy_interactions(self, where: Filter) -> pl.LazyFrame:
        """Return what a filter selects as a lazy frame, for sampling."""
        opened = self._open()
        planned = self._plan(Query(where=where), opened)
        files = [path for day in planned.days for path in opened.files[day]]
        return scan_answer.selected(planned.query.where, files, opened.manifest.declaration)

    def _plan(self, query: Query, opened: _Opened, *, source: Source | None = None) -> Planned:
        planned = plan(
            query, opened.manifest.declaration, opened.manifest, days=opened.manifest.segments
        )
        if source is None or source is planned.plan.source:
            return planned
        if source is Source.CUBOID:
            raise InputError(
                "No cuboid covers the query.", remedy="; ".join(planned.plan.reasons) + "."
            )
        if source is Source.INDEX and (
            why_not := index_answer.answers(planned.query, opened.manifest.declaration)
        ):
            raise InputError(f"Segments cannot answer: {why_not}.", remedy="Use another source.")
        forced = Plan(source=source, reasons=("asked for",), days=len(planned.days))
        return replace(planned, plan=forced)

    def _grouped(self, planned: Planned, opened: _Opened) -> pl.DataFrame:
        query = planned.query
        match planned.plan.source:
            case Source.CUBOID:
                return opened.cuboids[planned.plan.cuboid].answer(query, planned.periods)
            case Source.INDEX:
                used = [opened.segments[day] for day in planned.days]
                rows = index_answer.answer(
                    query,
                    used,
                    declaration=opened.manifest.declaration,
                    dictionaries=opened.dictionaries,
                )
                self._trim(opened, used)
                return rows
            case Source.SCAN:
                files = [path for day in planned.days for path in opened.files[day]]
                return scan_answer.answer(query, files, opened.manifest.declaration)

    def _trim(self, opened: _Opened, used: Sequence[Segment]) -> None:
        """Keep the columns in memory within bounds; those of other days go first."""
        loaded = self.loaded_bytes
        days_used = {segment.day for segment in used}
        for segment in sorted(opened.segments.values(), key=lambda s: s.day in days_used):
            if loaded <= self._memory_bytes:
                return
            loaded -= segment.loaded_bytes
            segment.release()

    def _counts_users_late(self, planned: Planned) -> bool:
        """Tell whether users are counted for the top groups only, once it is known which."""
        query = planned.query
        key = query.order_by.removeprefix("-")
        return (
            planned.plan.source is Source.INDEX
            and query.limit is not None
            and "users" in query.measures
            and len(query.by) == 1
            and query.by[0] in self.declaration.indexed
            and key.removesuffix("_rate") in _ADDITIVE
        )

    def _top_then_users(self, query: Query, opened: _Opened) -> pl.DataFrame:
        others = tuple(measure for measure in query.measures if measure != "users")
        key = query.order_by.removeprefix("-")
        asked = tuple(dict.fromkeys((*others, key)))
        everything = self.query(query.with_(measures=asked, limit=None)).rows
        assert query.limit is not None
        top = everything.head(query.limit)
        (by,) = query.by
        chosen = _any_of(by, top[by].to_list())
        users = query.with_(
            measures=("users",),
            where=And(all_of=(query.where, chosen)),
            order_by="",
            limit=None,
        )
        counted = _finished(self._grouped(self._plan(users, opened), opened), users)
        rows = top.join(counted, on=by, how="left", nulls_equal=True, maintain_order="left")
        rows = rows.select(*query.by, *query.measures)
        if query.others and everything.height > top.height:
            return self._with_others(query, rows, opened)
        return rows

    def _with_others(self, query: Query, top: pl.DataFrame, opened: _Opened) -> pl.DataFrame:
        """Add one row with everything that is in none of the top groups."""
        groups = [
            And(all_of=tuple(_is(name, group[name]) for name in query.by))
            for group in top.select(query.by).to_dicts()
        ]
        tops = (
            _any_of(query.by[0], top[query.by[0]].to_list())
            if len(query.by) == 1
            else Or(any_of=tuple(groups))
        )
        rest = query.with_(
            by=(),
            where=And(all_of=(query.where, Not(part=tops))),
            order_by="",
            limit=None,
            others=False,
        )
        planned = self._plan(rest, opened)
        row = _finished(self._grouped(planned, opened), planned.query)
        named = row.with_columns(
            pl.lit(OTHERS if top[name].dtype == pl.String else None)
            .cast(top[name].dtype)
            .alias(name)
            for name in query.by
        ).select(top.columns)
        return pl.concat([top, named.cast(top.schema)])

    def _open(self) -> _Opened:
        with self._turn:
            now = stamp(self._root)
            if self._current is None or now != self._stamp:
                self._current = self._read()
                self._stamp = now
            return self._current

    def _read(self) -> _Opened:
        manifest = read_manifest(self._root)
        if manifest.lake_version < 0:
            raise NotFound(
                f"The lake {self._lake.url} has no cube yet.",
                remedy="Build it: closedloop etl run, then closedloop cube refresh.",
            )
        return _Opened(
            manifest=manifest,
            dictionaries=Dictionaries(self._root / "dictionaries", manifest.declaration),
            segments={
                day: Segment(self._root / entry.folder, day)
                for day, entry in manifest.segments.items()
            },
            cuboids={
                cuboid.name: CuboidCells(cuboid, manifest.cuboids[cuboid.name], self._root)
                for cuboid in manifest.declaration.cuboids
                if cuboid.name in manifest.cuboids
            },
            files=days_of(self._lake.files(TABLE, version=manifest.lake_version)),
        )


def _finished(grouped: pl.DataFrame, query: Query) -> pl.DataFrame:
    """Return the groups and measures asked for, in the order asked for."""
    columns = [_measure(name) for name in query.measures]
    rows = grouped.select(*query.by, *columns)
    if query.order_by:
        key = query.order_by.removeprefix("-")
        descending = query.order_by.startswith("-")
        ties = [name for name in query.by if name != key]
        return rows.sort(
            [key, *ties], descending=[descending, *[False] * len(ties)], nulls_last=True
        )
    return rows.sort(query.by, nulls_last=True) if query.by else rows


def _measure(name: str) -> pl.Expr:
    if name.endswith("_rate"):
        share = pl.col(name.removesuffix("_rate")) / pl.col("turns")
        return pl.when(pl.col("turns") > 0).then(share).alias(name)
    if name == "confidence":
        mean = pl.col("confidence_sum") / pl.col("confidence_count")
        return pl.when(pl.col("confidence_count") > 0).then(mean).alias(name)
    return pl.col(name)


def _errors(plan: Plan, query: Query) -> dict[str, float]:
    if plan.source is not Source.CUBOID:
        return {}
    errors = {name: LATENCY_ERROR for name in query.measures if name in QUANTILES}
    return errors | ({"users": USERS_ERROR} if "users" in query.measures else {})


def _is(field: str, value: Value | None) -> Filter:
    return IsNull(field=field) if value is None else In(field=field, values=(value,))


def _any_of(field: str, values: Sequence[Value | None]) -> Filter:
    known = In(field=field, values=tuple(value for value in values if value is not None))
    return Or(any_of=(known, IsNull(field=field))) if None in values else known

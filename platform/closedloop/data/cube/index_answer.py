"""Answers from segments: exact for every declared dimension, whatever the filter."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from closedloop.data.cube.declaration import FLAGS, TIME, CubeDeclaration
from closedloop.data.cube.dictionary import Dictionaries
from closedloop.data.cube.query import MEANS, Query
from closedloop.data.cube.segment import Segment, no_user
from closedloop.data.cube.selection import Selected, Selection

_COUNTERS = 1 << 22  # keys up to which rows are counted in one array instead of sorted
_BITS_PER_GRID = 1 << 28  # of (groups × users) up to which users are ticked off in one array


def answers(query: Query, declaration: CubeDeclaration) -> str:
    """Return why segments cannot answer the query; "" where they can."""
    known = set(declaration.names)
    if lacking := (set(query.by) | query.where.fields()) - known - set(FLAGS):
        return f"{min(lacking)} is not a dimension of the cube"
    if flags := set(query.by) & set(FLAGS):
        return f"{min(flags)} is a flag, which segments filter but do not group by"
    for measure in query.measures:
        if measure.startswith("latency"):
            return "exact latency quantiles need every latency"
        if measure in MEANS and needs_rows(query, declaration):
            return f"segments keep {measure} a cell, and this query goes below cells"
    return ""


def needs_rows(query: Query, declaration: CubeDeclaration) -> bool:
    """Tell whether groups or conditions go below cells; distinct users aside."""
    below = set(declaration.indexed) | set(FLAGS)
    return bool((set(query.by) | query.where.fields()) & below)


@dataclass
class _Piece:
    """One segment's share: keys of cells or rows, with their measures."""

    cell_keys: npt.NDArray[np.int64] | None
    cells: pl.DataFrame | None
    row_keys: npt.NDArray[np.int64] | None
    users: npt.NDArray[np.uint32] | None
    flags: npt.NDArray[np.uint8] | None


def answer(
    query: Query,
    segments: Iterable[Segment],
    *,
    declaration: CubeDeclaration,
    dictionaries: Dictionaries,
) -> pl.DataFrame:
    """Return one row a group: its values, then ``turns``, flags, ``users`` as far as asked."""
    selection = Selection(query.where, declaration, dictionaries)
    wants_users = "users" in query.measures
    wants_flags = any(measure.removesuffix("_rate") in FLAGS for measure in query.measures)
    by_row = needs_rows(query, declaration)
    opened = list(segments)
    keys = _Keys(query.by, dictionaries, opened, celled=declaration.celled)
    pieces: list[_Piece] = []
    for segment in opened:
        if (selected := selection.of(segment)) is None:
            continue
        cell_part = cells = None
        if not by_row:
            cells = segment.cells
            cell_part = keys.of_cells(segment)
            if selected.cells is not None:
                cells, cell_part = cells.filter(selected.cells), cell_part[selected.cells]
        row_part = users = flags = None
        if by_row or wants_users:
            rows, row_cells = _rows(segment, selected, needs_cells=keys.look_at_cells)
            row_part = keys.of_rows(segment, rows, row_cells)
            users = _take(segment.column("user"), rows) if wants_users else None
            flags = _take(segment.column("flags"), rows) if by_row and wants_flags else None
        pieces.append(
            _Piece(cell_keys=cell_part, cells=cells, row_keys=row_part, users=users, flags=flags)
        )
    additive = _from_rows(pieces, keys.count, wants_flags) if by_row else _from_cells(pieces)
    if wants_users:
        users_by_key = _distinct(pieces, len(dictionaries.users))
        additive = additive.join(users_by_key, on="key", how="left").with_columns(
            pl.col("users").fill_null(0)
        )
    if not query.by and additive.is_empty():
        additive = _nothing(additive)
    return keys.decoded(additive)


Rows = npt.NDArray[np.uint32] | None  # None for all


def _rows(
    segment: Segment, selected: Selected, *, needs_cells: bool
) -> tuple[Rows, npt.NDArray[np.intp] | None]:
    if selected.rows is None:
        if selected.cells is None:
            rows = None
            cells = np.repeat(np.arange(len(segment.turns)), segment.turns) if needs_cells else None
            return rows, cells
        mask = np.repeat(selected.cells, segment.turns)
        rows = np.flatnonzero(mask).astype(np.uint32)
        chosen = np.flatnonzero(selected.cells)
        return rows, np.repeat(chosen, segment.turns[chosen]) if needs_cells else None
    rows = np.asarray(selected.rows.to_array(), dtype=np.uint32)
    if selected.cells is None and not needs_cells:
        return rows, None
    cells = segment.cell_of(rows)
    if selected.cells is not None:
        kept = selected.cells[cells]
        rows, cells = rows[kept], cells[kept]
    return rows, cells


def _take(column: npt.NDArray[Any], rows: Rows) -> npt.NDArray[Any]:
    return column if rows is None else column[rows]


class _Keys:
    """Groups as one number each: the codes of the group's dimensions, in mixed radix."""

    def __init__(
        self,
        by: tuple[str, ...],
        dictionaries: Dictionaries,
        segments: Sequence[Segment],
        *,
        celled: tuple[str, ...],
    ) -> None:
        self._by = by
        self._dictionaries = dictionaries
        days = [segment.day for segment in segments]
        self._periods = {
            "day": sorted(set(days)),
            "month": sorted({day[:7] for day in days}),
        }
        self._sizes = [
            len(self._periods[name]) if name in self._periods else len(dictionaries.of[name])
            for name in by
        ]
        self.count = math.prod(self._sizes)  # keys are below it
        self.look_at_cells = bool(set(by) & set(celled))

    def of_cells(self, segment: Segment) -> npt.NDArray[np.int64]:
        key = np.zeros(len(segment.starts), dtype=np.int64)
        for name, size in zip(self._by, self._sizes, strict=True):
            key *= size
            key += self._period(name, segment) if name in TIME[:2] else segment.cell_codes(name)
        return key

    def of_rows(
        self, segment: Segment, rows: Rows, cells: npt.NDArray[np.intp] | None
    ) -> npt.NDArray[np.int64]:
        length = segment.length if rows is None else len(rows)
        key = np.zeros(length, dtype=np.int64)
        for name, size in zip(self._by, self._sizes, strict=True):
            key *= size
            if name in TIME[:2]:
                key += self._period(name, segment)
            elif name in segment.cells.columns:
                assert cells is not None
                key += segment.cell_codes(name)[cells]
            else:
                key += _take(segment.column(name), rows)
        return key

    def _period(self, name: str, segment: Segment) -> int:
        value = segment.day if name == "day" else segment.day[:7]
        return self._periods[name].index(value)

    def decoded(self, frame: pl.DataFrame) -> pl.DataFrame:
        key = frame["key"].to_numpy()
        columns: list[pl.Series] = []
        for name, size in zip(reversed(self._by), reversed(self._sizes), strict=True):
            codes = key % size
            key = key // size
            if name in TIME[:2]:
                values = pl.Series(self._periods[name], dtype=pl.String).gather(codes)
            else:
                values = self._dictionaries.of[name].decode(codes)
            columns.insert(0, values.alias(name))
        return pl.DataFrame([*columns, *frame.drop("key").get_columns()])


def _from_cells(pieces: list[_Piece]) -> pl.DataFrame:
    names = ("turns", *FLAGS, "confidence_sum", "confidence_count")
    frames = [
        piece.cells.select(*names).with_columns(pl.Series("key", piece.cell_keys))
        for piece in pieces
        if piece.cells is not None
    ]
    if not frames:
        schema = {"key": pl.Int64, **dict.fromkeys(names, pl.Int64)}
        return pl.DataFrame(schema=schema | {"confidence_sum": pl.Float64})
    return (
        pl.concat(frames)
        .group_by("key")
        .agg(
            pl.col(n).sum() if n == "confidence_sum" else pl.col(n).cast(pl.Int64).sum()
            for n in names
        )
    )


def _from_rows(pieces: list[_Piece], count: int, wants_flags: bool) -> pl.DataFrame:
    if count <= _COUNTERS:
        return _counted(pieces, count, wants_flags)
    keys = _join([p.row_keys for p in pieces if p.row_keys is not None], np.int64)
    frame = pl.DataFrame({"key": keys})
    flags: list[pl.Expr] = []
    if wants_flags:
        bits = _join([p.flags for p in pieces if p.flags is not None], np.uint8)
        frame = frame.with_columns(pl.Series("flags", bits))
        flags = [
            ((pl.col("flags") // (1 << bit)) % 2).cast(pl.Int64).sum().alias(flag)
            for bit, flag in enumerate(FLAGS)
        ]
    return frame.group_by("key").agg(pl.len().cast(pl.Int64).alias("turns"), *flags)


def _counted(pieces: list[_Piece], count: int, wants_flags: bool) -> pl.DataFrame:
    """Return turns and flags of each key by counting in arrays of ``count`` places."""
    turns = np.zeros(count, dtype=np.int64)
    flagged = np.zeros((len(FLAGS) if wants_flags else 0, count), dtype=np.int64)
    for piece in pieces:
        assert piece.row_keys is not None
        turns += np.bincount(piece.row_keys, minlength=count)
        if wants_flags:
            assert piece.flags is not None
            for bit, totals in enumerate(flagged):
                chosen = piece.row_keys[(piece.flags >> bit & 1).astype(bool)]
                totals += np.bincount(chosen, minlength=count)
    found = np.flatnonzero(turns)
    named = {flag: totals[found] for flag, totals in zip(FLAGS, flagged, strict=False)}
    return pl.DataFrame({"key": found.astype(np.int64), "turns": turns[found], **named})


def _distinct(pieces: list[_Piece], users: int) -> pl.DataFrame:
    """Return the distinct users of each key."""
    schema = {"key": pl.Int64, "users": pl.Int64}
    keys = [p.row_keys for p in pieces if p.row_keys is not None]
    if not keys:
        return pl.DataFrame(schema=schema)
    numbers = [p.users for p in pieces if p.users is not None]
    known = sorted({int(k) for part in keys for k in pl.Series(part).unique().to_list()})
    if len(known) * (users + 1) <= _BITS_PER_GRID:
        return _ticked(keys, numbers, known, users)
    frame = pl.DataFrame({"key": np.concatenate(keys), "user": np.concatenate(numbers)})
    frame = frame.filter(pl.col("user") != int(no_user()))
    return frame.group_by("key").agg(pl.col("user").n_unique().cast(pl.Int64).alias("users"))


def _ticked(
    keys: list[npt.NDArray[np.int64]],
    numbers: list[npt.NDArray[np.uint32]],
    known: list[int],
    users: int,
) -> pl.DataFrame:
    grid = np.zeros((len(known), users + 1), dtype=bool)
    flat = grid.reshape(-1)
    places = np.asarray(known, dtype=np.int64)
    for part, user in zip(keys, numbers, strict=True):
        column = np.minimum(user, np.uint32(users))  # the last column takes those without a user
        if len(known) == 1:
            flat[column] = True
        else:
            row = np.searchsorted(places, part)
            flat[row * (users + 1) + column] = True
    counts = np.count_nonzero(grid[:, :users], axis=1)
    return pl.DataFrame({"key": places, "users": counts.astype(np.int64)})


def _nothing(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the one row of a query without groups that selects nothing."""
    return pl.DataFrame({name: [0] for name in frame.columns}, schema=frame.schema)


def _join(parts: list[npt.NDArray[Any]], dtype: Any) -> npt.NDArray[Any]:
    return np.concatenate(parts) if parts else np.zeros(0, dtype=dtype)

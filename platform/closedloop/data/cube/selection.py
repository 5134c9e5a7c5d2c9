"""Which rows of a segment a filter selects.

The tree is bound to the cube's dictionaries once a query: conditions become sets of codes. In
each segment a part that looks only at celled dimensions is a mask over cells, and any other
part a Roaring bitmap of rows. Of parts that must all hold, the one with the fewest rows gives
the candidates, and the others are only asked about those.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from pyroaring import BitMap

from closedloop.data.cube.declaration import FLAGS, CubeDeclaration
from closedloop.data.cube.dictionary import Dictionaries
from closedloop.data.cube.filters import (
    And,
    Contains,
    Filter,
    In,
    IsNull,
    Not,
    Or,
    Prefix,
    Range,
    conjuncts,
    to_expression,
    without_nots,
)
from closedloop.data.cube.postings import bitmap_of
from closedloop.data.cube.segment import Segment

_MANY_CODES = 64  # of which the rows' own codes are compared when they cover much of a segment
_MUCH = 1 / 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Selected:
    """Rows of a segment: ``rows`` within the cells where ``cells`` is true.

    None stands for all, so that a query without conditions touches nothing.
    """

    cells: npt.NDArray[np.bool_] | None
    rows: BitMap | None


class Selection:
    """A filter bound to a cube's dictionaries."""

    def __init__(
        self, tree: Filter, declaration: CubeDeclaration, dictionaries: Dictionaries
    ) -> None:
        self._by_cells = {*declaration.celled, "day", "month"}
        self._dictionaries = dictionaries
        # By the identity of a part, since hashing its values again and again shows.
        self._codes: dict[int, npt.NDArray[np.uint32]] = {}
        self._lookups: dict[int, npt.NDArray[np.bool_]] = {}
        self._celled: dict[int, bool] = {}
        self._masks: dict[int, npt.NDArray[np.bool_]] = {}  # of the segment at hand
        self._places: dict[int, npt.NDArray[np.intp]] = {}  # of the segment at hand
        self._estimates: dict[int, float] = {}  # of the segment at hand
        parts = conjuncts(without_nots(tree))
        self._by_cell = And(all_of=tuple(p for p in parts if p.fields() <= self._by_cells))
        self._by_row = And(all_of=tuple(p for p in parts if not p.fields() <= self._by_cells))

    def of(self, segment: Segment) -> Selected | None:
        """Return what the filter selects; None for nothing at all."""
        self._masks.clear()
        self._places.clear()
        self._estimates.clear()
        cells = self._cells(self._by_cell, segment) if self._by_cell.all_of else None
        if cells is not None:
            if not cells.any():
                return None
            if cells.all():
                cells = None
        rows = None
        if self._by_row.all_of:
            rows = self._rows(self._by_row, segment)
            if not rows:
                return None
        return Selected(cells=cells, rows=rows)

    def _is_celled(self, tree: Filter) -> bool:
        """Tell whether a part looks only at what the cells of a day have in common."""
        if id(tree) not in self._celled:
            self._celled[id(tree)] = tree.fields() <= self._by_cells
        return self._celled[id(tree)]

    def _cells(self, tree: Filter, segment: Segment) -> npt.NDArray[np.bool_]:
        """Return for each cell of a segment whether a celled part holds."""
        if id(tree) not in self._masks:
            self._masks[id(tree)] = self._cell_mask(tree, segment)
        return self._masks[id(tree)]

    def _cell_mask(self, tree: Filter, segment: Segment) -> npt.NDArray[np.bool_]:
        count = len(segment.starts)
        match tree:
            case And(all_of=parts):
                mask = np.ones(count, dtype=bool)
                for part in parts:
                    mask &= self._cells(part, segment)
                return mask
            case Or(any_of=parts):
                mask = np.zeros(count, dtype=bool)
                for part in parts:
                    mask |= self._cells(part, segment)
                return mask
            case Not(part=part):
                return ~self._cells(part, segment)
        if tree.field in ("day", "month"):
            return np.full(count, self._holds_on(tree, segment.day))
        return self._lookup(tree)[segment.cell_codes(tree.field)]

    def _rows(self, tree: Filter, segment: Segment) -> BitMap:
        """Return the rows of a segment that a part selects."""
        if self._is_celled(tree):
            mask = self._cells(tree, segment)
            if mask.all():
                return BitMap(range(segment.length))
            return bitmap_of(np.flatnonzero(np.repeat(mask, segment.turns)))
        match tree:
            case And(all_of=parts):
                first, *others = sorted(parts, key=lambda part: self._about(part, segment))
                found = self._rows(first, segment)
                for part in others:
                    found = self._among(found, part, segment)
                return found
            case Or(any_of=parts):
                return BitMap.union(*(self._rows(part, segment) for part in parts))
            case Not(part=part):
                return self._rows(part, segment).flip(0, segment.length)
        if tree.field in FLAGS:
            return bitmap_of(np.flatnonzero(self._flagged(tree, segment.column("flags"))))
        codes = self._codes_of(tree)
        if len(codes) > max(_MANY_CODES, len(self._dictionaries.of[tree.field]) * _MUCH):
            return bitmap_of(np.flatnonzero(self._lookup(tree)[segment.column(tree.field)]))
        return segment.postings(tree.field).rows_at(self._places_of(tree, segment))

    def _among(self, rows: BitMap, tree: Filter, segment: Segment) -> BitMap:
        """Return those of the rows that a part selects."""
        if not rows:
            return rows
        if self._is_celled(tree):
            numbers = _array(rows)
            return bitmap_of(numbers[self._cells(tree, segment)[segment.cell_of(numbers)]])
        match tree:
            case And(all_of=parts):
                for part in sorted(parts, key=lambda part: self._about(part, segment)):
                    rows = self._among(rows, part, segment)
                return rows
            case Or(any_of=parts):
                return BitMap.union(*(self._among(rows, part, segment) for part in parts))
            case Not(part=part):
                return rows - self._among(rows, part, segment)
        if tree.field in FLAGS:
            numbers = _array(rows)
            return bitmap_of(numbers[self._flagged(tree, segment.column("flags")[numbers])])
        return rows & self._rows(tree, segment)

    def _about(self, tree: Filter, segment: Segment) -> float:
        """Return about how many rows a part selects, without selecting them."""
        if id(tree) not in self._estimates:
            self._estimates[id(tree)] = self._estimate(tree, segment)
        return self._estimates[id(tree)]

    def _estimate(self, tree: Filter, segment: Segment) -> float:
        if self._is_celled(tree):
            return float(segment.turns[self._cells(tree, segment)].sum())
        match tree:
            case And(all_of=parts):
                return min(self._about(part, segment) for part in parts)
            case Or(any_of=parts):
                return sum(self._about(part, segment) for part in parts)
            case Not(part=part):
                return segment.length - self._about(part, segment)
        if tree.field in FLAGS:
            return segment.length / 2
        return segment.postings(tree.field).about(self._places_of(tree, segment))

    def _places_of(self, tree: Filter, segment: Segment) -> npt.NDArray[np.intp]:
        """Return where a condition's postings are in a segment."""
        if id(tree) not in self._places:
            assert not isinstance(tree, And | Or | Not)
            postings = segment.postings(tree.field)
            self._places[id(tree)] = postings.places(self._codes_of(tree))
        return self._places[id(tree)]

    def _flagged(self, tree: Any, flags: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
        """Return for each row's flags whether a condition on one of them holds."""
        values = pl.Series(tree.field, [False, True])
        wanted = values.to_frame().select(to_expression(tree).alias("x"))["x"].to_numpy()
        return np.asarray(wanted[flags >> FLAGS.index(tree.field) & 1])

    def _holds_on(self, tree: Any, day: str) -> bool:
        value = day if tree.field == "day" else day[:7]
        frame = pl.DataFrame({tree.field: [value]})
        return bool(frame.select(to_expression(tree).alias("x"))["x"][0])

    def _lookup(self, tree: Filter) -> npt.NDArray[np.bool_]:
        """Return, for each code of the condition's dimension, whether it holds."""
        if id(tree) not in self._lookups:
            assert not isinstance(tree, And | Or | Not)
            lookup = np.zeros(len(self._dictionaries.of[tree.field]), dtype=bool)
            lookup[self._codes_of(tree)] = True
            self._lookups[id(tree)] = lookup
        return self._lookups[id(tree)]

    def _codes_of(self, tree: Filter) -> npt.NDArray[np.uint32]:
        if id(tree) in self._codes:
            return self._codes[id(tree)]
        match tree:
            case IsNull():
                codes = np.zeros(1, dtype=np.uint32)
            case In() | Range() | Prefix() | Contains():
                values = self._dictionaries.of[tree.field].values
                held = values.alias(tree.field).to_frame().select(to_expression(tree).alias("x"))
                codes = (np.flatnonzero(held["x"].to_numpy()) + 1).astype(np.uint32)
            case _:
                raise AssertionError("only a condition has codes")
        self._codes[id(tree)] = codes
        return codes


def _array(rows: BitMap) -> npt.NDArray[np.uint32]:
    return np.asarray(rows.to_array(), dtype=np.uint32)

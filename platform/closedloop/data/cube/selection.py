"""Which rows of a segment a filter selects.

The tree is bound to the cube's dictionaries once a query: conditions become sets of codes. In
each segment a part that looks only at celled dimensions is a mask over cells, and any other
part a Roaring bitmap of rows.
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
)
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
        self._celled = set(declaration.celled)
        self._dictionaries = dictionaries
        self._codes: dict[Filter, npt.NDArray[np.uint32]] = {}
        self._lookups: dict[Filter, npt.NDArray[np.bool_]] = {}
        parts = conjuncts(tree)
        cheap = self._celled | {"day", "month"}
        self._by_cell = And(all_of=tuple(p for p in parts if p.fields() <= cheap))
        self._by_row = And(all_of=tuple(p for p in parts if not p.fields() <= cheap))

    def of(self, segment: Segment) -> Selected | None:
        """Return what the filter selects; None for nothing at all."""
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

    def _cells(self, tree: Filter, segment: Segment) -> npt.NDArray[np.bool_]:
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
        if tree.fields() <= self._celled | {"day", "month"}:
            mask = self._cells(tree, segment)
            if mask.all():
                return BitMap(range(segment.length))
            return BitMap(np.flatnonzero(np.repeat(mask, segment.turns)).astype(np.uint32))
        match tree:
            case And(all_of=parts):
                found = self._rows(parts[0], segment)
                for part in parts[1:]:
                    if not found:
                        break
                    found = found & self._rows(part, segment)
                return found
            case Or(any_of=parts):
                return BitMap.union(*(self._rows(part, segment) for part in parts))
            case Not(part=part):
                return self._rows(part, segment).flip(0, segment.length)
        if tree.field in FLAGS:
            return self._flagged(tree, segment)
        codes = self._codes_of(tree)
        if len(codes) > max(_MANY_CODES, len(self._dictionaries.of[tree.field]) * _MUCH):
            selected = self._lookup(tree)[segment.column(tree.field)]
            return BitMap(np.flatnonzero(selected).astype(np.uint32))
        return segment.postings(tree.field).rows_of(codes)

    def _flagged(self, tree: Any, segment: Segment) -> BitMap:
        bit = segment.column("flags") >> FLAGS.index(tree.field) & 1
        values = pl.Series(tree.field, [False, True])
        wanted = values.to_frame().select(to_expression(tree).alias("x"))["x"].to_numpy()
        return BitMap(np.flatnonzero(wanted[bit]).astype(np.uint32))

    def _holds_on(self, tree: Any, day: str) -> bool:
        value = day if tree.field == "day" else day[:7]
        frame = pl.DataFrame({tree.field: [value]})
        return bool(frame.select(to_expression(tree).alias("x"))["x"][0])

    def _lookup(self, tree: Filter) -> npt.NDArray[np.bool_]:
        """Return, for each code of the condition's dimension, whether it holds."""
        if tree not in self._lookups:
            assert not isinstance(tree, And | Or | Not)
            lookup = np.zeros(len(self._dictionaries.of[tree.field]), dtype=bool)
            lookup[self._codes_of(tree)] = True
            self._lookups[tree] = lookup
        return self._lookups[tree]

    def _codes_of(self, tree: Filter) -> npt.NDArray[np.uint32]:
        if tree in self._codes:
            return self._codes[tree]
        match tree:
            case IsNull():
                codes = np.zeros(1, dtype=np.uint32)
            case In() | Range() | Prefix() | Contains():
                values = self._dictionaries.of[tree.field].values
                held = values.alias(tree.field).to_frame().select(to_expression(tree).alias("x"))
                codes = (np.flatnonzero(held["x"].to_numpy()) + 1).astype(np.uint32)
            case _:
                raise AssertionError("only a condition has codes")
        self._codes[tree] = codes
        return codes

"""A segment: one day's interactions as arrays, so that any filter is answered without the lake.

Rows are ordered by their *cell*, the combination of the dimensions with few values. A condition
on those is then a set of cells, that is, of row ranges, and costs nothing a row. For each
indexed dimension a segment has an inverted index from value to rows: a Roaring bitmap where that
is the smaller, a plain list of row numbers where it is not. The value of each row, which only
grouping needs, is worked out from the index on first use. The user of each row is a number, so
that distinct users are counted exactly.

Files of a segment::

    cells.parquet        codes of a cell, first row, turns, flags, confidence
    rows.arrow           user and flags of each row
    postings-NAME.arrow  code, and its rows; read in place (mmap)

Reference: Lemire, D. et al. (2018). Roaring bitmaps: implementation of an optimized software
library. Software: Practice and Experience 48(4).
"""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from closedloop.data.cube.declaration import FLAGS
from closedloop.data.cube.postings import Postings, write_postings

Codes = npt.NDArray[np.unsignedinteger[Any]]
_NO_USER = np.uint32(0xFFFFFFFF)


def write_segment(
    folder: Path,
    *,
    celled: dict[str, Codes],
    indexed: dict[str, Codes],
    users: npt.NDArray[np.uint32],
    flags: npt.NDArray[np.uint8],
    confidence: npt.NDArray[np.float64],
) -> None:
    """Write a day's rows as a segment; every array has one value a row.

    Parameters
    ----------
    celled, indexed : dict of str to ndarray
        Codes of the dimensions.
    users : ndarray
        Numbers of the users; `NO_USER` where there is none.
    flags : ndarray
        One bit a flag, the first of `FLAGS` lowest.
    confidence : ndarray
        NaN where there is none.
    """
    folder.mkdir(parents=True)
    names = list(celled)
    frame = pl.DataFrame({name: _narrow(codes) for name, codes in celled.items()}).with_columns(
        pl.Series("user", users), pl.int_range(pl.len(), dtype=pl.UInt32).alias("row")
    )
    # Within a cell by user: equal numbers side by side are quick to tell apart.
    order = frame.sort([*names, "user"])["row"].to_numpy()
    ordered = pl.DataFrame({name: _narrow(codes)[order] for name, codes in celled.items()})
    ordered = ordered.with_columns(
        pl.Series("confidence", confidence[order]).fill_nan(None),
        *(pl.Series(flag, (flags[order] >> bit) & 1) for bit, flag in enumerate(FLAGS)),
    )
    cells = (
        ordered.group_by(names, maintain_order=True)
        .agg(
            pl.len().cast(pl.UInt32).alias("turns"),
            *(pl.col(flag).cast(pl.UInt32).sum() for flag in FLAGS),
            pl.col("confidence").sum().alias("confidence_sum"),
            pl.col("confidence").count().alias("confidence_count"),
        )
        .with_columns((pl.col("turns").cum_sum() - pl.col("turns")).alias("start"))
    )
    cells.write_parquet(folder / "cells.parquet", compression="zstd")

    columns = {"user": users[order], "flags": flags[order]}
    _write_arrow(folder / "rows.arrow", pa.table(columns), compression="zstd")
    for name, codes in indexed.items():
        _write_arrow(folder / f"postings-{name}.arrow", write_postings(_narrow(codes)[order]))
    for path in folder.iterdir():  # a power loss may not leave a named file without its bytes
        _flush(path)


class Segment:
    """A day's segment, opened for reading; what was read stays in memory."""

    def __init__(self, folder: Path, day: str) -> None:
        self.folder = folder
        self.day = day

    @cached_property
    def cells(self) -> pl.DataFrame:
        """One row a cell, in row order."""
        return pl.read_parquet(self.folder / "cells.parquet")

    @cached_property
    def starts(self) -> npt.NDArray[np.uint32]:
        """First row of each cell."""
        return self.cells["start"].to_numpy()

    @cached_property
    def turns(self) -> npt.NDArray[np.uint32]:
        """Rows of each cell."""
        return self.cells["turns"].to_numpy()

    @cached_property
    def length(self) -> int:
        """Rows in all."""
        return int(self.turns.sum())

    def cell_codes(self, name: str) -> Codes:
        """Return a celled dimension's code for each cell."""
        found = self._columns.get(name)
        if found is None:
            found = self._columns[name] = self.cells[name].to_numpy()
        return found

    @cached_property
    def _rows(self) -> pa.Table:
        return _map_arrow(self.folder / "rows.arrow")

    @cached_property
    def _columns(self) -> dict[str, npt.NDArray[Any]]:
        return {}

    @cached_property
    def _postings(self) -> dict[str, Postings]:
        return {}

    def postings(self, name: str) -> Postings:
        """Return the inverted index of an indexed dimension."""
        if name not in self._postings:
            table = _map_arrow(self.folder / f"postings-{name}.arrow")
            self._postings[name] = Postings(table, self.length)
        return self._postings[name]

    def column(self, name: str) -> npt.NDArray[Any]:
        """Return ``user``, ``flags`` or an indexed dimension's code for each row."""
        found = self._columns.get(name)  # another thread may release them at any moment
        if found is None:
            found = self._columns[name] = (
                self._rows[name].chunk(0).to_numpy()
                if name in ("user", "flags")
                else self.postings(name).forward()
            )
        return found

    @property
    def loaded_bytes(self) -> int:
        """Bytes of the columns in memory; the operating system keeps the mapped files."""
        return sum(column.nbytes for column in list(self._columns.values()))

    def release(self) -> None:
        """Give the columns' memory back; they are read again when needed."""
        self._columns.clear()

    def cell_of(self, rows: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
        """Return the cell of each row."""
        return np.searchsorted(self.starts, rows, side="right") - 1


def no_user() -> np.uint32:
    """Return the number that stands for no user."""
    return _NO_USER


def _narrow(codes: Codes) -> Codes:
    highest = int(codes.max()) if len(codes) else 0
    return codes.astype(np.uint8 if highest < 256 else np.uint16 if highest < 65_536 else np.uint32)


def _write_arrow(path: Path, table: pa.Table, *, compression: str | None = None) -> None:
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with (
        pa.OSFile(str(path), "wb") as sink,
        pa.ipc.new_file(sink, table.schema, options=options) as writer,
    ):
        writer.write_table(table.combine_chunks())


def _map_arrow(path: Path) -> pa.Table:
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

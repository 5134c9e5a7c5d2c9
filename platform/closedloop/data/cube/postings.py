"""An inverted index: from each value of a dimension to the rows of a segment that have it.

A value's rows are a Roaring bitmap or a list of row numbers (two, three or four bytes each, as
the segment's length needs), whichever is the smaller: a bitmap costs some eight bytes for every
65,536 rows that it touches, which is more than the rows themselves where a value is rare.
"""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyroaring import BitMap

_WIDTH = b"bytes_per_row_number"


def write_postings(codes: npt.NDArray[np.unsignedinteger[Any]]) -> pa.Table:
    """Return the inverted index of each row's code.

    Returns
    -------
    Table
        ``code`` (ascending), ``is_bitmap`` and ``posting``, its rows as bytes.
    """
    order = np.argsort(codes, kind="stable").astype(np.uint32)
    values, starts = np.unique(codes[order], return_index=True)
    ends = np.append(starts[1:], len(codes))
    width = 2 if len(codes) <= 1 << 16 else 3 if len(codes) <= 1 << 24 else 4
    lists = np.ascontiguousarray(order.astype("<u4").view(np.uint8).reshape(-1, 4)[:, :width])
    postings: list[bytes] = []
    is_bitmap: list[bool] = []
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        plain = lists[start:end].tobytes()
        bitmap = b""
        if len(plain) > 2 * (end - start) + 16 or width == 2:  # else no bitmap can be smaller
            found = bitmap_of(order[start:end])
            found.run_optimize()
            bitmap = found.serialize()
        smaller = bool(bitmap) and len(bitmap) < len(plain)
        is_bitmap.append(smaller)
        postings.append(bitmap if smaller else plain)
    fits = sum(map(len, postings)) < 1 << 31
    table = pa.table(
        {
            "code": values,
            "is_bitmap": is_bitmap,
            "posting": pa.array(postings, type=pa.binary() if fits else pa.large_binary()),
        }
    )
    return table.replace_schema_metadata({_WIDTH: str(width).encode()})


def bitmap_of(rows: npt.NDArray[Any]) -> BitMap:
    """Return a bitmap of row numbers in ascending order.

    An ``array.array`` is ten times faster to take in than an ndarray.
    """
    numbers = array("I")
    numbers.frombytes(np.ascontiguousarray(rows, dtype=np.uint32).tobytes())
    return BitMap(numbers)


class Postings:
    """An inverted index, opened for reading.

    Examples
    --------
    >>> index = Postings(write_postings(np.array([3, 1, 3, 0], dtype=np.uint8)), 4)
    >>> index.rows_at(index.places(np.array([1, 2, 3])))
    BitMap([0, 1, 2])
    >>> index.forward().tolist()
    [3, 1, 3, 0]
    """

    def __init__(self, table: pa.Table, length: int) -> None:
        self._table = table.combine_chunks()  # keeps the mapping alive
        self._length = length
        self._width = int(table.schema.metadata[_WIDTH])
        if not table.num_rows:
            self._codes = np.zeros(0, dtype=np.uint8)
            return
        self._codes = self._table["code"].chunk(0).to_numpy()
        self._is_bitmap = self._table["is_bitmap"].chunk(0).to_numpy(zero_copy_only=False)
        column = self._table["posting"].chunk(0)
        _, offsets, data = column.buffers()
        kind = np.int32 if pa.types.is_binary(column.type) else np.int64
        found = np.frombuffer(offsets, dtype=kind)[: len(column) + 1]
        self._offsets: npt.NDArray[np.int64] = found.astype(np.int64)
        self._sizes = np.diff(self._offsets)
        self._data = np.frombuffer(data, dtype=np.uint8)

    def places(self, codes: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
        """Return where the postings of these codes, in ascending order, are."""
        places = np.searchsorted(self._codes, codes)
        inside = places < len(self._codes)
        if not inside.all():
            places, codes = places[inside], codes[inside]
        return np.asarray(places[self._codes[places] == codes])

    def rows_at(self, places: npt.NDArray[np.intp]) -> BitMap:
        """Return the rows of the postings at these places."""
        if not len(places):
            return BitMap()
        bitmaps = self._is_bitmap[places]
        parts = [self._bitmap(place) for place in places[bitmaps].tolist()]
        if len(parts) < len(places):
            plain = places[~bitmaps] if parts else places
            parts.append(bitmap_of(np.sort(self._lists(plain))))
        return parts[0] if len(parts) == 1 else BitMap.union(*parts)

    def about(self, places: npt.NDArray[np.intp]) -> int:
        """Return about how many rows these postings have, without reading them."""
        return int(self._sizes[places].sum()) // self._width

    def forward(self) -> npt.NDArray[Any]:
        """Return the code of each row."""
        codes = np.zeros(self._length, dtype=self._codes.dtype)
        if not len(self._codes):
            return codes
        plain = np.flatnonzero(~self._is_bitmap)
        counts = self._sizes[plain] // self._width
        codes[self._lists(plain)] = np.repeat(self._codes[plain], counts)
        for place in np.flatnonzero(self._is_bitmap).tolist():
            codes[np.asarray(self._bitmap(place).to_array())] = self._codes[place]
        return codes

    def _bitmap(self, place: int) -> BitMap:
        return BitMap.deserialize(self._bytes(place).tobytes())

    def _lists(self, places: npt.NDArray[np.intp]) -> npt.NDArray[np.uint32]:
        """Return the rows of several plain postings, one after the other."""
        starts, sizes = self._offsets[places], self._sizes[places]
        total = int(sizes.sum())
        shift = np.repeat(starts - (np.cumsum(sizes) - sizes), sizes)
        joined = self._data[shift + np.arange(total)]
        rows = np.zeros((total // self._width, 4), dtype=np.uint8)
        rows[:, : self._width] = joined.reshape(-1, self._width)
        return rows.view("<u4").ravel()

    def _bytes(self, place: int) -> npt.NDArray[np.uint8]:
        return self._data[self._offsets[place] : self._offsets[place + 1]]

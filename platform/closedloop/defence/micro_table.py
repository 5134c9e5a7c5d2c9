"""The arrays that micro-clusters live in, and how they grow.

A micro-cluster has a *slot*, a term has a *number*; both are used again once they are free. A
term's postings, the micro-clusters that hold it, are a block of a shared pool. Blocks double as
they fill, and a block that was left waits for the next term of its size.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Small = npt.NDArray[np.int32]

# Columns of `figures`.
MASS, SQUARE, OWN, SEEN = range(4)
# Columns of `counts`.
ID, TEXTS, HELD, CELL = range(4)
# Columns of `cells`.
CELL_SQUARE, EXPECTED, PRODUCT = range(3)
# Columns of `blocks`.
START, SIZE, FILLED, HOLDERS = range(4)

LEAST_BLOCK = 4
CLASSES = 24  # sizes of blocks: 4, 8, 16, …
END = CLASSES  # place in `heads` of the first entry of the pool that was never used
_FIRST_SLOTS, _FIRST_TERMS, _FIRST_POOL = 256, 1_024, 8_192


class MicroTable(NamedTuple):
    """Arrays by slot, by cell, by term and by place in the pool of postings."""

    # (slots, 4): weight of its texts; squared length of the sum of their unit vectors; sum of
    # the squares of their weights; time of the last.
    figures: Floats
    # (slots, 4): id, or -1 where the slot is free; texts, without decay; terms; cell.
    counts: Ints
    # (slots, most terms): numbers of its terms, and the weight of its texts that hold each.
    held: Small
    weights: Floats
    # (slots,): scratch of a search, all zeros between two.
    products: Floats
    touched: Small
    # (cells, 3): squared length of the sum of each cluster's texts; product of that and the sum
    # of all texts; scratch, all zeros between two. A cluster has a *cell* until the next grouping.
    cells: Floats
    near: Ints
    # (1,): cells in use.
    used: Ints
    # (1,): squared length of the sum of all texts.
    whole: Floats
    # (terms,): weight of the texts that hold it; (terms, 4): its block in the pool, how much of
    # that is filled, and how many micro-clusters hold it.
    frequency: Floats
    blocks: Ints
    # (places,): slot and value of a posting.
    slots: Small
    values: Floats
    # (CLASSES + 1,): first free block of each size, or -1; the end of what was used.
    heads: Ints


def empty_table(most_terms: int) -> MicroTable:
    """Return a table without micro-clusters.

    Parameters
    ----------
    most_terms : int
        Terms of a micro-cluster that there must be room for.
    """
    slots, terms, pool = _FIRST_SLOTS, _FIRST_TERMS, _FIRST_POOL
    heads = np.full(CLASSES + 1, -1, dtype=np.int64)
    heads[END] = 0
    counts = np.zeros((slots, 4), dtype=np.int64)
    counts[:, ID] = -1
    return MicroTable(
        figures=np.zeros((slots, 4)),
        counts=counts,
        held=np.zeros((slots, most_terms), dtype=np.int32),
        weights=np.zeros((slots, most_terms)),
        products=np.zeros(slots),
        touched=np.zeros(slots, dtype=np.int32),
        cells=np.zeros((slots, 3)),
        near=np.zeros(slots, dtype=np.int64),
        used=np.zeros(1, dtype=np.int64),
        whole=np.zeros(1),
        frequency=np.zeros(terms),
        blocks=np.zeros((terms, 4), dtype=np.int64),
        slots=np.zeros(pool, dtype=np.int32),
        values=np.zeros(pool),
        heads=heads,
    )


def with_room(
    table: MicroTable, *, slots: int = 0, terms: int = 0, pool: int = 0, cells: int = 0
) -> MicroTable:
    """Return the table with room for so many slots, terms, places and cells; doubled at least."""
    grown: dict[str, Any] = {}
    if slots > len(table.counts):
        slots = max(slots, 2 * len(table.counts))
        for name in ("figures", "counts", "held", "weights", "products", "touched"):
            grown[name] = _longer(getattr(table, name), slots)
        grown["counts"][len(table.counts) :, ID] = -1
    if terms > len(table.frequency):
        terms = max(terms, 2 * len(table.frequency))
        for name in ("frequency", "blocks"):
            grown[name] = _longer(getattr(table, name), terms)
    if pool > len(table.slots):
        pool = max(pool, 2 * len(table.slots))
        for name in ("slots", "values"):
            grown[name] = _longer(getattr(table, name), pool)
    if cells > len(table.cells):
        cells = max(cells, 2 * len(table.cells))
        grown["cells"], grown["near"] = _longer(table.cells, cells), _longer(table.near, cells)
    return table._replace(**grown) if grown else table


def _longer(array: npt.NDArray[Any], length: int) -> npt.NDArray[Any]:
    longer = np.zeros((length, *array.shape[1:]), dtype=array.dtype)
    longer[: len(array)] = array
    return longer

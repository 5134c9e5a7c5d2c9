"""Where a text belongs, compiled.

A text is compared with every micro-cluster that shares a term with it. The first call in a
process reads the compiled code from the disk, or compiles it (seconds) where there is none yet.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from closedloop.defence.micro_index import join
from closedloop.defence.micro_table import (
    CELL,
    CELL_SQUARE,
    EXPECTED,
    FILLED,
    HELD,
    ID,
    PRODUCT,
    SEEN,
    SQUARE,
    START,
    TEXTS,
    Floats,
    Ints,
    MicroTable,
)

FLOOR = 0.1  # a smaller cosine is chance: one common word


@njit(cache=True)
def place(
    table: MicroTable,
    terms: Ints,
    now: float,
    at: float,
    mass: float,
    similarity: float,
    free: int,
    founded: int,
    chance: float,
    limits: Ints,
) -> tuple[int, int]:
    """Put a text into the micro-cluster that it resembles most, or found one.

    Parameters
    ----------
    terms : ndarray of int, shape (terms,)
        Numbers of its terms.
    now, at, mass : float
        Its weight and time, and the weight of all texts with it.
    similarity : float
        Cosine from which it joins.
    free, founded : int
        Slot and id of a micro-cluster that it founds.
    chance : float
        How much more than all texts it resembles those of the cluster that it is put into.
    limits : ndarray of int, shape (2,)
        Postings of a term, and terms of a micro-cluster, that are kept.

    Returns
    -------
    tuple of int
        The slot, and where it is new the slot of the nearest in the cluster that it is put
        into, -1 where that is a new one; -2 where the text joined.
    """
    count = len(terms)
    weights = np.empty(count)
    length = 0.0
    for i in range(count):
        table.frequency[terms[i]] += now
        weights[i] = math.log(1.0 + mass / table.frequency[terms[i]])
        length += weights[i] * weights[i]
    length = math.sqrt(length)
    for i in range(count):
        weights[i] /= length
    found = _products(table, terms, weights)
    best, nearest = 0.0, -1  # the square of a cosine
    for i in range(found):
        slot = table.touched[i]
        product = table.products[slot]
        cosine = product * product / table.figures[slot, SQUARE]
        if cosine > best:
            best, nearest = cosine, slot
    beside = -2
    cell, cosine, whole = _nearest_cell(table, found, chance, 0.5 * similarity)
    if best >= similarity * similarity:
        cell = table.counts[nearest, CELL]
    else:
        if cosine < FLOOR:
            cell, beside = table.used[0], -1
            table.used[0] += 1
            table.cells[cell, :] = 0.0
        else:
            beside = _nearest_in(table, found, cell)
        nearest = free
        table.counts[free, ID] = founded
        table.counts[free, TEXTS] = 0
        table.counts[free, HELD] = 0
        table.counts[free, CELL] = cell
        table.figures[free, :] = 0.0
        table.figures[free, SEEN] = at
    table.cells[cell, CELL_SQUARE] += now * (now + 2.0 * table.cells[cell, PRODUCT])
    for i in range(found):
        slot = table.touched[i]
        table.products[slot] = 0.0
        other = table.counts[slot, CELL]
        table.cells[other, EXPECTED] += now * table.cells[other, PRODUCT]
        table.cells[other, PRODUCT] = 0.0
    table.cells[cell, EXPECTED] += now * (now + whole)
    table.whole[0] += now * (now + 2.0 * whole)
    join(table, nearest, terms, weights, now, at, limits)
    return nearest, beside


@njit(cache=True)
def _products(table: MicroTable, terms: Ints, weights: Floats) -> int:
    """Sum the products of a text and each micro-cluster; return how many share a term."""
    found = 0
    for i in range(len(terms)):
        start = table.blocks[terms[i], START]
        for at in range(start, start + table.blocks[terms[i], FILLED]):
            slot, product = table.slots[at], weights[i] * table.values[at]
            if product > 0.0:
                if table.products[slot] == 0.0:
                    table.touched[found] = slot
                    found += 1
                table.products[slot] += product
    return found


@njit(cache=True)
def _nearest_cell(
    table: MicroTable, found: int, chance: float, sure: float
) -> tuple[int, float, float]:
    """Return the cluster whose sum of texts a text resembles most, or -1.

    Only clusters count that it resembles so much more than it resembles all texts: where all
    texts share words, a small cosine says little. A cosine from `sure` on says enough.

    Returns
    -------
    tuple
        The cell, the cosine, and the product with the sum of all texts.
    """
    cells = table.cells
    used, whole = 0, 0.0
    for i in range(found):
        slot = table.touched[i]
        cell = table.counts[slot, CELL]
        if cells[cell, PRODUCT] == 0.0:
            table.near[used] = cell
            used += 1
        cells[cell, PRODUCT] += table.products[slot]
        whole += table.products[slot]
    best, nearest = 0.0, -1
    for i in range(used):
        cell = table.near[i]
        product = cells[cell, PRODUCT]
        cosine = product / math.sqrt(cells[cell, CELL_SQUARE])
        expected = whole * cells[cell, EXPECTED]
        if cosine > best and (cosine >= sure or product * table.whole[0] >= chance * expected):
            best, nearest = cosine, cell
    return nearest, best, whole


@njit(cache=True)
def _nearest_in(table: MicroTable, found: int, cell: int) -> int:
    """Return the micro-cluster of a cluster that a text resembles most."""
    best, nearest = -1.0, -1
    for i in range(found):
        slot = table.touched[i]
        if table.counts[slot, CELL] == cell:
            product = table.products[slot]
            cosine = product * product / table.figures[slot, SQUARE]
            if cosine > best:
                best, nearest = cosine, slot
    return nearest


@njit(cache=True)
def measure_cells(table: MicroTable, terms: int, cells: int) -> None:
    """Take the squared length of each cluster's sum of texts anew, from the postings."""
    table.cells[:, :] = 0.0
    table.whole[0] = 0.0
    table.used[0] = cells
    for term in range(terms):
        start = table.blocks[term, START]
        end = start + table.blocks[term, FILLED]
        whole = 0.0
        for at in range(start, end):
            cell = table.counts[table.slots[at], CELL]
            table.cells[cell, PRODUCT] += table.values[at]
            whole += table.values[at]
        table.whole[0] += whole * whole
        for at in range(start, end):
            cell = table.counts[table.slots[at], CELL]
            value = table.cells[cell, PRODUCT]
            table.cells[cell, CELL_SQUARE] += value * value
            table.cells[cell, EXPECTED] += value * whole
            table.cells[cell, PRODUCT] = 0.0

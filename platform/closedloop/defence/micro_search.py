"""What is done for each text and each posting, compiled.

A text is compared with every micro-cluster that shares a term with it. The first call in a
process reads the compiled code from the disk, or compiles it (seconds) where there is none yet.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from closedloop.defence.micro_table import (
    CELL,
    CELL_SQUARE,
    END,
    EXPECTED,
    FILLED,
    HELD,
    HOLDERS,
    ID,
    LEAST_BLOCK,
    MASS,
    OWN,
    PRODUCT,
    SEEN,
    SIZE,
    SQUARE,
    START,
    TEXTS,
    Floats,
    Ints,
    MicroTable,
    Small,
)

# Texts that are nearly equal say little more about what belongs together than a few of them
# would: the size of a micro-cluster grows with the logarithm from about this many on.
REPEATS = 6.0
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
    cell, cosine, whole = _nearest_cell(table, found, chance)
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
    _join(table, nearest, terms, weights, now, at, limits)
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
def _nearest_cell(table: MicroTable, found: int, chance: float) -> tuple[int, float, float]:
    """Return the cluster whose sum of texts a text resembles most, or -1.

    Only clusters count that it resembles so much more than it resembles all texts; where all
    texts are of one kind, a cosine alone says little.

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
        if cosine > best and product * table.whole[0] >= chance * expected:
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
def _join(
    table: MicroTable,
    slot: int,
    terms: Ints,
    weights: Floats,
    now: float,
    at: float,
    limits: Ints,
) -> None:
    figures, counts = table.figures[slot], table.counts[slot]
    figures[MASS] += now
    figures[OWN] += now * now
    figures[SEEN] = max(figures[SEEN], at)
    counts[TEXTS] += 1
    for i in range(len(terms)):
        _hold(table, slot, terms[i], now)
        added = weights[i] * now
        before = _post(table, slot, terms[i], added, limits[0])
        figures[SQUARE] += added * (added + 2.0 * before)
    if counts[HELD] > 2 * limits[1]:
        _keep_terms(table, slot, limits[1])


@njit(cache=True)
def _hold(table: MicroTable, slot: int, term: int, weight: float) -> None:
    count = table.counts[slot, HELD]
    for i in range(count):
        if table.held[slot, i] == term:
            table.weights[slot, i] += weight
            return
    table.held[slot, count], table.weights[slot, count] = term, weight
    table.counts[slot, HELD] = count + 1
    table.blocks[term, HOLDERS] += 1


@njit(cache=True)
def _post(table: MicroTable, slot: int, term: int, added: float, postings: int) -> float:
    """Add to a posting, and return what it was."""
    start, count = table.blocks[term, START], table.blocks[term, FILLED]
    for at in range(start, start + count):
        if table.slots[at] == slot:
            before = table.values[at]
            table.values[at] = before + added
            return float(before)
    if count >= 2 * postings:
        count = _keep_champions(table, term, postings)
    if count == table.blocks[term, SIZE]:
        start = _larger_block(table, term)
    table.slots[start + count], table.values[start + count] = slot, added
    table.blocks[term, FILLED] = count + 1
    return 0.0


@njit(cache=True)
def _keep_champions(table: MicroTable, term: int, postings: int) -> int:
    """Keep the postings that make up most of their micro-cluster, in their order."""
    start, count = table.blocks[term, START], table.blocks[term, FILLED]
    scores = np.empty(count)
    for i in range(count):
        value = table.values[start + i]
        scores[i] = -value * value / table.figures[table.slots[start + i], SQUARE]
    kept = np.sort(np.argsort(scores, kind="mergesort")[:postings])
    for i in range(len(kept)):
        table.slots[start + i] = table.slots[start + kept[i]]
        table.values[start + i] = table.values[start + kept[i]]
    table.blocks[term, FILLED] = len(kept)
    return len(kept)


@njit(cache=True)
def _keep_terms(table: MicroTable, slot: int, terms: int) -> None:
    """Keep a micro-cluster's heaviest terms, in their order."""
    count = table.counts[slot, HELD]
    kept = np.zeros(count, dtype=np.bool_)
    kept[np.argsort(-table.weights[slot, :count], kind="mergesort")[:terms]] = True
    to = 0
    for i in range(count):
        term = table.held[slot, i]
        if kept[i]:
            table.held[slot, to], table.weights[slot, to] = term, table.weights[slot, i]
            to += 1
        else:
            _unlink(table, slot, term)
    table.counts[slot, HELD] = to


@njit(cache=True)
def _unlink(table: MicroTable, slot: int, term: int) -> None:
    start, count = table.blocks[term, START], table.blocks[term, FILLED]
    for at in range(start, start + count):
        if table.slots[at] == slot:
            last = start + count - 1
            table.slots[at], table.values[at] = table.slots[last], table.values[last]
            table.blocks[term, FILLED] = count - 1
            break
    table.blocks[term, HOLDERS] -= 1


@njit(cache=True)
def _larger_block(table: MicroTable, term: int) -> int:
    old, size = table.blocks[term, START], table.blocks[term, SIZE]
    new_size = max(2 * size, LEAST_BLOCK)
    kind = _kind(new_size)
    start = table.heads[kind]
    if start >= 0:
        table.heads[kind] = table.slots[start]  # a free block's first entry leads to the next
    else:
        start = table.heads[END]
        table.heads[END] = start + new_size
    for i in range(table.blocks[term, FILLED]):
        table.slots[start + i], table.values[start + i] = table.slots[old + i], table.values[old + i]
    _give_back(table, old, size)
    table.blocks[term, START], table.blocks[term, SIZE] = start, new_size
    return int(start)


@njit(cache=True)
def _give_back(table: MicroTable, start: int, size: int) -> None:
    if size:
        kind = _kind(size)
        table.slots[start] = table.heads[kind]
        table.heads[kind] = start


@njit(cache=True)
def _kind(size: int) -> int:
    kind = 0
    while LEAST_BLOCK << kind < size:
        kind += 1
    return kind


@njit(cache=True)
def remove(table: MicroTable, slots: Ints) -> None:
    """Empty slots."""
    for slot in slots:
        for i in range(table.counts[slot, HELD]):
            _unlink(table, slot, table.held[slot, i])
        table.counts[slot, ID] = -1
        table.counts[slot, HELD] = 0


@njit(cache=True)
def forget_terms(table: MicroTable, terms: Ints) -> None:
    """Free the blocks of terms that no micro-cluster holds."""
    for term in terms:
        _give_back(table, table.blocks[term, START], table.blocks[term, SIZE])
        table.blocks[term, :] = 0
        table.frequency[term] = 0.0


@njit(cache=True)
def post_all(table: MicroTable, ends: Ints, slots: Small, values: Floats, postings: int) -> None:
    """Lay out postings that were read from a state: of term n, those up to ends[n + 1]."""
    for term in range(len(ends) - 1):
        for at in range(ends[term], ends[term + 1]):
            _post(table, slots[at], term, values[at], postings)


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

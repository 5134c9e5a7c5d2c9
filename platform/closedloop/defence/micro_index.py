"""The inverted index of micro-clusters, compiled: what they hold, and what leads to them."""

from __future__ import annotations

import numpy as np
from numba import njit

from closedloop.defence.micro_table import (
    END,
    FILLED,
    HELD,
    HOLDERS,
    ID,
    LEAST_BLOCK,
    MASS,
    OWN,
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


@njit(cache=True)
def join(
    table: MicroTable,
    slot: int,
    terms: Ints,
    weights: Floats,
    now: float,
    at: float,
    limits: Ints,
) -> None:
    """Add a text to a micro-cluster; the parameters are those of `micro_search.place`."""
    figures, counts = table.figures[slot], table.counts[slot]
    figures[MASS] += now
    figures[OWN] += now * now
    figures[SEEN] = max(figures[SEEN], at)
    counts[TEXTS] += 1
    for i in range(len(terms)):
        _hold(table, slot, terms[i], now)
        added = weights[i] * now
        before = post(table, slot, terms[i], added, limits[0])
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
def post(table: MicroTable, slot: int, term: int, added: float, postings: int) -> float:
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
        table.slots[start + i], table.values[start + i] = (
            table.slots[old + i],
            table.values[old + i],
        )
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
            post(table, slots[at], term, values[at], postings)

"""How often each micro-cluster was hit: by 5 s, by minute, and before that by hour of week.

Micro-clusters are what is counted, since they are for good: clusters merge and split, and take
the counts of their micro-clusters along. A micro-cluster that makes room leaves its counts to its
last cluster (a *rest*), so that the cluster's past stays whole.

Columns are micro-clusters and rows are times, so that what happens to all of them at a time, such
as forgetting a minute, is one step over contiguous memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

FINE_S, MINUTE_S, HOUR_S = 5.0, 60.0, 3600.0
FINE, MINUTES, HOURS = 13, 61, 168
NOBODY = -(2**62)  # of a column or row that holds nothing
_FIRST = 64  # columns
_STAY = 2_000  # texts that a micro-cluster stays longer for each text of its own

Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]


class Tally:
    """Counts of the texts of one tenant.

    Parameters
    ----------
    limit : int
        Most micro-clusters, and most rests of clusters, together; those hit longest ago, with
        regard to how often, make room.
    half_life_s : float
        Time after which counts by hour of week weigh half.
    """

    # Arrays with a column a micro-cluster, and what a new column holds.
    _columns = (
        *("ids", "homes", "born", "past_before", "last", "total"),
        *("fine", "minutes", "past"),
    )

    def __init__(self, *, limit: int, half_life_s: float) -> None:
        self.limit = limit
        self.half_life_s = half_life_s
        # Micro-cluster to its column; the rest of cluster c is named -1 - c.
        self.slots: dict[int, int] = {}
        self.free: list[int] = []
        # Micro-clusters that made room since somebody asked.
        self.dropped: list[int] = []
        size = min(_FIRST, limit)
        self.ids: Whole = np.full(size, NOBODY, np.int64)
        # Cluster as of the last text.
        self.homes: Whole = np.zeros(size, np.int64)
        # Minute of the first text.
        self.born: Whole = np.zeros(size, np.int64)
        # What `past_texts` was when the first text's minute joined the past.
        self.past_before: Floats = np.zeros(size)
        # Number of the tenant's text that hit it last.
        self.last: Whole = np.zeros(size, np.int64)
        self.total: Whole = np.zeros(size, np.int64)
        self.fine = np.zeros((FINE, size), np.int32)
        self.minutes = np.zeros((MINUTES, size), np.int32)
        self.past = np.zeros((HOURS, size), np.float32)
        # The tenant's own counts, and which time each row holds.
        self.fine_at = np.full(FINE, NOBODY, np.int64)
        self.minute_at = np.full(MINUTES, NOBODY, np.int64)
        self.fine_all = np.zeros(FINE, np.int64)
        self.minutes_all = np.zeros(MINUTES, np.int64)
        self.past_all: Floats = np.zeros(HOURS)
        self.past_texts = 0.0
        self.texts = 0
        self.now = -math.inf
        self.first = math.inf
        self.faded = NOBODY  # day at which the past was last made to fade

    def advance(self, at: float) -> bool:
        """Move the clock on to a text's time; tell whether a new minute has begun."""
        if at <= self.now:
            return False
        before, self.now = self.now, at
        self.first = min(self.first, at)
        fine = int(at // FINE_S)
        if fine != before // FINE_S:
            for number in range(max(fine - FINE + 1, int(self.fine_at.max()) + 1), fine + 1):
                row = number % FINE
                self.fine[row] = 0
                self.fine_all[row], self.fine_at[row] = 0, number
        minute = int(at // MINUTE_S)
        if minute == before // MINUTE_S:
            return False
        newest = int(self.minute_at.max())
        for number in sorted(int(n) for n in self.minute_at if NOBODY < n <= minute - MINUTES):
            self._leave(number)
        for number in range(max(minute - MINUTES + 1, newest + 1), minute + 1):
            row = number % MINUTES
            self.minutes[row] = 0
            self.minutes_all[row], self.minute_at[row] = 0, number
        self._fade(minute // 1440)
        return newest > NOBODY

    def count(self, micro: int, home: int, at: float) -> None:
        """Count a text of a micro-cluster; what is older than an hour is left out."""
        slot = self.slots.get(micro)
        if slot is None:
            slot = self._found(micro, int(at // MINUTE_S))
        self.homes[slot] = home
        self._add(slot, at)

    def count_all(self, names: Sequence[int], at: float) -> None:
        """Count a text under several different names."""
        held = self.slots
        fresh = [name for name in names if name not in held]
        while len(self.free) < len(fresh):
            self._widen()
            fresh = [name for name in names if name not in held]  # room may be made of some
        for name in fresh:
            self._found(name, int(at // MINUTE_S))
        self._add([held[name] for name in names], at)

    def _add(self, slots: int | list[int], at: float) -> None:
        self.texts += 1
        self.last[slots] = self.texts
        self.total[slots] += 1
        minute = int(at // MINUTE_S)
        row = minute % MINUTES
        if self.minute_at[row] == minute:
            self.minutes[row, slots] += 1
            self.minutes_all[row] += 1
        number = int(at // FINE_S)
        row = number % FINE
        if self.fine_at[row] == number:
            self.fine[row, slots] += 1
            self.fine_all[row] += 1

    def fine_rows(self, now: float, rows: int) -> list[int]:
        """Return the rows of the present 5 s and those before it that hold something."""
        number = int(now // FINE_S)
        wanted = range(number - rows, number + 1)
        return [n % FINE for n in wanted if self.fine_at[n % FINE] == n]

    def minute_rows(self, oldest: int, newest: int) -> list[int]:
        """Return the rows of some minutes, both ends among them, that are still held."""
        oldest = max(oldest, newest - MINUTES + 1)
        wanted = range(oldest, newest + 1)
        return [n % MINUTES for n in wanted if self.minute_at[n % MINUTES] == n]

    @property
    def live(self) -> npt.NDArray[np.bool_]:
        """Return which columns are micro-clusters, shape (columns,)."""
        return self.ids >= 0

    @property
    def rests(self) -> npt.NDArray[np.bool_]:
        """Return which columns are rests of clusters, shape (columns,)."""
        return (self.ids < 0) & (self.ids > NOBODY)

    def _leave(self, minute: int) -> None:
        """Let a minute that is an hour old join the past."""
        row, hour = minute % MINUTES, (minute // 60) % HOURS
        self.past[hour] += self.minutes[row]
        self.past_all[hour] += self.minutes_all[row]
        self.past_texts += float(self.minutes_all[row])
        self.past_before[self.born > minute] = self.past_texts
        self.minute_at[row] = NOBODY

    def _fade(self, day: int) -> None:
        if self.faded == NOBODY or day <= self.faded:
            self.faded = max(day, self.faded)
            return
        factor = 2.0 ** (-(day - self.faded) * 86_400.0 / self.half_life_s)
        self.faded = day
        self.past *= np.float32(factor)
        self.past_all *= factor
        self.past_before *= factor
        self.past_texts *= factor

    def _found(self, name: int, minute: int) -> int:
        if not self.free:
            self._widen()
        slot = self.free.pop()
        self.slots[name] = slot
        self.ids[slot], self.born[slot] = name, minute
        self.past_before[slot] = self.past_texts
        return slot

    def _widen(self) -> None:
        """Make columns free: new ones up to the limit, then those of what makes room."""
        size = len(self.ids)
        if not self.slots and not self.free:
            self.free = list(range(size - 1, -1, -1))
        elif size < self.limit:
            more = min(size, self.limit - size)
            for name in self._columns:
                held = getattr(self, name)
                nothing = NOBODY if name == "ids" else 0
                room = np.full((*held.shape[:-1], more), nothing, held.dtype)
                setattr(self, name, np.concatenate([held, room], axis=-1))
            self.free = [*range(size + more - 1, size - 1, -1), *self.free]
        else:
            self._make_room()

    def _make_room(self) -> None:
        """Fold an eighth into the rests of their clusters; of the rests, a half stays at most."""
        size = len(self.ids)
        stay = self.last + np.minimum(_STAY * self.total, self.texts // 2)
        order = np.lexsort((self.ids, stay))
        live, rests = self.live, self.rests
        leaving = order[live[order]][: max(1, size // 8)]
        spent = order[rests[order]][: max(0, int(rests.sum()) - size // 4)]
        folded: dict[int, list[int]] = {}
        for slot in leaving.tolist():
            folded.setdefault(-1 - int(self.homes[slot]), []).append(slot)
            self.dropped.append(int(self.ids[slot]))
        self._drop(spent.tolist())
        for name, slots in folded.items():
            rest = self.slots.get(name)
            if rest is None:  # the first one's column goes on as the rest
                rest, *slots = slots
                del self.slots[int(self.ids[rest])]
                self.slots[name] = rest
                self.ids[rest] = name
            if slots:
                self._fold(rest, slots)
        if not self.free:  # each was the only one of its cluster
            self._drop(leaving[: max(1, size // 16)].tolist())
        self.free.sort(reverse=True)

    def _fold(self, rest: int, slots: list[int]) -> None:
        for rows in (self.fine, self.minutes, self.past):
            rows[:, rest] += rows[:, slots].sum(axis=1)
        self.total[rest] += self.total[slots].sum()
        self.last[rest] = max(int(self.last[rest]), int(self.last[slots].max()))
        self.born[rest] = min(int(self.born[rest]), int(self.born[slots].min()))
        self.past_before[rest] = min(self.past_before[rest], float(self.past_before[slots].min()))
        self._drop(slots)

    def _drop(self, slots: Iterable[int]) -> None:
        slots = list(slots)
        for slot in slots:
            del self.slots[int(self.ids[slot])]
        self.free.extend(slots)
        for name in self._columns:
            getattr(self, name)[..., slots] = NOBODY if name == "ids" else 0

"""The online phase: each text joins the micro-cluster it resembles most, or founds one.

A micro-cluster is a small group of nearly equal texts, kept as sums. An inverted index from term
to micro-clusters finds the candidates, so that a text costs what its own terms cost. Weights
decay exponentially with time. Decay is *forward*: what comes later weighs more, and the past is
never touched; cosines do not notice. The sums are arrays (`micro_table`), and what is done for
each text is compiled (`micro_search`).

References
----------
Carnein, M., Assenmacher, D., Trautmann, H. (2017). Stream clustering of chat messages with
applications to Twitch streams (textClust: micro-clusters of TF-IDF, fading, macro phase).
Petrović, S., Osborne, M., Lavrenko, V. (2010). Streaming first story detection.
Cormode, G. et al. (2009). Forward decay: a practical time decay model for streaming systems.
Manning, C., Raghavan, P., Schütze, H. (2008). Introduction to Information Retrieval, ch. 7
(champion lists).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from closedloop.defence import micro_index, micro_search
from closedloop.defence.micro_cluster import Landing, MicroCluster
from closedloop.defence.micro_table import (
    CELL,
    END,
    HELD,
    HOLDERS,
    ID,
    LEAST_BLOCK,
    MASS,
    OWN,
    SQUARE,
    Floats,
    Ints,
    Small,
    empty_table,
    with_room,
)
from closedloop.defence.micro_views import Frequency, Micros
from closedloop.defence.terms import MOST_TERMS

# Half-lives between the oldest and the newest text that are told apart; squares stay floats.
_LONGEST = 60.0
_LEAST_FREQUENCY = 1e-300  # of a term that is known; of others it is 0
_AHEAD = 64  # terms
_FADED = 2.0**-10  # of a text of now: what weighs less is forgotten


class MicroClusters:
    """Bounded set of micro-clusters with an inverted index.

    Parameters
    ----------
    similarity : float
        Cosine from which a text joins.
    half_life : float
        Time after which a text weighs half, in the unit of `at`.
    limit : int
        Most micro-clusters; the lightest make room.
    postings : int
        Micro-clusters that a term leads to, at most twice as many.
    terms : int
        Terms of a micro-cluster, at most twice as many.
    chance : float
        How much more than all texts a new micro-cluster resembles those of its cluster.
    """

    def __init__(
        self,
        *,
        similarity: float,
        half_life: float,
        limit: int,
        postings: int,
        terms: int,
        chance: float,
    ) -> None:
        self.similarity = similarity
        self.half_life = half_life
        self.limit = limit
        self.chance = chance
        self.next_id = 0
        self.mass = 0.0
        self.origin = 0.0
        # Ids below it have been grouped; how many of them are left.
        self.settled = 0
        self.settled_left = 0
        self.table = empty_table(2 * terms + MOST_TERMS)
        # Id to slot, in the order of the ids; slots and numbers of terms to use again.
        self.places: dict[int, int] = {}
        self.free_slots: list[int] = []
        self.numbers: dict[str, int] = {}
        self.names: list[str] = []
        self.free_numbers: list[int] = []
        self.postings = postings
        self._limits = np.array([postings, terms], dtype=np.int64)
        # Places that a term of a text may take anew; terms that there is room for, and slots.
        self._block = 4 * max(postings, LEAST_BLOCK)
        self._spare, self._rows = 0, 0

    def __len__(self) -> int:
        return len(self.places)

    @property
    def micros(self) -> Mapping[int, MicroCluster]:
        """The micro-clusters as of now, each read when it is asked for."""
        return Micros(self)

    @property
    def frequency(self) -> Mapping[str, float]:
        """Weight of the texts that hold a term, where a micro-cluster holds it."""
        return Frequency(self)

    def add(self, terms: list[str], at: float) -> Landing:
        """Add a text.

        Parameters
        ----------
        terms : list of str
            Different terms.
        at : float
            Time of the text; what comes late counts as of its own time.

        Returns
        -------
        Landing
            Its micro-cluster, and what that changed.
        """
        exponent = (at - self.origin) / self.half_life
        removed: tuple[int, ...] = ()
        if exponent > _LONGEST:
            removed = self._rescale(at)
            exponent = 0.0
        now = 2.0 ** max(exponent, -_LONGEST)
        self.mass += now
        places = self.places
        if len(places) >= self.limit:
            removed += self._make_room()
        free_slots = self.free_slots
        slot = free_slots[-1] if free_slots else len(places)
        found = list(map(self.numbers.get, terms))
        numbers = self._numbered(terms) if None in found else found
        self._spare -= len(terms)
        if self._spare < 0 or slot >= self._rows:
            self._make_places(slot, len(terms))
        slot, beside = micro_search.place(
            self.table,
            np.array(numbers, dtype=np.int64),
            now,
            at,
            self.mass,
            self.similarity,
            slot,
            self.next_id,
            self.chance,
            self._limits,
        )
        if beside == -2:
            return Landing(
                micro=int(self.table.counts[slot, ID]), new=False, nearest=-1, removed=removed
            )
        if free_slots:
            free_slots.pop()
        micro = self.next_id
        self.next_id += 1
        places[micro] = slot
        nearest = -1 if beside < 0 else int(self.table.counts[beside, ID])
        return Landing(micro=micro, new=True, nearest=nearest, removed=removed)

    def _numbered(self, terms: list[str]) -> list[int]:
        """Return the numbers of terms, new ones for new terms."""
        numbers, names, free = self.numbers, self.names, self.free_numbers
        for term in terms:
            if term not in numbers:
                if free:
                    number = free.pop()
                    names[number] = term
                else:
                    number = len(names)
                    names.append(term)
                numbers[term] = number
        if len(names) > len(self.table.frequency):
            self.table = with_room(self.table, terms=len(names))
        return [numbers[term] for term in terms]

    def _make_places(self, slot: int, terms: int) -> None:
        """Make room in the table for the next texts, and say how far it will do."""
        terms += _AHEAD
        pool = int(self.table.heads[END]) + terms * self._block
        self.table = with_room(
            self.table, slots=slot + 1, pool=pool, cells=int(self.table.used[0]) + terms
        )
        self._spare, self._rows = terms, len(self.table.counts)

    def places_for(self, postings: Ints) -> int:
        """Return places of the pool that do for terms with so many postings."""
        return int(np.maximum(2 * postings, LEAST_BLOCK).sum()) + self._block

    @property
    def needs_grouping(self) -> bool:
        """Whether there is no room, and too few have been grouped to make some."""
        return len(self.places) >= self.limit and self.settled_left < self._tenth

    def settle(self, labels: list[int]) -> None:
        """All micro-clusters of now have been grouped.

        Parameters
        ----------
        labels : list of int
            Their groups 0, 1, …, in the order of the ids.
        """
        self.settled, self.settled_left = self.next_id, len(self.places)
        self.table.counts[self.slots(), CELL] = labels
        count = max(labels, default=-1) + 1
        self.table = with_room(self.table, cells=count)
        self._spare = 0
        micro_search.measure_cells(self.table, len(self.names), count)

    def slots(self) -> Ints:
        """Return the slots in use, in the order of the ids."""
        return np.fromiter(self.places.values(), dtype=np.int64, count=len(self.places))

    def held(self, slots: Ints) -> tuple[Ints, Small, Floats]:
        """Return what micro-clusters hold, one after the other.

        Returns
        -------
        tuple of ndarray
            Where each begins, and at last the end; numbers of terms; weights of the texts that
            hold them.
        """
        counts = self.table.counts[slots, HELD]
        inside = np.arange(self.table.held.shape[1]) < counts[:, None]
        terms, weights = self.table.held[slots][inside], self.table.weights[slots][inside]
        return np.r_[0, np.cumsum(counts)], terms, weights

    @property
    def _tenth(self) -> int:
        return max(1, self.limit // 10)

    def _make_room(self) -> tuple[int, ...]:
        """Remove the lightest, a tenth of all; not those that no grouping has seen."""
        slots = self.slots()
        grouped = slots[self.table.counts[slots, ID] < self.settled]
        order = np.argsort(self.table.figures[grouped, MASS], kind="stable")
        return self._remove(grouped[order[: self._tenth]])

    def forget(self, now: float) -> tuple[int, ...]:
        """Remove what has faded by now, and return its ids."""
        least = _FADED * 2.0 ** min(_LONGEST, (now - self.origin) / self.half_life)
        return self._remove_below(least)

    def _remove_below(self, mass: float) -> tuple[int, ...]:
        slots = self.slots()
        return self._remove(slots[self.table.figures[slots, MASS] < mass])

    def _remove(self, slots: Ints) -> tuple[int, ...]:
        table = self.table
        removed: list[int] = table.counts[slots, ID].tolist()
        if removed:
            micro_index.remove(table, slots)
            for micro in removed:
                del self.places[micro]
                self.settled_left -= micro < self.settled
            self.free_slots += slots.tolist()
        self._forget_terms()
        return tuple(removed)

    def _forget_terms(self) -> None:
        """Give up the numbers of terms that no micro-cluster holds."""
        count = len(self.names)
        unheld = self.table.blocks[:count, HOLDERS] == 0
        lost = np.flatnonzero(unheld & (self.table.frequency[:count] > 0.0))
        micro_index.forget_terms(self.table, lost)
        for number in lost.tolist():
            del self.numbers[self.names[number]]
            self.names[number] = ""
            self.free_numbers.append(number)

    def _rescale(self, at: float) -> tuple[int, ...]:
        """Make `at` the time at which a text weighs 1; forget what has faded by then."""
        factor = 2.0 ** -min(1_000.0, (at - self.origin) / self.half_life)
        removed = self._remove_below(_FADED / factor)
        table = self.table
        self.origin = at
        self.mass *= factor
        table.figures[:, [MASS]] *= factor
        table.figures[:, [SQUARE, OWN]] *= factor * factor
        table.weights[:] *= factor
        table.values[:] *= factor
        known = table.frequency > 0.0
        table.frequency[known] = np.maximum(table.frequency[known] * factor, _LEAST_FREQUENCY)
        table.cells[:] *= factor * factor
        table.whole[:] *= factor * factor
        return removed

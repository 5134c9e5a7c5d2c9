"""The online phase: each text joins the micro-cluster it resembles most, or founds one.

A micro-cluster is a small group of nearly equal texts, kept as sums. An inverted index from term
to micro-clusters finds the candidates, so that a text costs what its own terms cost. Weights
decay exponentially with time. Decay is *forward*: what comes later weighs more, and the past is
never touched; cosines do not notice.

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

import heapq
import math
from itertools import takewhile
from operator import itemgetter

from closedloop.defence.micro_cluster import Landing, MicroCluster

_second = itemgetter(1)
# Half-lives between the oldest and the newest text that are told apart; squares stay floats.
_LONGEST = 60.0
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
    """

    def __init__(
        self, *, similarity: float, half_life: float, limit: int, postings: int, terms: int
    ) -> None:
        self.similarity = similarity
        self.half_life = half_life
        self.limit = limit
        self.postings = postings
        self.terms = terms
        self.micros: dict[int, MicroCluster] = {}
        self.next_id = 0
        self.mass = 0.0
        self.frequency: dict[str, float] = {}
        self.index: dict[str, dict[int, float]] = {}
        self.origin = 0.0
        # Ids below it have been grouped; how many of them are left.
        self.settled = 0
        self.settled_left = 0
        # Micro-cluster to its `square`, which every candidate is asked for.
        self.squares: dict[int, float] = {}

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
        mass = self.mass = self.mass + now
        frequency = self.frequency
        log = math.log
        weights: list[float] = []
        for term in terms:
            seen = frequency[term] = frequency.get(term, 0.0) + now
            weights.append(log(1.0 + mass / seen))
        length = math.hypot(*weights) or 1.0
        weights = [weight / length for weight in weights]
        found = self._candidates(terms, weights)
        micros, squares = self.micros, self.squares
        best, nearest = 0.0, -1  # the square of a cosine
        for micro, value in found.items():
            cosine = value * value / squares[micro]
            if cosine > best:
                best, nearest = cosine, micro
        if best >= self.similarity * self.similarity:
            self._join(nearest, terms, weights, now, at)
            return Landing(micro=nearest, new=False, nearest=-1, cosine=0.0, removed=removed)
        if len(micros) >= self.limit:
            removed += self._make_room()
        founded = self.next_id
        self.next_id += 1
        micros[founded] = MicroCluster()
        self._join(founded, terms, weights, now, at)
        return Landing(
            micro=founded, new=True, nearest=nearest, cosine=math.sqrt(best), removed=removed
        )

    def _candidates(self, terms: list[str], weights: list[float]) -> dict[int, float]:
        """Return micro-clusters that share terms, with products of the text and their sums.

        Rare terms come first. What the others weigh together bounds the cosine to a
        micro-cluster that holds none of the first; once that is too little, the common terms'
        long lists are only asked for the micro-clusters found already.
        """
        index = self.index
        found: dict[int, float] = {}
        get = found.get
        least = 1.0 - self.similarity * self.similarity
        done, open_ = 0.0, True
        for weight, term in sorted(zip(weights, terms, strict=True), reverse=True):
            if open_ and done > least:
                open_ = False
                found = self._plausible(found, math.sqrt(max(0.0, 1.0 - done)))
            postings = index.get(term)
            if postings:
                if open_:
                    for micro, value in postings.items():
                        found[micro] = get(micro, 0.0) + weight * value
                elif len(found) < len(postings):
                    at = postings.get
                    for micro in found:
                        value = at(micro, 0.0)
                        if value:
                            found[micro] += weight * value
                else:
                    for micro, value in postings.items():
                        if micro in found:
                            found[micro] += weight * value
            done += weight * weight
        return found

    def _plausible(self, found: dict[int, float], rest: float) -> dict[int, float]:
        """Return those whose cosine can still reach the similarity, or half of it by now."""
        squares = self.squares
        least = max(self.similarity - rest, 0.5 * self.similarity)
        least *= least
        return {
            micro: value
            for micro, value in found.items()
            if value * value >= least * squares[micro]
        }

    def _join(
        self, micro_id: int, terms: list[str], weights: list[float], now: float, at: float
    ) -> None:
        micro = self.micros[micro_id]
        micro.mass += now
        micro.own += now * now
        micro.texts += 1
        micro.seen = max(micro.seen, at)
        held, index, most = micro.terms, self.index, 2 * self.postings
        square = micro.square
        for term, weight in zip(terms, weights, strict=True):
            held[term] = held.get(term, 0.0) + now
            added = weight * now
            postings = index.get(term)
            if postings is None:
                index[term] = {micro_id: added}
                square += added * added
                continue
            before = postings.get(micro_id, 0.0)
            postings[micro_id] = before + added
            square += added * (added + 2.0 * before)
            if len(postings) > most:
                self._keep_champions(term)
        micro.square = self.squares[micro_id] = square
        if len(held) > 2 * self.terms:
            self._keep_terms(micro_id)

    def _keep_champions(self, term: str) -> None:
        postings = self.index[term]
        squares = self.squares
        kept = heapq.nlargest(
            self.postings,
            (
                (value * value / (squares.get(micro) or 1.0), micro)
                for micro, value in postings.items()
            ),
        )
        self.index[term] = {micro: postings[micro] for _, micro in sorted(kept, key=_second)}

    def _keep_terms(self, micro_id: int) -> None:
        micro = self.micros[micro_id]
        kept = heapq.nlargest(self.terms, micro.terms.items(), key=lambda item: (item[1], item[0]))
        names = {term for term, _ in kept}
        for term in micro.terms:
            if term not in names:
                self._unlink(micro_id, term)
        micro.terms = dict(kept)

    def _unlink(self, micro_id: int, term: str) -> None:
        postings = self.index.get(term)
        if postings is not None:
            postings.pop(micro_id, None)
            if not postings:
                del self.index[term]

    @property
    def needs_grouping(self) -> bool:
        """Whether there is no room, and too few have been grouped to make some."""
        return len(self.micros) >= self.limit and self.settled_left < self._tenth

    def settle(self) -> None:
        """All micro-clusters of now have been grouped."""
        self.settled, self.settled_left = self.next_id, len(self.micros)

    @property
    def _tenth(self) -> int:
        return max(1, self.limit // 10)

    def _make_room(self) -> tuple[int, ...]:
        """Remove the lightest, a tenth of all; not those that no grouping has seen."""
        grouped = takewhile(lambda item: item[0] < self.settled, self.micros.items())
        lightest = heapq.nsmallest(self._tenth, grouped, key=lambda item: (item[1].mass, item[0]))
        return self._remove([micro_id for micro_id, _ in lightest])

    def forget(self, now: float) -> tuple[int, ...]:
        """Remove what has faded by now, and return its ids."""
        least = _FADED * 2.0 ** min(_LONGEST, (now - self.origin) / self.half_life)
        return self._remove([m for m, one in self.micros.items() if one.mass < least])

    def _remove(self, micros: list[int]) -> tuple[int, ...]:
        for micro_id in micros:
            del self.squares[micro_id]
            self.settled_left -= micro_id < self.settled
            for term in self.micros.pop(micro_id).terms:
                self._unlink(micro_id, term)
        self._forget_terms()
        return tuple(micros)

    def _forget_terms(self) -> None:
        """Drop the frequency of terms that no micro-cluster holds."""
        self.frequency = {t: f for t, f in self.frequency.items() if t in self.index}

    def _rescale(self, at: float) -> tuple[int, ...]:
        """Make `at` the time at which a text weighs 1; forget what has faded by then."""
        factor = 2.0 ** -min(1_000.0, (at - self.origin) / self.half_life)
        removed = self._remove([m for m, one in self.micros.items() if one.mass * factor < _FADED])
        self.origin = at
        self.mass *= factor
        for micro in self.micros.values():
            micro.mass *= factor
            micro.square *= factor * factor
            micro.own *= factor * factor
            micro.terms = {term: weight * factor for term, weight in micro.terms.items()}
        self.squares = {micro: one.square for micro, one in self.micros.items()}
        self.frequency = {
            term: value * factor for term, value in self.frequency.items() if value * factor
        }
        for term, postings in self.index.items():
            self.index[term] = {micro: value * factor for micro, value in postings.items()}
        return removed

"""What the assistant is known to deal with, in words: how new an issue is beside that.

The words of an intent are learnt from the stream: from texts that the champion answered with it
confidently, and whose micro-cluster is an hour old or more, so that the words of a new issue,
which the champion takes for something else, do not become known at once.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence

from closedloop.defence.terms import stream_terms

_ALL_OF = 200  # texts of an intent, after which a tenth teaches


class KnownIntents:
    """Words of intents.

    Parameters
    ----------
    intents, terms : int
        Most intents, and most terms of each; twice as many between two clean-ups.
    """

    def __init__(self, *, intents: int, terms: int) -> None:
        self.limit = intents
        self.terms = terms
        # Intent to its terms' counts, and to its texts.
        self.words: dict[str, dict[str, float]] = {}
        self.texts: dict[str, int] = {}

    def learn(self, intent: str, text: str) -> None:
        """Take in a text that the champion was sure about."""
        count = self.texts.get(intent)
        if count is None:
            if len(self.words) >= self.limit:
                return
            count, self.words[intent] = 0, {}
        self.texts[intent] = count + 1
        if count > _ALL_OF and count % 10:
            return
        held = self.words[intent]
        for term in stream_terms(text):
            held[term] = held.get(term, 0.0) + 1.0
        if len(held) > 2 * self.terms:
            kept = heapq.nlargest(self.terms, held.items(), key=lambda item: (item[1], item[0]))
            self.words[intent] = {term: 0.5 * count for term, count in kept}

    def novelty(
        self, texts: Sequence[Sequence[str]], frequency: Mapping[str, float], mass: float
    ) -> float | None:
        """Return 1 minus the cosine to the most similar intent; None where none is known.

        Parameters
        ----------
        texts : sequence of sequences of str
            Terms of the issue's texts.
        frequency : mapping
            Term to its weight in the stream; `mass` is the weight of all texts.
        """
        if not self.words:
            return None
        counts: dict[str, float] = {}
        for terms in texts:
            for term in terms:
                counts[term] = counts.get(term, 0.0) + 1.0
        issue = _unit(counts, frequency, mass)
        best = 0.0
        for words in self.words.values():
            intent = _unit(words, frequency, mass)
            best = max(best, sum(weight * intent.get(t, 0.0) for t, weight in issue.items()))
        return max(0.0, 1.0 - best)


def _unit(
    counts: Mapping[str, float], frequency: Mapping[str, float], mass: float
) -> dict[str, float]:
    weighed = {
        term: count * math.log(1.0 + mass / max(frequency.get(term, 0.0), 1e-9 * mass, 1e-300))
        for term, count in counts.items()
    }
    length = math.sqrt(sum(weight * weight for weight in weighed.values())) or 1.0
    return {term: weight / length for term, weight in weighed.items()}

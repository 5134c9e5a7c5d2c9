"""An issue described: when it began, how fast it is, what is said, what sets it apart."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from closedloop.defence.issues.evidence import CHANNEL, FEEDBACK, INTENT, MODEL, Evidence, Said
from closedloop.defence.issues.known_intents import KnownIntents
from closedloop.defence.issues.sighting import MOST_SAMPLES, MOST_TYPICAL, TypicalText
from closedloop.defence.issues.tally import FINE, FINE_S, MINUTE_S, MINUTES, Tally
from closedloop.defence.stream_clusters import StreamClusters
from closedloop.defence.terms import stream_terms

_SERIES = 60  # minutes
_ABOVE = 1.5  # times what is usual: slower minutes end a rise
_SOME = 0.5  # texts a minute that are nothing
_ALIKE = 0.6  # part of the terms that two texts share, from which they show the same
_TERMS = 8
_FEW = 4  # texts that describe nothing


class Course(NamedTuple):
    """How an issue went in the last hour."""

    began_at: float
    texts: int
    series: tuple[int, ...]


def course(tally: Tally, slots: Sequence[int], now: float, usual_per_min: float) -> Course:
    """Return when the present rise began, and the texts since then and in each minute.

    It began where the texts up to now exceed what is usual by most (the largest sum of a suffix,
    as in a cumulative-sum chart).

    References
    ----------
    Page, E. (1954). Continuous inspection schemes. Biometrika.
    """
    minute = int(now // MINUTE_S)
    series = [0] * _SERIES
    for number in range(minute - _SERIES + 1, minute + 1):
        row = number % MINUTES
        if tally.minute_at[row] == number:
            series[number - minute - 1] = int(tally.minutes[row, slots].sum())
    best, total, first = 0.0, 0.0, _SERIES - 1
    for place in range(_SERIES - 1, -1, -1):
        total += series[place] - _ABOVE * usual_per_min - _SOME
        if total > best and series[place]:
            best, first = total, place
    began = (minute - _SERIES + 1 + first) * MINUTE_S
    texts = sum(series[first:])
    if first == 0:
        texts = max(texts, int(tally.total[slots].sum()))
    if first >= _SERIES - 2:  # known to 5 s
        newest = int(now // FINE_S)
        for number in range(max(newest - FINE + 1, int(began // FINE_S)), newest + 1):
            row = number % FINE
            if tally.fine_at[row] == number and tally.fine[row, slots].any():
                began = number * FINE_S
                break
    return Course(began, texts, tuple(series))


class Portrait(NamedTuple):
    """What an issue is about; the fields are those of a sighting."""

    bad_share: float | None
    novelty: float
    channels: dict[str, int]
    models: dict[str, int]
    intents: dict[str, int]
    terms: tuple[str, ...]
    typical: tuple[TypicalText, ...]
    samples: tuple[TypicalText, ...]


def portrait(
    evidence: Evidence,
    known: KnownIntents,
    stream: StreamClusters,
    micros: Sequence[int],
    fresh_share: float,
    rising: Collection[str] = (),
) -> Portrait:
    """Describe what micro-clusters say.

    Parameters
    ----------
    micros : sequence of int
        Those with the most texts first.
    fresh_share : float
        Part of the issue's texts that are in micro-clusters without a past: how new it is where
        neither intents nor confidences are known.
    rising : collection of str
        Words that rise with the issue; texts without any of them lie beside it by chance.
    """
    texts = _about(evidence.texts(micros), rising)
    counts = evidence.counts(micros)
    samples = _in_turns(texts)[:MOST_SAMPLES]
    terms = [stream_terms(said.text) for said in samples]
    frequency, mass = stream.micros.frequency, stream.micros.mass
    novelty = known.novelty(terms, frequency, mass)
    if novelty is None:
        sure = [said.confidence for said in samples if said.confidence >= 0]
        novelty = 1.0 - sum(sure) / len(sure) if sure else fresh_share
    thumbs = counts[FEEDBACK]
    rated = sum(thumbs.values())
    leading = _leading(terms, frequency, mass)
    return Portrait(
        bad_share=thumbs.get("down", 0) / rated if rated else None,
        novelty=min(1.0, max(0.0, novelty)),
        channels=counts[CHANNEL],
        models=counts[MODEL],
        intents=counts[INTENT],
        terms=tuple(leading)[:_TERMS],
        typical=tuple(_typical(texts, leading)),
        samples=tuple(_shown(said) for said in samples),
    )


def _about(texts: Sequence[Sequence[Said]], rising: Collection[str]) -> Sequence[Sequence[Said]]:
    """Return the texts with a rising word; all of them where hardly any has one."""
    words = set(rising)
    held = [[said for said in each if words & set(stream_terms(said.text))] for each in texts]
    return held if sum(map(len, held)) >= _FEW else texts


def _in_turns(texts: Sequence[Sequence[Said]]) -> list[Said]:
    longest = max((len(each) for each in texts), default=0)
    return [each[n] for n in range(longest) for each in texts if n < len(each)]


def _leading(
    texts: Sequence[Sequence[str]], frequency: Mapping[str, float], mass: float
) -> dict[str, float]:
    """Return the terms that set texts apart from the stream, the strongest first, with weights."""
    held: dict[str, int] = {}
    for terms in texts:
        for term in terms:
            held[term] = held.get(term, 0) + 1
    count = max(1, len(texts))
    weighed = {
        term: n / count * math.log(max(1.0, n / count * mass / (frequency.get(term, 0.0) or mass)))
        for term, n in held.items()
        if n > 1 or count < 4
    }
    return dict(sorted(weighed.items(), key=lambda item: (-item[1], item[0])))


def _typical(texts: Sequence[Sequence[Said]], weights: Mapping[str, float]) -> list[TypicalText]:
    """Return a few texts that hold most of what sets the issue apart, unlike each other."""
    offered: list[tuple[float, int, Said, set[str]]] = []
    for place, each in enumerate(texts):
        for said in each:
            terms = set(stream_terms(said.text))
            worth = sum(weights.get(term, 0.0) for term in terms) / math.sqrt(1.0 + len(terms))
            offered.append((-worth, place, said, terms))
    offered.sort(key=lambda item: item[:3])
    chosen: list[tuple[Said, set[str]]] = []
    for _, _, said, terms in offered:
        if all(len(terms & other) < _ALIKE * len(terms | other) for _, other in chosen):
            chosen.append((said, terms))
        if len(chosen) == MOST_TYPICAL:
            break
    return [_shown(said) for said, _ in chosen]


def _shown(said: Said) -> TypicalText:
    return TypicalText(
        text=said.text,
        event_id=said.event_id,
        at=said.at,
        channel=said.channel,
        answer=said.answer,
        model=said.model,
    )

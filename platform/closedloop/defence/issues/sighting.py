"""A sighting: what the stream says of an issue at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

_T = TypeVar("_T")

MOST_TYPICAL = 8
MOST_SAMPLES = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class TypicalText:
    """A text of an issue, masked, and what was answered to it."""

    text: str
    event_id: str
    at: float  # Unix seconds
    channel: str = ""
    answer: str = ""  # the model's; empty where none is known
    model: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sighting:
    """What the stream says of an issue at a time; times are those of events, in Unix seconds."""

    tenant: str
    # Id in the tenant's stream; below 0 for micro-clusters that a person set apart.
    cluster: int
    # Other clusters whose names lead here now.
    absorbed: tuple[int, ...] = ()
    # It grows beyond its baseline now; else these are only its present figures.
    rising: bool = True
    began_at: float  # of the present rise
    seen_at: float  # its last text
    texts: int  # since it began
    # Of the window that is most surprising.
    window_s: float
    rate_per_min: float
    expected_per_min: float
    # −log10 of the probability of such a growth under the baseline.
    surprise: float
    # How often calm traffic would reach such a surprise, by the model.
    false_alarms_per_day: float
    # Thumbs down in all feedback on its answers; None without feedback.
    bad_share: float | None = None
    # 0 for texts like those of a known intent, 1 for texts like none.
    novelty: float
    # Texts by channel, by the model that answered, by its answer.
    channels: Mapping[str, int]
    models: Mapping[str, int]
    intents: Mapping[str, int]
    # What sets it apart, the strongest first.
    terms: tuple[str, ...]
    typical: tuple[TypicalText, ...]
    # For annotation; left out where many issues are read at once.
    samples: tuple[TypicalText, ...] = ()
    micros: tuple[int, ...]
    # Texts a minute in the last hour, the oldest first.
    series: tuple[int, ...]

    @property
    def heat(self) -> float:
        """Order of the board: texts a minute beyond what is usual, more for bad and new ones."""
        excess = max(0.0, self.rate_per_min - self.expected_per_min)
        return excess * (1.0 + (self.bad_share or 0.0)) * (1.0 + self.novelty)

    def to_json(self) -> dict[str, Any]:
        """Return the sighting as JSON-ready values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Sighting:
        """Rebuild a sighting from `to_json`."""
        lists = {name: tuple(values[name]) for name in ("absorbed", "terms", "micros", "series")}
        texts = {
            name: tuple(TypicalText(**each) for each in values[name])
            for name in ("typical", "samples")
        }
        return cls(**{**values, **lists, **texts})


def combined(sightings: Sequence[Sighting]) -> Sighting:
    """Return several clusters' sightings as one issue's; the most surprising gives its name.

    Counts and rates add up; the surprise is that of the most surprising part.
    """
    ordered = sorted(sightings, key=lambda one: (-one.surprise, one.cluster))
    first = ordered[0]
    if len(ordered) == 1:
        return first
    others = {one.cluster for one in ordered} | {c for one in ordered for c in one.absorbed}
    weights = [(one.bad_share, one.texts) for one in ordered if one.bad_share is not None]
    heard = sum(texts for _, texts in weights)
    return replace(
        first,
        absorbed=tuple(sorted(others - {first.cluster})),
        rising=any(one.rising for one in ordered),
        began_at=min(one.began_at for one in ordered),
        seen_at=max(one.seen_at for one in ordered),
        texts=sum(one.texts for one in ordered),
        rate_per_min=sum(one.rate_per_min for one in ordered),
        expected_per_min=sum(one.expected_per_min for one in ordered),
        bad_share=sum(share * texts for share, texts in weights) / heard if heard else None,
        channels=_summed([one.channels for one in ordered]),
        models=_summed([one.models for one in ordered]),
        intents=_summed([one.intents for one in ordered]),
        terms=tuple(dict.fromkeys(_in_turns([one.terms for one in ordered])))[:MOST_TYPICAL],
        typical=_in_turns([one.typical for one in ordered])[:MOST_TYPICAL],
        samples=_in_turns([one.samples for one in ordered])[:MOST_SAMPLES],
        micros=tuple(micro for one in ordered for micro in one.micros),
        series=_added([one.series for one in ordered]),
    )


def _summed(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return dict(total.most_common())


def _in_turns(lists: Sequence[Sequence[_T]]) -> tuple[_T, ...]:
    longest = max((len(each) for each in lists), default=0)
    return tuple(each[n] for n in range(longest) for each in lists if n < len(each))


def _added(series: Sequence[Sequence[int]]) -> tuple[int, ...]:
    longest = max(len(each) for each in series)
    padded = [[0] * (longest - len(each)) + list(each) for each in series]
    return tuple(sum(minute) for minute in zip(*padded, strict=True))

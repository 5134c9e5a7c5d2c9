"""The last hour's traffic beside an issue: what a condition is made of, and what it would match."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import polars as pl

from closedloop.core.proportion import wilson
from closedloop.defence.rules.rule import Act, Rule
from closedloop.defence.rules.rule_set import RuleSet

_EXAMPLES = 8
_LEAST_BEFORE = 500  # texts before an issue began that show what is usual


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """How many texts of all traffic, told from those that were looked at."""

    value: int
    low: int  # 95 % interval; both bounds are the value where all texts were looked at
    high: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Preview:
    """What a condition matches of some traffic."""

    condition: str
    texts: int  # that were looked at
    sampled_of: int  # that there were; more than `texts` where those are a sample
    matched: int  # of all traffic, scaled up where it was a sample
    outside: int  # … of these, of no micro-cluster of the issue
    matched_range: Estimate
    outside_range: Estimate
    examples_inside: tuple[str, ...]  # different texts, the most frequent first
    examples_outside: tuple[str, ...]

    @property
    def is_sampled(self) -> bool:
        """Whether the figures are estimates."""
        return self.sampled_of > self.texts


def preview(
    condition: str,
    traffic: pl.DataFrame,
    micros: Collection[int],
    *,
    tenant: str,
    channels: Sequence[str] = (),
    sampled_of: int | None = None,
    examples: int = _EXAMPLES,
) -> Preview:
    """Tell what a rule with this condition would have applied to, other rules aside.

    Parameters
    ----------
    condition : str
        See `closedloop.defence.rules.expression`.
    traffic : DataFrame
        As `RecentTraffic.read` returns it, with ``text``, ``channel`` and ``micro``; all of one
        tenant, all of it or a uniform sample.
    micros : collection of int
        Micro-clusters of the issue.
    channels : sequence of str
        Where the rule would apply; none: everywhere.
    sampled_of : int, optional
        How many texts the traffic is a sample of; without it, it is all there is.
    examples : int
        How many texts to show, at most, of each kind.

    Raises
    ------
    InputError
        The condition cannot be read.

    Examples
    --------
    >>> said = ["coupon fails", "coupon fails", "my coupon", "hello"]
    >>> traffic = pl.DataFrame({"text": said, "channel": ["app"] * 4, "micro": [7, 7, 3, 1]})
    >>> found = preview("coupon", traffic, {7}, tenant="shop")
    >>> found.matched, found.outside, found.examples_outside
    (3, 1, ('my coupon',))
    """
    rule = Rule(
        id="preview",
        revision=1,
        created_at=0.0,
        changed_at=0.0,
        tenant=tenant,
        name="preview",
        condition=condition,
        act=Act.HAND_OVER,
        channels=tuple(channels),
    )
    rules = RuleSet((rule,))
    inside = pl.col("micro").is_in(sorted(micros)).fill_null(value=False).alias("inside")
    said = (
        traffic.select("text", "channel", inside)
        .drop_nulls("text")
        .group_by("text", "channel", "inside")
        .agg(pl.len().alias("count"))
    )
    matches = [
        bool(rules.apply(text, tenant=tenant, channel=channel))
        for text, channel in said.select("text", "channel").iter_rows()
    ]
    hits = (
        said.filter(pl.Series(matches, dtype=pl.Boolean))
        .group_by("text", "inside")
        .agg(pl.col("count").sum())
        .sort("count", "text", descending=[True, False])
    )
    of = max(traffic.height, sampled_of or 0)
    matched = _scaled(int(hits["count"].sum()), traffic.height, of)
    others = hits.filter(~pl.col("inside"))
    outside = _scaled(int(others["count"].sum()), traffic.height, of)
    return Preview(
        condition=str(rule.expression),
        texts=traffic.height,
        sampled_of=of,
        matched=matched.value,
        outside=outside.value,
        matched_range=matched,
        outside_range=outside,
        examples_inside=tuple(hits.filter("inside")["text"].head(examples)),
        examples_outside=tuple(others["text"].head(examples)),
    )


def told_apart(
    traffic: pl.DataFrame,
    micros: Collection[int],
    *,
    began_at: float,
    inside: int = 200,
    outside: int = 5_000,
    seed: int = 0,
) -> tuple[list[str], list[str]]:
    """Return texts of an issue and of usual traffic, for `suggestion.suggest`.

    Usual is what was said before the issue began, where that is enough to go by: other texts of
    the same issue, which the stream has in other clusters, must not speak against its words.

    Parameters
    ----------
    traffic : DataFrame
        As `RecentTraffic.read` returns it, with ``at``, ``text`` and ``micro``.
    began_at : float
        When the issue began to rise, in Unix seconds.
    inside, outside : int
        How many texts, at most; drawn uniformly.
    """
    said = traffic.select("at", "text", "micro").drop_nulls("text")
    is_own = pl.col("micro").is_in(sorted(micros)).fill_null(value=False)
    own, others = said.filter(is_own), said.filter(~is_own)
    before = others.filter(pl.col("at") < began_at)
    usual = before if before.height >= _LEAST_BEFORE else others
    return _drawn(own, inside, seed), _drawn(usual, outside, seed)


def _drawn(said: pl.DataFrame, count: int, seed: int) -> list[str]:
    drawn = said.sample(count, seed=seed) if said.height > count else said
    return drawn["text"].to_list()


def _scaled(count: int, texts: int, of: int) -> Estimate:
    """Return a count of a sample as one of all texts; no less than what was seen."""
    if texts == of:
        return Estimate(value=count, low=count, high=count)
    share = wilson(count, texts) if texts else None
    if share is None:
        return Estimate(value=0, low=0, high=of)
    low, high = round(share.low * of), round(share.high * of)
    return Estimate(value=round(share.value * of), low=max(count, low), high=max(count, high))

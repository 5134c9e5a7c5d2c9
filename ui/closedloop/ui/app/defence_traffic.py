"""The last hour's traffic as the Defence page asks of it: suggestions, previews, groups of texts.

What takes more than a moment is done once for all sessions, and again after some seconds.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import streamlit as st

from closedloop.defence.issues.issue import Issue
from closedloop.defence.recent_traffic import RecentTraffic
from closedloop.defence.rules.preview import Preview, preview, told_apart
from closedloop.defence.rules.suggestion import Suggestion, suggest

HOUR_S = 3600.0
_MOST_TEXTS = 20_000  # of an hour; more are a sample
_TOO_FEW = 5
_FRESH_S = 15  # how long an hour's traffic is taken for the last one
_SUGGESTED_S = 120


@dataclass(frozen=True, kw_only=True, slots=True)
class Hour:
    """A tenant's texts of the last hour, or a uniform sample of them."""

    texts: pl.DataFrame  # as RecentTraffic.read gives them
    of: int  # how many there were

    def inside(self, micros: Collection[int]) -> pl.DataFrame:
        """Return those of some micro-clusters."""
        return self.texts.filter(pl.col("micro").is_in(sorted(micros)))


@dataclass(frozen=True, kw_only=True, slots=True)
class TextGroup:
    """A micro-cluster of an issue, as a person can tell it from others."""

    micro: int
    texts: int  # of the last hour
    typical: str


def suggestions(issue: Issue, hour: Hour) -> list[Suggestion]:
    """Return conditions that match an issue's texts and little else.

    The last hour's traffic says what is inside; where it has too few texts of the issue, the
    issue's own samples do.
    """
    sighting = issue.sighting
    inside, outside = told_apart(hour.texts, sighting.micros, began_at=sighting.began_at)
    if len(inside) < _TOO_FEW:
        inside = [one.text for one in (*sighting.samples, *sighting.typical)]
    return suggest(inside, outside)


def groups(issue: Issue, hour: Hour) -> list[TextGroup]:
    """Return an issue's micro-clusters with the text that was said most in each."""
    said = (
        hour.inside(issue.sighting.micros)
        .drop_nulls("text")
        .group_by("micro", "text")
        .agg(pl.len().alias("count"))
        .sort("count", "text", descending=[True, False])
        .group_by("micro", maintain_order=True)
        .agg(pl.col("count").sum(), pl.col("text").first())
        .sort("count", "micro", descending=[True, False])
    )
    return [
        TextGroup(micro=row["micro"], texts=row["count"], typical=row["text"])
        for row in said.iter_rows(named=True)
    ]


def last_hour(folder: str, tenant: str) -> Hour:
    """Return a tenant's last hour, at most some seconds old."""
    return _hour(folder, tenant, int(time.time() // _FRESH_S))


def suggested(folder: str, issue: Issue) -> list[Suggestion]:
    """Return `suggestions`, the same for all who look within two minutes."""
    return _suggested(folder, issue.id, int(time.time() // _SUGGESTED_S), _issue=issue)


def previewed(
    folder: str, tenant: str, condition: str, micros: Sequence[int], channels: Sequence[str]
) -> Preview:
    """Return what a condition matches of the last hour.

    Raises
    ------
    InputError
        The condition cannot be read.
    """
    bucket = int(time.time() // _FRESH_S)
    return _previewed(folder, tenant, condition, tuple(micros), tuple(channels), bucket)


@st.cache_data(show_spinner=False, max_entries=8)
def _hour(folder: str, tenant: str, bucket: int) -> Hour:
    since = time.time() - HOUR_S
    found = RecentTraffic(Path(folder)).read(tenant, since=since)
    of = found.height
    if of > _MOST_TEXTS:
        found = found.sample(_MOST_TEXTS, seed=bucket)
    return Hour(texts=found, of=of)


@st.cache_data(show_spinner=False, max_entries=64)
def _suggested(folder: str, issue_id: int, bucket: int, _issue: Issue) -> list[Suggestion]:
    return suggestions(_issue, last_hour(folder, _issue.tenant))


@st.cache_data(show_spinner=False, max_entries=256)
def _previewed(
    folder: str,
    tenant: str,
    condition: str,
    micros: tuple[int, ...],
    channels: tuple[str, ...],
    bucket: int,
) -> Preview:
    hour = last_hour(folder, tenant)
    return preview(
        condition, hour.texts, micros, tenant=tenant, channels=channels, sampled_of=hour.of
    )

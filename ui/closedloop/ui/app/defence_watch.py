"""Is the stream watched, and what does a board without issues say about it?"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from closedloop.core.store import Store
from closedloop.defence.shards import ShardReport, Shards

_SILENT_S = 30.0  # a shard that says nothing for so long is taken for gone
_BEHIND_S = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class WatchState:
    """What the board says about who watches the stream."""

    running: bool
    sentence: str
    remedy: str = ""


def watch_state(store: Store) -> WatchState:
    """Ask the store how the stream clusterer stands."""
    return said_of(Shards(store).reports(), now=time.time())


def said_of(reports: Sequence[ShardReport], *, now: float) -> WatchState:
    """Return the state of the clusterer in words.

    Parameters
    ----------
    reports : sequence of ShardReport
        What its shards last said.
    now : float
        Unix seconds.
    """
    start = "Start it with closedloop up; CLOSEDLOOP_DEFENCE_SHARDS says how many watch."
    if not reports:
        return WatchState(
            running=False, sentence="Nobody has watched the stream here yet.", remedy=start
        )
    alive = [one for one in reports if now - one.reported_at <= _SILENT_S]
    if not alive:
        last = max(one.reported_at for one in reports)
        ago = f", for {_ago(now - last)}" if last else ""
        return WatchState(
            running=False, sentence=f"The stream clusterer does not run{ago}.", remedy=start
        )
    problem = next((one.figures.problem for one in alive if one.figures.problem), "")
    if problem:
        return WatchState(
            running=False,
            sentence=f"The stream clusterer fails: {problem}",
            remedy="It tries again by itself; see closedloop status.",
        )
    figures = [one.figures for one in alive]
    texts, tenants = sum(f.texts for f in figures), sum(f.tenants for f in figures)
    said = (
        f"{texts:,} texts of {tenants:,} tenant{'s' * (tenants != 1)} watched since it started, "
        f"{sum(f.events_per_s for f in figures):,.0f} events a second now"
    )
    missing = len(reports) - len(alive)
    if missing:
        said += f"; {missing} of {len(reports)} shards do not answer"
    behind = max(f.lag_s for f in figures)
    if behind > _BEHIND_S:
        said += f"; it is {_ago(behind)} behind"
    return WatchState(running=True, sentence=f"{said}.")


def _ago(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} minutes"
    hours = round(minutes / 60)
    return f"{hours} hours" if hours < 48 else f"{round(hours / 24)} days"

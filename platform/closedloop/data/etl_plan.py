"""What an ETL run has to do: which tables lag behind, what is new, which days that touches.

Pure decisions over versions and dates; no Spark in here. A table that the ETL makes says in
each commit how far into each source it has read. The name it says this under holds the
fingerprint of the rules, so that other rules find nothing read and make everything anew.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple

from closedloop.data.jobs.signals import SignalRules
from closedloop.data.lake import Lake, Progress
from closedloop.data.lake_files import DatedFile, added_files, live_files

SOURCES = ("turns", "predictions", "feedback")
OUTPUTS = ("interactions", "dialogues", "daily", "features")


class DialogueDates(NamedTuple):
    """Days that some dialogues have turns on, and whether anything in these is new."""

    new: bool
    dates: tuple[str, ...]


class Days(NamedTuple):
    """The days to make again, and those to read for it."""

    remake: frozenset[str]
    read: frozenset[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What there is and what of it is new.

    Examples
    --------
    >>> plan = make_plan(Lake("/srv/lake"), SignalRules())         # doctest: +SKIP
    >>> plan.behind                                                # doctest: +SKIP
    ('interactions', 'dialogues', 'daily', 'features')
    """

    # Version of each source that this run reads; a source that does not exist is left out.
    versions: Mapping[str, int]
    # The files of those versions.
    live: Mapping[str, tuple[DatedFile, ...]]
    # Files with new rows, still there or not; None where everything may be new.
    new: Mapping[str, tuple[DatedFile, ...]] | None
    # The tables to write, in the order of their making.
    behind: tuple[str, ...]
    # What each of them says when it is written.
    progress: tuple[Progress, ...]
    # Days to make again whether anything is new in them or not.
    forced: frozenset[str]

    @property
    def source_dates(self) -> frozenset[str]:
        """The days that turns or predictions exist of."""
        return frozenset(f.date for name in SOURCES[:2] for f in self.live.get(name, ()))

    def files(self, source: str, dates: Collection[str] | None = None) -> list[DatedFile]:
        """Return a source's files of some days, or of all."""
        found = self.live.get(source, ())
        return [file for file in found if dates is None or file.date in dates]

    def fresh(self, source: str) -> tuple[list[DatedFile], list[DatedFile]]:
        """Return a source's files that hold new rows, and its others.

        Where a new file was compacted since, its day counts as new as a whole.
        """
        live = self.live.get(source, ())
        new = (self.new or {}).get(source, ())
        paths = {file.path for file in live}
        names = {file.path for file in new}
        days = {file.date for file in new if file.path not in paths}
        fresh = [f for f in live if f.path in names or f.date in days]
        return fresh, [f for f in live if not (f.path in names or f.date in days)]


def make_plan(
    lake: Lake,
    rules: SignalRules,
    *,
    tables: Collection[str] = OUTPUTS,
    since: str | None = None,
) -> Plan:
    """Compare what the ETL's tables have read with what the lake holds.

    Parameters
    ----------
    lake : Lake
        Where.
    rules : SignalRules
        What the tables must have been made with.
    tables : collection of str
        The tables wanted, of `OUTPUTS`.
    since : str, optional
        Make every day from this one on again (YYYY-MM-DD).
    """
    versions = {s: v for s in SOURCES if (v := lake.version(s)) >= 0}
    live = {s: tuple(live_files(lake, s, version=v)) for s, v in versions.items()}
    writer = {s: f"etl:{rules.fingerprint()}:{s}" for s in SOURCES}
    reached = {t: {s: lake.reached(t, writer[s]) for s in versions} for t in OUTPUTS if t in tables}
    behind = tuple(
        t for t in reached if since or _anything_new(lake, reached[t], versions) is not False
    )
    found: dict[str, tuple[DatedFile, ...]] = {}
    new: dict[str, tuple[DatedFile, ...]] | None = found
    for source, version in versions.items():
        after = min((reached[t][source] for t in behind), default=version)
        added = added_files(lake, source, after=after, until=version)
        if added is None or all(v < 0 for t in behind for v in reached[t].values()):
            new = None
            break
        found[source] = tuple(added)
    known = {f.date for s in SOURCES[:2] for f in live.get(s, ())}
    if since:  # a day that the sources no longer have goes
        known |= {f.date for table in behind for f in live_files(lake, table)}
    return Plan(
        versions=versions,
        live=live,
        new=new,
        behind=behind,
        progress=tuple(Progress(writer=writer[s], offset=v) for s, v in versions.items()),
        forced=frozenset(d for d in known if since and d >= since),
    )


def neighbours(dates: Iterable[str], *, margin_days: int) -> frozenset[str]:
    """Return days and those around them.

    Examples
    --------
    >>> sorted(neighbours(["2026-03-01"], margin_days=1))
    ['2026-02-28', '2026-03-01', '2026-03-02']
    """
    around = range(-margin_days, margin_days + 1)
    return frozenset(
        (date.fromisoformat(day) + timedelta(days=n)).isoformat() for day in dates for n in around
    )


def touched_days(dialogues: Iterable[DialogueDates], forced: Collection[str] = ()) -> Days:
    """Return the days on which a dialogue with something new has turns, and their company.

    A new turn changes its whole dialogue: signals of the turn before it, numbers of those
    after it. So all days of such a dialogue are made again, and to make a day again, every
    dialogue with a turn on it must be read whole.

    Examples
    --------
    >>> over_midnight = DialogueDates(True, ("2026-01-01", "2026-01-02"))
    >>> other = DialogueDates(False, ("2026-01-02", "2026-01-03"))
    >>> days = touched_days([over_midnight, other])
    >>> sorted(days.remake), sorted(days.read - days.remake)
    (['2026-01-01', '2026-01-02'], ['2026-01-03'])
    """
    dialogues = list(dialogues)
    remake = frozenset(forced).union(*(d.dates for d in dialogues if d.new))
    read = remake.union(*(d.dates for d in dialogues if not remake.isdisjoint(d.dates)))
    return Days(remake=remake, read=read)


def _anything_new(
    lake: Lake, reached: Mapping[str, int], versions: Mapping[str, int]
) -> bool | None:
    """Return whether rows came after what a table has read; None where that is not known."""
    for source, version in versions.items():
        if reached[source] >= version:
            continue
        added = added_files(lake, source, after=reached[source], until=version)
        if added is None:
            return None
        if added:
            return True
    return False

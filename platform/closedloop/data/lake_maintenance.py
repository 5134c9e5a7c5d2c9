"""Looking after the lake: how its tables stand, compaction, retention by day.

Small commits make many small files; `compact` puts the rows of a day into few large ones. Its
commit says that no data changed, so that incremental readers see nothing new, and a writer's
progress (`Lake.reached`) stays. `retain` deletes whole days and then the files that no kept
version needs. A version that somebody *names* (a training set) is kept, or the call is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from closedloop.core.errors import Conflict, EngineError, InputError, NotFound
from closedloop.data.lake import CONFIGURATION, TABLES, Lake, named_failures

SAFE_GRACE = timedelta(days=7)
_LEAST_GRACE = timedelta(hours=1)

# Version of a table → who names it.
Named = Mapping[int, Sequence[str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class TableStatus:
    """How a table stands at its current version."""

    table: str
    version: int
    rows: int
    files: int
    size_bytes: int
    days: int
    # First and last day, YYYY-MM-DD; None for a table without rows.
    first_day: str | None
    last_day: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Compacted:
    """What a compaction did to a table."""

    table: str
    rows: int
    files_before: int
    files: int
    bytes_before: int
    size_bytes: int
    version: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Retained:
    """What retention removed from a table, or would remove."""

    table: str
    # Days before this one go, YYYY-MM-DD.
    before: str
    days: tuple[str, ...]
    rows: int
    # Files that went from the disk now; those of days deleted just now go after the grace.
    files_removed: int
    dry_run: bool


def lake_status(lake: Lake) -> list[TableStatus]:
    """Return how each table stands; those that do not exist yet are left out.

    Examples
    --------
    >>> [table.rows for table in lake_status(Lake("/srv/lake"))]  # doctest: +SKIP
    [120000, 118000]
    """
    return [_status(lake, table) for table in TABLES if lake.version(table) >= 0]


def compact(lake: Lake, table: str) -> Compacted:
    """Put a table's small files together, in one commit that changes no row.

    Raises
    ------
    NotFound
        The table does not exist.
    Conflict
        Another maintenance changed the same files; nothing was changed here.
    """
    from deltalake.exceptions import CommitFailedError

    before = _status(lake, table)
    opened = lake.open(table)
    assert opened is not None
    with named_failures(f"compacting the lake table {table} in {lake.url}"):
        missing = CONFIGURATION.get(table, {}).items() - opened.metadata().configuration.items()
        if missing:  # made by a release that did not set them
            opened.alter.set_table_properties(dict(missing))
        try:
            opened.optimize.compact()
        except CommitFailedError as error:
            raise Conflict(
                f"The lake table {table} was changed while it was being compacted.",
                remedy="Run the same command again; nothing was changed by this one.",
            ) from error
    after = _status(lake, table)
    return Compacted(
        table=table,
        rows=after.rows,
        files_before=before.files,
        files=after.files,
        bytes_before=before.size_bytes,
        size_bytes=after.size_bytes,
        version=after.version,
    )


def retain(
    lake: Lake,
    table: str,
    *,
    older_than: timedelta,
    named: Named,
    now: datetime,
    grace: timedelta = SAFE_GRACE,
    dry_run: bool = False,
    force: bool = False,
) -> Retained:
    """Delete the days of a table that are too old, and the files that nothing needs any more.

    Parameters
    ----------
    lake, table : Lake, str
        Where.
    older_than : timedelta
        Age of the days that go, at least a day.
    named : mapping of version → names
        Versions that must stay readable, with who needs them.
    now : datetime
        The present.
    grace : timedelta
        How long a file stays after the commit that removed it, for readers that have it open
        and for time travel.
    dry_run : bool
        Change nothing.
    force : bool
        Drop named versions too, and allow any grace.

    Raises
    ------
    Conflict
        A named version holds days that would go, and ``force`` is not set; nothing was changed.
    InputError
        An age below a day, or a grace that readers would not survive.
    NotFound
        The table does not exist.

    Examples
    --------
    >>> retain(lake, "turns", older_than=timedelta(days=180), named={},
    ...        now=datetime.now(UTC)).days                       # doctest: +SKIP
    ('2026-01-01', '2026-01-02')
    """
    if older_than < timedelta(days=1):
        raise InputError("Retention works by whole days.", remedy="Give --older-than at least 1d.")
    if grace < _LEAST_GRACE and not force:
        raise InputError(
            "Files must stay for an hour at least, since readers may have them open.",
            remedy="Give --grace 1h or more, or --force where nothing reads.",
        )
    opened = lake.open(table)
    if opened is None:
        raise _no_table(lake, table)
    before = (now.astimezone(UTC) - older_than).date().isoformat()
    files = _files(lake, table)
    old = files.filter(pc.less(files["date"], before))
    days = tuple(sorted(set(old["date"].to_pylist())))
    keep = _readable(lake, table, named)
    if days and not force:
        _refuse_named(lake, table, before, {version: named[version] for version in keep})
    removed: list[str] = []
    if not dry_run:
        with named_failures(f"deleting old days of the lake table {table} in {lake.url}"):
            if days:
                opened.delete(f"date < '{before}'")
            opened.update_incremental()
    with named_failures(f"removing old files of the lake table {table} in {lake.url}"):
        removed = opened.vacuum(
            retention_hours=int(grace.total_seconds() // 3600),
            dry_run=dry_run,
            enforce_retention_duration=False,
            keep_versions=None if force else keep or None,
            full=True,  # also what a writer left behind that died before its commit
        )
    return Retained(
        table=table,
        before=before,
        days=days,
        rows=pc.sum(old["rows"]).as_py() or 0,
        files_removed=len(removed),
        dry_run=dry_run,
    )


def _refuse_named(lake: Lake, table: str, before: str, named: Named) -> None:
    """Raise where a version that somebody names holds days that would go."""
    for version, names in sorted(named.items()):
        files = _files(lake, table, version)
        held = set(files.filter(pc.less(files["date"], before))["date"].to_pylist())
        if held:
            who = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if names[3:] else "")
            raise Conflict(
                f"Version {version} of the lake table {table} holds {len(held)} of the days before"
                f" {before}, and {who} was trained on it.",
                remedy="Keep them, or give --force: that training set cannot be rebuilt then.",
            )


def _readable(lake: Lake, table: str, named: Named) -> list[int]:
    """Return the named versions that can still be read."""
    readable = []
    for version in sorted(named):
        try:
            if lake.open(table, version) is not None:
                readable.append(version)
        except EngineError:  # its log is gone: there is nothing left to keep
            continue
    return readable


def _status(lake: Lake, table: str) -> TableStatus:
    files = _files(lake, table)
    days = sorted(set(files["date"].to_pylist()))
    return TableStatus(
        table=table,
        version=lake.version(table),
        rows=pc.sum(files["rows"]).as_py() or 0,
        files=files.num_rows,
        size_bytes=pc.sum(files["bytes"]).as_py() or 0,
        days=len(days),
        first_day=days[0] if days else None,
        last_day=days[-1] if days else None,
    )


def _files(lake: Lake, table: str, version: int | None = None) -> pa.Table:
    """Return a version's files: their day, rows and bytes."""
    opened = lake.open(table, version)
    if opened is None:
        raise _no_table(lake, table)
    with named_failures(f"listing the files of the lake table {table} in {lake.url}"):
        added = pa.table(opened.get_add_actions(flatten=True))
    return pa.table(
        {
            "date": pc.cast(added["partition.date"], pa.string()),
            "rows": added["num_records"],
            "bytes": added["size_bytes"],
        }
    )


def _no_table(lake: Lake, table: str) -> NotFound:
    return NotFound(
        f"The lake {lake.url} has no table {table} yet.", remedy="See 'closedloop lake status'."
    )

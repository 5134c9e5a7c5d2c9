"""The files of a lake table, by day and by commit: what an incremental run reads and replaces.

An incremental reader keeps the version it has read; `added_files` tells what came after it.
`replace_dates` is the other end: files that Spark wrote take the place of whole days in one
commit, which also says how far the writer has read. The commit is the only moment anything
can be seen: files without one are never read, and vacuum removes them.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from closedloop.core.errors import InputError
from closedloop.data.lake import TABLES, Lake, Progress, named_failures


class DatedFile(NamedTuple):
    """A Parquet file of a table."""

    date: str  # the partition, YYYY-MM-DD
    path: str
    size_bytes: int


def folder(lake: Lake, table: str) -> Path:
    """Return a table's folder.

    Raises
    ------
    InputError
        The lake is in an object store.
    """
    if "://" in lake.url:
        raise InputError(
            f"The ETL replaces files in place, which it cannot do in {lake.url}.",
            remedy="Set CLOSEDLOOP_LAKE to a folder that every node shares.",
        )
    return Path(lake.uri(table))


def live_files(lake: Lake, table: str, *, version: int | None = None) -> list[DatedFile]:
    """Return the files of a table's version, by day; none where there is no table yet.

    Examples
    --------
    >>> [file.date for file in live_files(lake, "turns")]           # doctest: +SKIP
    ['2026-01-01', '2026-01-02']
    """
    opened = lake.open(table, version)
    if opened is None:
        return []
    root = folder(lake, table)
    added = pa.table(opened.get_add_actions(flatten=True))
    rows = zip(
        added["partition.date"].to_pylist(),
        added["path"].to_pylist(),
        added["size_bytes"].to_pylist(),
        strict=True,
    )
    return sorted(DatedFile(date, str(root / unquote(path)), size) for date, path, size in rows)


def added_files(lake: Lake, table: str, *, after: int, until: int) -> list[DatedFile] | None:
    """Return the files with new rows in the commits after one version, up to another.

    Compaction, which only puts the same rows into other files, adds none.

    Returns
    -------
    list of DatedFile or None
        None where the log no longer goes back that far, so that everything may be new.
    """
    root = folder(lake, table)
    found = []
    for version in range(after + 1, until + 1):
        try:
            lines = (root / "_delta_log" / f"{version:020}.json").read_text("utf-8").splitlines()
        except FileNotFoundError:
            return None
        for line in lines:
            add = json.loads(line).get("add")
            if add and add["dataChange"]:
                path = str(root / unquote(add["path"]))
                found.append(DatedFile(add["partitionValues"]["date"], path, add["size"]))
    return found


def replace_dates(
    lake: Lake, table: str, staged: Path, dates: Collection[str], progress: Sequence[Progress]
) -> int:
    """Put staged files in the place of whole days, in one commit, and return the rows.

    Parameters
    ----------
    lake, table : Lake, str
        Where.
    staged : Path
        A folder on the same file system, with ``date=YYYY-MM-DD/*.parquet`` below it; the
        files are moved out of it.
    dates : collection of str
        The days whose files go. A day with no staged file is empty afterwards.
    progress : sequence of Progress
        What the commit says its writers have read.

    Raises
    ------
    EngineError
        Somebody else changed these days, or wrote the same progress, meanwhile.
    """
    from deltalake import CommitProperties, Schema, Transaction
    from deltalake.transaction import AddAction, RemoveAction, create_table_with_add_actions

    root = folder(lake, table)
    schema = TABLES[table]
    if "date" not in schema.names:
        schema = schema.append(pa.field("date", pa.string()))
    delta_schema = Schema.from_arrow(schema)
    actions: list[AddAction | RemoveAction] = []
    rows = 0
    with named_failures(f"writing to the lake table {table} in {lake.url}"):
        for file in sorted(staged.glob("date=*/*.parquet")):
            count = pq.read_metadata(file).num_rows
            date = file.parent.name.removeprefix("date=")
            target = root / file.parent.name / f"{uuid.uuid4().hex}.parquet"
            target.parent.mkdir(parents=True, exist_ok=True)
            file.rename(target)
            rows += count
            actions.append(
                AddAction(
                    path=str(target.relative_to(root)),
                    size=target.stat().st_size,
                    partition_values={"date": date},
                    modification_time=int(time.time() * 1000),
                    data_change=True,
                    stats=json.dumps({"numRecords": count}),
                )
            )
        properties = CommitProperties(
            app_transactions=[Transaction(p.writer, p.offset) for p in progress]
        )
        opened = lake.open(table)
        if opened is None:
            create_table_with_add_actions(
                lake.uri(table),
                delta_schema,
                [action for action in actions if isinstance(action, AddAction)],
                mode="error",
                partition_by=["date"],
                commit_properties=properties,
            )
        else:
            opened.create_write_transaction(
                actions,
                "overwrite" if dates else "append",
                delta_schema,
                partition_by=["date"],
                partition_filters=[("date", "in", sorted(dates))] if dates else None,
                commit_properties=properties,
            )
    return rows

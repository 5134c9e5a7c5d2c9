"""The lake: Delta tables of events, of what the ETL makes of them, of labels and dead letters.

One commit a batch. Each commit may carry the name of its writer and the offset it reached
(a Delta *transaction identifier*), so that a batch replayed after a crash is recognised and
left out. A table's version names its content for ever, which makes training sets
reproducible: a snapshot is a version, never a copy.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc

from closedloop.core.errors import ClosedLoopError, EngineError, NotFound
from closedloop.data.event import SCHEMA as EVENT_SCHEMA
from closedloop.data.interaction import SCHEMA as INTERACTION_SCHEMA
from closedloop.data.jobs.daily import DAILY_SCHEMA
from closedloop.data.jobs.dialogues import DIALOGUES_SCHEMA
from closedloop.data.jobs.features import FEATURES_SCHEMA

if TYPE_CHECKING:
    from deltalake import DeltaTable

DEAD_LETTER_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("ts", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("raw", pa.string()),
        pa.field("tenant", pa.string()),
        # When a replay made it an event after all, and which.
        pa.field("replayed_at", pa.timestamp("us", tz="UTC")),
        pa.field("event_id", pa.string()),
    ]
)
LABEL_SCHEMA = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("ts", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("votes", pa.int32(), nullable=False),
        pa.field("agreement", pa.float64(), nullable=False),
        pa.field("simulated", pa.bool_(), nullable=False),
        pa.field("split", pa.string(), nullable=False),  # train, gold
        pa.field("run_id", pa.string(), nullable=False),
    ]
)
TABLES = {
    "turns": EVENT_SCHEMA,
    "predictions": EVENT_SCHEMA,
    "feedback": EVENT_SCHEMA,
    # What the ETL makes of the three above (etl.py).
    "interactions": INTERACTION_SCHEMA,
    "dialogues": DIALOGUES_SCHEMA,
    "daily": DAILY_SCHEMA,
    "features": FEATURES_SCHEMA,
    "labels": LABEL_SCHEMA,
    "dead_letters": DEAD_LETTER_SCHEMA,
}

# Training sets name versions of the labels: their log must outlive Delta's 30 days. Only a table
# that is made new takes its configuration from here.
CONFIGURATION = {
    "labels": {
        "delta.enableExpiredLogCleanup": "false",
        "delta.logRetentionDuration": "interval 36500 days",
    }
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a writer has come: its name and the last offset it wrote."""

    writer: str
    offset: int


class Lake:
    """Delta tables below one folder or object-store URL, partitioned by day.

    Examples
    --------
    >>> lake = Lake("/tmp/lake")                                      # doctest: +SKIP
    >>> version = lake.append("turns", to_table(events))              # doctest: +SKIP
    >>> lake.read("turns", version=version).num_rows == len(events)   # doctest: +SKIP
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def append(
        self,
        table: str,
        rows: pa.Table,
        *,
        progress: Progress | Sequence[Progress] = (),
        after: int | None = None,
    ) -> int:
        """Add rows in one commit and return the table's version.

        Parameters
        ----------
        table, rows : str, Table
            What to add to.
        progress : Progress or sequence of Progress
            How far their writers have come. A batch that the table has reached already, of all
            its writers, is left out.
        after : int, optional
            The version in which the caller looked what is new, -1 for no table. Where the same
            writers have come further since, nothing is written.

        Raises
        ------
        EngineError
            The lake cannot be written, or a writer of the same name was faster.
        """
        from deltalake import CommitProperties, Transaction, write_deltalake

        steps = [progress] if isinstance(progress, Progress) else list(progress)
        if steps and all(self.reached(table, each.writer) >= each.offset for each in steps):
            return self.version(table)
        day = pc.strftime(rows["ts"], format="%Y-%m-%d")
        properties = None
        if steps:
            properties = CommitProperties(
                app_transactions=[Transaction(each.writer, each.offset) for each in steps]
            )
        # Delta refuses the second of two commits of one writer after the same version.
        seen = self.open(table, after) if after is not None and after >= 0 else None
        with named_failures(f"writing to the lake table {table} in {self.url}"):
            write_deltalake(
                seen or self.uri(table),
                rows.cast(TABLES[table]).append_column("date", day),
                mode="error" if after == -1 else "append",
                schema_mode=None if after == -1 else "merge",  # a table of an earlier release
                partition_by=["date"],
                configuration=CONFIGURATION.get(table),
                commit_properties=properties,
            )
        return self.version(table)

    def reached(self, table: str, writer: str) -> int:
        """Return the last offset that ``writer`` has in the table; -1 for none."""
        opened = self.open(table)
        offset = opened.transaction_version(writer) if opened else None
        return -1 if offset is None else offset

    def version(self, table: str) -> int:
        """Return the table's current version; -1 where it does not exist yet."""
        opened = self.open(table)
        return -1 if opened is None else opened.version()

    def read(
        self, table: str, *, version: int | None = None, columns: list[str] | None = None
    ) -> pa.Table:
        """Return a table's rows, as they are or as they were at ``version``."""
        opened = self.open(table, version)
        if opened is None:
            empty = TABLES[table].empty_table()
            return empty.select(columns) if columns else empty
        with named_failures(f"reading the lake table {table} in {self.url}"):
            schema = TABLES[table]
            names = columns or schema.names
            known = {field.name for field in opened.schema().fields}
            rows = opened.to_pyarrow_table(columns=[name for name in names if name in known])
            for name in [name for name in names if name not in known]:
                nulls = pa.nulls(rows.num_rows, schema.field(name).type)
                rows = rows.append_column(schema.field(name), nulls)
            return rows.select(names).cast(pa.schema([schema.field(name) for name in names]))

    def count(self, table: str) -> int:
        """Return how many rows a table has, from its statistics."""
        opened = self.open(table)
        return 0 if opened is None else opened.count()

    def files(self, table: str, *, version: int | None = None) -> list[str]:
        """Return the Parquet files of a table's version, for Spark to read."""
        opened = self.open(table, version)
        if opened is None:
            raise NotFound(
                f"The lake {self.url} has no table {table} yet.",
                remedy="Load logs first: closedloop ingest FILE --map text=COLUMN.",
            )
        found = opened.file_uris()
        # Delta escapes what a URI must; a folder's path is no URI to Spark.
        return found if "://" in self.url else [unquote(file) for file in found]

    def open(self, table: str, version: int | None = None) -> DeltaTable | None:
        """Return a table, as it is or as it was at ``version``; None where there is none yet."""
        from deltalake import DeltaTable

        if table not in TABLES:
            raise NotFound(
                f"The lake has no table {table!r}.", remedy=f"It has {', '.join(TABLES)}."
            )
        with named_failures(f"opening the lake table {table} in {self.url}"):
            if not DeltaTable.is_deltatable(self.uri(table)):
                return None
            return DeltaTable(self.uri(table), version=version)

    def uri(self, table: str) -> str:
        """Return where a table is."""
        return f"{self.url}/{table}"


@contextmanager
def named_failures(doing: str) -> Iterator[None]:
    """Turn what Delta, Arrow or the file system raises in this block into an EngineError."""
    from deltalake.exceptions import DeltaError

    try:
        yield
    except ClosedLoopError:
        raise
    except (DeltaError, OSError, pa.ArrowException) as error:
        text = str(error)
        full = getattr(error, "errno", None) == errno.ENOSPC or "No space left" in text
        raise EngineError(
            f"{'There is no disk space left: ' if full else ''}{doing} failed"
            f"{'' if full else f': {text.splitlines()[0] if text else type(error).__name__}'}.",
            remedy="Free disk space and run the same command again; nothing was half-written."
            if full
            else "Check CLOSEDLOOP_LAKE and its permissions.",
        ) from error

"""The texts of the last hour, with where each went: what rules are tried on before they act.

One folder a tenant, and in it files named by the place in the log of their first text. A shard
that was killed writes again what it had written; readers leave out what they read twice.
"""

from __future__ import annotations

import hashlib
import math
from contextlib import suppress
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from closedloop.core.files import written_whole
from closedloop.data.event_log.protocol import LoggedEvent
from closedloop.defence.stream_clusters import Placement

SCHEMA = pa.schema(
    [
        pa.field("at", pa.float64(), nullable=False),  # Unix seconds
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),  # masked
        pa.field("channel", pa.string()),
        pa.field("model", pa.string()),
        pa.field("prediction", pa.string()),
        pa.field("confidence", pa.float64()),
        pa.field("micro", pa.int64(), nullable=False),  # its micro-cluster, for good
    ]
)
_MOST_FILES = 64
_MOST_ROWS = 2_000_000  # of a tenant
_NAME = "tenant"
_WHOLE = "-all"


class RecentTraffic:
    """The newest texts of each tenant, on disk.

    Parameters
    ----------
    folder : Path
    keep_s : float
        Age from which texts go, counted from the tenant's newest one.

    Examples
    --------
    >>> recent = RecentTraffic(Path("/srv/closedloop/defence/recent"))  # doctest: +SKIP
    >>> recent.read("shop", since=0.0, limit=10_000)                    # doctest: +SKIP
    """

    def __init__(self, folder: Path, keep_s: float = 3600.0) -> None:
        self._folder = folder
        self._keep_s = keep_s
        # File to when it was written, its newest text's time and its rows.
        self._seen: dict[Path, tuple[int, float, int]] = {}

    def append(self, tenant: str, rows: pa.Table, *, name: str) -> None:
        """Add texts under a name; what has that name already is replaced.

        Parameters
        ----------
        rows : Table
            Of `SCHEMA`.
        name : str
            Later texts have names that sort later.

        Raises
        ------
        EngineError
            The files cannot be written.
        """
        folder = self._of(tenant)
        if not (folder / _NAME).exists():
            with written_whole(folder / _NAME, what="name of a tenant") as file:
                file.write_text(tenant, "utf-8", "surrogatepass")
        _write(folder / f"{name}.parquet", rows)
        self._forget(folder)
        self._compact(folder)

    def read(
        self, tenant: str, *, since: float, limit: int | None = None, seed: int = 0
    ) -> pl.DataFrame:
        """Return texts, oldest first; with a limit, a uniform sample of them.

        Parameters
        ----------
        since : float
            Time of the oldest, Unix seconds.
        """
        for _ in range(3):  # a writer may put files together meanwhile
            with suppress(FileNotFoundError):
                frames = [
                    _frame(pq.read_table(path, schema=SCHEMA))
                    for path in _files(self._of(tenant))
                    if self._about(path)[1] >= since
                ]
                break
        else:
            frames = []
        found = pl.concat([_frame(SCHEMA.empty_table()), *frames]).filter(pl.col("at") >= since)
        found = found.unique("event_id", keep="last", maintain_order=True).sort("at")
        if limit is not None and found.height > limit:
            found = found.sample(limit, seed=seed).sort("at")
        return found

    def tenants(self) -> list[str]:
        """Return the tenants that have texts."""
        names = []
        for path in self._folder.glob(f"*/{_NAME}"):
            with suppress(FileNotFoundError):
                names.append(path.read_text("utf-8", "surrogatepass"))
        return sorted(names)

    def remove_all(self) -> None:
        """Forget every text."""
        for path in self._folder.glob("*/*"):
            path.unlink(missing_ok=True)

    def _of(self, tenant: str) -> Path:
        told = tenant.encode("utf-8", "surrogatepass")
        return self._folder / hashlib.blake2b(told, digest_size=10).hexdigest()

    def _forget(self, folder: Path) -> None:
        files = _files(folder)
        about = {path: self._about(path) for path in files}
        oldest = max(latest for _, latest, _ in about.values()) - self._keep_s
        kept = 0
        for path in reversed(files):
            _, latest, rows = about[path]
            if latest < oldest or kept > _MOST_ROWS:
                self._remove(path)
            else:
                kept += rows

    def _compact(self, folder: Path) -> None:
        """Put the smaller half of many files together."""
        files = _files(folder)
        if len(files) <= _MOST_FILES:
            return
        small = sorted(files, key=lambda path: self._about(path)[2])[: _MOST_FILES // 2]
        together = sorted(small)
        rows = pa.concat_tables([pq.read_table(path, schema=SCHEMA) for path in together])
        # A name of its own: a restart may write the first of them again, and that one only.
        whole = together[0].with_stem(together[0].stem.removesuffix(_WHOLE) + _WHOLE)
        _write(whole, rows)
        for path in together:
            if path != whole:
                self._remove(path)

    def _about(self, path: Path) -> tuple[int, float, int]:
        written = path.stat().st_mtime_ns
        seen = self._seen.get(path)
        if seen is None or seen[0] != written:
            try:
                told = pq.read_metadata(path)
                seen = written, float(told.metadata[b"latest"]), told.num_rows
            except pa.ArrowInvalid:  # empty: the machine went down
                seen = written, -math.inf, 0
            self._seen[path] = seen
        return seen

    def _remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._seen.pop(path, None)


class RecentWriter:
    """Gathers texts until they are worth a file."""

    def __init__(self, recent: RecentTraffic) -> None:
        self._recent = recent
        self._rows: dict[tuple[str, int], list[tuple[LoggedEvent, Placement]]] = {}

    def add(self, logged: LoggedEvent, placement: Placement) -> None:
        """Take a text."""
        key = logged.event.tenant, logged.partition
        self._rows.setdefault(key, []).append((logged, placement))

    def flush(self) -> None:
        """Write what was gathered; raises EngineError where that fails."""
        for (tenant, partition), rows in self._rows.items():
            name = f"{rows[0][0].offset:016}-{partition:04}"
            self._recent.append(tenant, _table(rows), name=name)
        self._rows.clear()


def _table(rows: list[tuple[LoggedEvent, Placement]]) -> pa.Table:
    events = [logged.event for logged, _ in rows]
    columns = {
        "at": [event.ts.timestamp() for event in events],
        "micro": [placement.micro for _, placement in rows],
    }
    for name in ("event_id", "text", "channel", "model", "prediction", "confidence"):
        columns[name] = [getattr(event, name) for event in events]
    return pa.table({name: columns[name] for name in SCHEMA.names}, schema=SCHEMA)


def _write(path: Path, rows: pa.Table) -> None:
    latest = max(rows["at"].to_pylist(), default=0.0)
    told = rows.replace_schema_metadata({"latest": repr(latest)})
    with written_whole(path, what="recent texts", durable=False) as file:
        pq.write_table(told, file, compression="zstd")


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.parquet") if not path.name.startswith("."))


def _frame(rows: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(rows)
    assert isinstance(frame, pl.DataFrame)  # from_arrow makes a Series of an array
    return frame

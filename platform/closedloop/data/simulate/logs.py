"""Simulated traffic as the log files that a user of the platform would bring."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from closedloop.core.errors import InputError
from closedloop.data.simulate.dialogues import SimulatedTurn, simulate_turns
from closedloop.data.simulate.scenario import Scenario

Format = Literal["csv", "jsonl", "parquet"]
COLUMNS = (
    "text",
    "ts",
    "tenant",
    "channel",
    "dialogue_id",
    "turn",
    "user_id",
    "merchant",
    "region",
    "language",
    "role",
)
LABEL_COLUMNS = ("intent", "burst")
_BLOCK_ROWS = 10_000
Row = dict[str, str | int | None]


def write_logs(
    scenario: Scenario,
    path: Path,
    format: Format,
    with_labels: bool = True,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Write the turns of a scenario to one file, block by block in constant memory.

    Parameters
    ----------
    scenario : Scenario
        What to simulate.
    path : Path
        The file; it appears whole or not at all, and takes the place of an older one.
    format : {"csv", "jsonl", "parquet"}
        How to write it.
    with_labels : bool
        Whether the columns ``intent`` and ``burst`` tell the truth about each turn.
    progress : callable, optional
        Called with the number of rows written so far, after each block.

    Returns
    -------
    int
        Rows written.

    Raises
    ------
    InputError
        The format is unknown, or the folder of the file does not exist.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_logs(Scenario(turns=5), Path(folder) / "logs.csv", "csv")
    5
    """
    writers = {"csv": _write_csv, "jsonl": _write_jsonl, "parquet": _write_parquet}
    if format not in writers:
        raise InputError(
            f"Logs cannot be written as {format!r}.", remedy=f"Choose among {', '.join(writers)}."
        )
    if not path.parent.is_dir() or path.is_dir():
        raise InputError(
            f"Logs cannot be written to {path}: "
            + ("it is a folder." if path.is_dir() else "its folder does not exist."),
            remedy="Name a file in an existing folder.",
        )
    columns = COLUMNS[:1] + LABEL_COLUMNS + COLUMNS[1:] if with_labels else COLUMNS
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        rows = writers[format](
            _blocks(scenario, columns), unfinished, columns, progress or (lambda _: None)
        )
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return rows


def _blocks(scenario: Scenario, columns: tuple[str, ...]) -> Iterator[list[Row]]:
    block: list[Row] = []
    for turn in simulate_turns(scenario):
        block.append(_row(turn, columns))
        if len(block) == _BLOCK_ROWS:
            yield block
            block = []
    if block:
        yield block


def _row(turn: SimulatedTurn, columns: tuple[str, ...]) -> Row:
    row: Row = {name: getattr(turn, name) for name in columns}
    row["ts"] = turn.ts.isoformat(timespec="milliseconds")
    return row


def _write_csv(
    blocks: Iterator[list[Row]],
    path: Path,
    columns: tuple[str, ...],
    progress: Callable[[int], None],
) -> int:
    rows = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for block in blocks:
            writer.writerows(block)
            rows += len(block)
            progress(rows)
    return rows


def _write_jsonl(
    blocks: Iterator[list[Row]],
    path: Path,
    columns: tuple[str, ...],
    progress: Callable[[int], None],
) -> int:
    rows = 0
    with path.open("w", encoding="utf-8") as file:
        for block in blocks:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in block)
            rows += len(block)
            progress(rows)
    return rows


def _write_parquet(
    blocks: Iterator[list[Row]],
    path: Path,
    columns: tuple[str, ...],
    progress: Callable[[int], None],
) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, pa.int32() if name == "turn" else pa.string()) for name in columns])
    rows = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for block in blocks:
            writer.write_table(pa.Table.from_pylist(block, schema=schema))
            rows += len(block)
            progress(rows)
    return rows

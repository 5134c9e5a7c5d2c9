"""The state of a stream's clusters as bytes: an Arrow file of one row, nothing that can run.

Order is part of the state: sums of floats and ties depend on it, and a stream that is loaded and
goes on must end as one that was never interrupted.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from closedloop.core.errors import InputError, NotFound
from closedloop.core.files import written_whole
from closedloop.defence.micro_clusters import MicroClusters
from closedloop.defence.micro_index import post_all
from closedloop.defence.micro_table import (
    CELL,
    FILLED,
    HELD,
    HOLDERS,
    ID,
    START,
    TEXTS,
    empty_table,
    with_room,
)
from closedloop.defence.stream_clusters import StreamClusters, StreamSettings

FORMAT = 2

_FIGURES = ("mass", "square", "own", "seen")
_CELLS = ("cell.square", "cell.expected")
_LINEAGE = ("homes", "successors", "departed", "parents")


def dump(stream: StreamClusters) -> bytes:
    """Return the state of a stream."""
    micros, lineage = stream.micros, stream.lineage
    described = {
        "format": FORMAT,
        "settings": asdict(stream.settings),
        "stream": {"texts": stream.texts, "now": stream.now, "waited": stream.waited},
        "micros": {
            name: getattr(micros, name)
            for name in ("next_id", "mass", "origin", "settled", "settled_left")
        },
        "whole": float(micros.table.whole[0]),
        "lineage": {"next_id": lineage.next_id},
    }
    lists: dict[str, pa.Array] = {"names": pa.array(micros.names, pa.string())}
    for name in ("free_numbers", "free_slots"):
        lists[name] = pa.array(getattr(micros, name), pa.int64())
    lists |= {name: pa.array(values) for name, values in _arrays(micros).items()}
    for name in _LINEAGE:
        memory: dict[int, int] = getattr(lineage, name)
        lists[f"{name}.key"] = pa.array(memory, pa.int64())
        lists[f"{name}.value"] = pa.array(memory.values(), pa.int64())
    columns = [
        pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), values)
        for values in lists.values()
    ]
    schema = pa.schema(
        [pa.field(name, column.type) for name, column in zip(lists, columns, strict=True)],
        metadata={"closedloop": json.dumps(described)},
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(pa.record_batch(columns, schema=schema))
    return bytes(sink.getvalue())


def _arrays(micros: MicroClusters) -> dict[str, npt.NDArray[Any]]:
    """Return what is in use of the table; slots in the order of the ids."""
    table, slots = micros.table, micros.slots()
    held_ends, held, weights = micros.held(slots)
    blocks = table.blocks[: len(micros.names)]
    filled = blocks[:, FILLED]
    ends = np.r_[0, np.cumsum(filled)]
    places = np.repeat(blocks[:, START] - ends[:-1], filled) + np.arange(ends[-1])
    found: dict[str, npt.NDArray[Any]] = {
        "slot": slots,
        "id": table.counts[slots, ID],
        "texts": table.counts[slots, TEXTS],
        "cell": table.counts[slots, CELL],
        "held.end": held_ends,
        "held.key": held,
        "held.value": weights,
        "frequency": table.frequency[: len(micros.names)],
        "postings.end": ends,
        "postings.key": table.slots[places],
        "postings.value": table.values[places],
    }
    for column, name in enumerate(_FIGURES):
        found[name] = table.figures[slots, column]
    for column, name in enumerate(_CELLS):
        found[name] = table.cells[: table.used[0], column]
    return {name: np.ascontiguousarray(values) for name, values in found.items()}


def load(content: bytes) -> StreamClusters:
    """Rebuild a stream from :func:`dump`.

    Raises
    ------
    InputError
        The bytes are no state that this release reads.
    """
    try:
        reader = pa.ipc.open_file(pa.BufferReader(content))
        described = json.loads(reader.schema.metadata[b"closedloop"])
        if described["format"] != FORMAT:
            raise ValueError(f"its format is {described['format']}, this release reads {FORMAT}")
        batch = reader.get_batch(0)
        lists = {name: batch.column(name).flatten() for name in batch.schema.names}
        return _put_together(described, lists)
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(
            f"The state of the stream's clusters cannot be read: {error}.",
            remedy="Delete it; the stream is then clustered from the event log again.",
        ) from error


def save(stream: StreamClusters, path: Path) -> None:
    """Write the state of a stream; the file appears whole or not at all.

    Raises
    ------
    EngineError
        The file cannot be written.
    """
    with written_whole(path, what="state of the clusters") as file:
        file.write_bytes(dump(stream))


def open_saved(path: Path) -> StreamClusters:
    """Read what :func:`save` wrote.

    Raises
    ------
    NotFound
        There is no such file.
    InputError
        The file is no state that this release reads.
    """
    try:
        return load(path.read_bytes())
    except FileNotFoundError as error:
        raise NotFound(f"There is no file {path}.", remedy="Start without a state.") from error


def _put_together(described: dict[str, Any], lists: dict[str, pa.Array]) -> StreamClusters:
    stream = StreamClusters(StreamSettings(**described["settings"]))
    micros, lineage = stream.micros, stream.lineage
    for owner, part in ((stream, "stream"), (micros, "micros"), (lineage, "lineage")):
        for name, value in described[part].items():
            setattr(owner, name, value)
    for name in ("names", "free_numbers", "free_slots"):
        setattr(micros, name, lists.pop(name).to_pylist())
    for name in _LINEAGE:
        keys, values = lists.pop(f"{name}.key"), lists.pop(f"{name}.value")
        setattr(lineage, name, dict(zip(keys.to_pylist(), values.to_pylist(), strict=True)))
    free = set(micros.free_numbers)
    micros.numbers = {name: n for n, name in enumerate(micros.names) if n not in free}
    read = {name: values.to_numpy(zero_copy_only=False) for name, values in lists.items()}
    micros.places = dict(zip(read["id"].tolist(), read["slot"].tolist(), strict=True))
    _fill(micros, read)
    micros.table.whole[0] = described["whole"]
    return stream


def _fill(micros: MicroClusters, read: dict[str, npt.NDArray[Any]]) -> None:
    slots, held = read["slot"], np.diff(read["held.end"])
    ends, used = read["postings.end"], len(read["cell.square"])
    table = micros.table = with_room(
        empty_table(micros.table.held.shape[1]),
        slots=len(slots) + len(micros.free_slots),
        terms=len(micros.names),
        pool=micros.places_for(np.diff(ends)),
        cells=used,
    )
    for column, name in enumerate(_FIGURES):
        table.figures[slots, column] = read[name]
    for column, name in enumerate(_CELLS):
        table.cells[:used, column] = read[name]
    table.used[0] = used
    for place, name in ((ID, "id"), (TEXTS, "texts"), (CELL, "cell")):
        table.counts[slots, place] = read[name]
    table.counts[slots, HELD] = held
    rows = np.repeat(slots, held)
    columns = np.arange(len(rows)) - np.repeat(read["held.end"][:-1], held)
    table.held[rows, columns] = read["held.key"]
    table.weights[rows, columns] = read["held.value"]
    table.frequency[: len(micros.names)] = read["frequency"]
    post_all(table, ends, read["postings.key"], read["postings.value"], micros.postings)
    table.blocks[: len(micros.names), HOLDERS] = np.bincount(
        read["held.key"], minlength=len(micros.names)
    )

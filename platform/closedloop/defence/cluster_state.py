"""The state of a stream's clusters as bytes: an Arrow file of one row, nothing that can run.

Order is part of the state: sums of floats and ties depend on it, and a stream that is loaded and
goes on must end as one that was never interrupted.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import accumulate, chain, pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa

from closedloop.core.errors import InputError, NotFound
from closedloop.core.files import written_whole
from closedloop.defence.micro_cluster import MicroCluster
from closedloop.defence.stream_clusters import StreamClusters, StreamSettings

FORMAT = 1


def dump(stream: StreamClusters) -> bytes:
    """Return the state of a stream."""
    micros = stream.micros
    numbers: dict[str, int] = {}
    for term in chain(micros.frequency, micros.index):
        numbers.setdefault(term, len(numbers))
    held = list(micros.micros.values())
    described = {
        "format": FORMAT,
        "settings": asdict(stream.settings),
        "stream": {"texts": stream.texts, "now": stream.now, "waited": stream.waited},
        "micros": {
            name: getattr(micros, name)
            for name in ("next_id", "mass", "origin", "settled", "settled_left")
        },
        "lineage": {"next_id": stream.lineage.next_id},
    }
    lists: dict[str, pa.Array] = {
        "terms": pa.array(numbers, pa.string()),
        "micro": pa.array(micros.micros, pa.int64()),
        "texts": pa.array([one.texts for one in held], pa.int64()),
    }
    for name in ("mass", "square", "own", "seen"):
        lists[name] = pa.array([getattr(one, name) for one in held], pa.float64())
    lists |= _mapping("frequency", {numbers[t]: f for t, f in micros.frequency.items()})
    lists |= _nested("held", [{numbers[t]: w for t, w in one.terms.items()} for one in held])
    lists["index"] = pa.array([numbers[term] for term in micros.index], pa.int64())
    lists |= _nested("postings", list(micros.index.values()))
    for name in ("homes", "successors", "departed", "parents"):
        memory: dict[int, int] = getattr(stream.lineage, name)
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
        row = reader.get_batch(0).to_pylist()[0]
        return _put_together(described, row)
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


def _mapping(name: str, values: dict[int, float]) -> dict[str, pa.Array]:
    return {
        f"{name}.key": pa.array(values, pa.int64()),
        f"{name}.value": pa.array(values.values(), pa.float64()),
    }


def _nested(name: str, rows: list[dict[int, float]]) -> dict[str, pa.Array]:
    ends = list(accumulate((len(row) for row in rows), initial=0))
    return {
        f"{name}.end": pa.array(ends, pa.int64()),
        f"{name}.key": pa.array(chain.from_iterable(rows), pa.int64()),
        f"{name}.value": pa.array(chain.from_iterable(row.values() for row in rows), pa.float64()),
    }


def _rows(name: str, row: dict[str, Any]) -> list[dict[int, float]]:
    keys, values = row[f"{name}.key"], row[f"{name}.value"]
    return [
        dict(zip(keys[begin:end], values[begin:end], strict=True))
        for begin, end in pairwise(row[f"{name}.end"])
    ]


def _put_together(described: dict[str, Any], row: dict[str, Any]) -> StreamClusters:
    stream = StreamClusters(StreamSettings(**described["settings"]))
    for owner, part in (
        (stream, "stream"),
        (stream.micros, "micros"),
        (stream.lineage, "lineage"),
    ):
        for name, value in described[part].items():
            setattr(owner, name, value)
    terms: list[str] = row["terms"]
    micros = stream.micros
    micros.frequency = {
        terms[key]: value
        for key, value in zip(row["frequency.key"], row["frequency.value"], strict=True)
    }
    figures = zip(row["mass"], row["square"], row["own"], row["texts"], row["seen"], strict=True)
    for micro, (mass, square, own, texts, seen), held in zip(
        row["micro"], figures, _rows("held", row), strict=True
    ):
        micros.micros[micro] = MicroCluster(
            mass=mass,
            square=square,
            own=own,
            texts=texts,
            seen=seen,
            terms={terms[key]: weight for key, weight in held.items()},
        )
    micros.squares = {micro: one.square for micro, one in micros.micros.items()}
    for key, postings in zip(row["index"], _rows("postings", row), strict=True):
        micros.index[terms[key]] = postings
    for name in ("homes", "successors", "departed", "parents"):
        memory = dict(zip(row[f"{name}.key"], row[f"{name}.value"], strict=True))
        setattr(stream.lineage, name, memory)
    return stream

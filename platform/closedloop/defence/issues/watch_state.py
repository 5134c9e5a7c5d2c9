"""The state of a watch as bytes: an Arrow file of one row, nothing in it that can run.

The counts' matrices are mostly nothing; they are written as the cells that hold something.
Order is part of the state: what is forgotten first depends on it.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from closedloop.core.errors import InputError
from closedloop.defence.issues.evidence import Record, Said
from closedloop.defence.issues.newborns import Newborns
from closedloop.defence.issues.recent import Recent
from closedloop.defence.issues.surprise import Dispersion
from closedloop.defence.issues.tally import NOBODY, Tally
from closedloop.defence.issues.watch import IssueWatch
from closedloop.defence.issues.watch_settings import WatchSettings

FORMAT = 1
_MATRICES = ("fine", "minutes", "past")
_VECTORS = ("ids", "homes", "born", "past_before", "last", "total")
_ROWS = ("fine_at", "minute_at", "fine_all", "minutes_all", "past_all")
_SCALARS = ("past_texts", "texts", "now", "first", "faded")
_SAID = tuple(name for name in Said._fields if name not in ("at", "confidence"))


def dump(watch: IssueWatch) -> bytes:
    """Return the state of a watch."""
    arrays: dict[str, pa.Array] = {}
    described: dict[str, Any] = {
        "format": FORMAT,
        "settings": asdict(watch.settings),
        "tenant": watch.tenant,
        "tally": _tally_out("tally", watch.tally, arrays),
        "terms": _tally_out("terms", watch.terms.tally, arrays),
        "models": [[_floats(each) for each in models] for models in _models(watch)],
        "known": {"words": watch.known.words, "texts": watch.known.texts},
        "names": watch.evidence.names,
    }
    records = watch.evidence.records
    texts = [said for record in records.values() for said in record.texts]
    arrays["record.micro"] = pa.array(records, pa.int64())
    arrays["record.texts"] = pa.array([len(each.texts) for each in records.values()], pa.int64())
    arrays["record.place"] = pa.array([each.place for each in records.values()], pa.int64())
    arrays["record.hour"] = pa.array([each.hour for each in records.values()], pa.int64())
    for name in ("now", "before"):
        held = [getattr(each, name) for each in records.values()]
        arrays[f"record.{name}.length"] = pa.array([len(each) for each in held], pa.int64())
        arrays[f"record.{name}.code"] = pa.array([c for each in held for c in each], pa.int64())
        arrays[f"record.{name}.count"] = pa.array(
            [n for each in held for n in each.values()], pa.int64()
        )
    for name in ("at", "confidence"):
        arrays[f"said.{name}"] = pa.array([getattr(said, name) for said in texts], pa.float64())
    for name in _SAID:
        arrays[f"said.{name}"] = pa.array([getattr(said, name) for said in texts], pa.string())
    for generation in ("newer", "older"):
        events: dict[str, int] = getattr(watch.events, generation)
        arrays[f"events.{generation}.id"] = pa.array(events, pa.string())
        arrays[f"events.{generation}.micro"] = pa.array(events.values(), pa.int64())
        users: dict[str, tuple[int, ...]] = getattr(watch.users, generation)
        arrays[f"users.{generation}.id"] = pa.array(users, pa.string())
        arrays[f"users.{generation}.hits"] = pa.array(
            [list(hits) for hits in users.values()], pa.list_(pa.int64())
        )
    columns = [
        pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), values)
        for values in arrays.values()
    ]
    schema = pa.schema(
        [pa.field(name, column.type) for name, column in zip(arrays, columns, strict=True)],
        metadata={"closedloop": json.dumps(described)},
    )
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_file(sink, schema, options=options) as writer:
        writer.write_batch(pa.record_batch(columns, schema=schema))
    return bytes(sink.getvalue())


def load(content: bytes) -> IssueWatch:
    """Rebuild a watch from :func:`dump`.

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
        row = {name: batch.column(name).values for name in batch.schema.names}
        return _put_together(described, row)
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(
            f"The state of the watch cannot be read: {error}.",
            remedy="Delete it; the watch then learns from the event log again.",
        ) from error


def _tally_out(name: str, tally: Tally, arrays: dict[str, pa.Array]) -> dict[str, Any]:
    for each in (*_VECTORS, *_ROWS):
        arrays[f"{name}.{each}"] = pa.array(getattr(tally, each))
    for each in _MATRICES:
        held = getattr(tally, each).ravel()
        cells = np.flatnonzero(held)
        arrays[f"{name}.{each}.cell"] = pa.array(cells)
        arrays[f"{name}.{each}.count"] = pa.array(held[cells])
    # The order in which names were met says nothing; which columns are free does.
    return {"free": tally.free} | {each: getattr(tally, each) for each in _SCALARS}


def _tally_in(name: str, tally: Tally, described: dict[str, Any], row: dict[str, Any]) -> None:
    for each in (*_VECTORS, *_ROWS):
        setattr(tally, each, row[f"{name}.{each}"].to_numpy(zero_copy_only=False).copy())
    size = len(tally.ids)
    for each in _MATRICES:
        empty = getattr(tally, each)
        matrix = np.zeros(empty.shape[0] * size, empty.dtype)
        cells = row[f"{name}.{each}.cell"].to_numpy(zero_copy_only=False)
        matrix[cells] = row[f"{name}.{each}.count"].to_numpy(zero_copy_only=False)
        setattr(tally, each, matrix.reshape(empty.shape[0], size))
    for each in _SCALARS:
        setattr(tally, each, described[each])
    tally.free = list(described["free"])
    tally.slots = {micro: slot for slot, micro in enumerate(tally.ids.tolist()) if micro != NOBODY}


def _models(watch: IssueWatch) -> tuple[tuple[Dispersion | Newborns, ...], ...]:
    model, terms = watch.model, watch.terms
    return (
        *(model.alone, model.summed, model.newborn, model.newborn_clusters),
        *(terms.varied, terms.newborn),
    )


def _floats(model: Dispersion | Newborns) -> tuple[float, float]:
    second = model.weight if isinstance(model, Dispersion) else model.passed
    return model.excess, second


def _put_together(described: dict[str, Any], row: dict[str, Any]) -> IssueWatch:
    watch = IssueWatch(WatchSettings(**described["settings"]))
    watch.tenant = described["tenant"]
    _tally_in("tally", watch.tally, described["tally"], row)
    _tally_in("terms", watch.terms.tally, described["terms"], row)
    for models, kept in zip(_models(watch), described["models"], strict=True):
        for model, (excess, second) in zip(models, kept, strict=True):
            model.excess = excess
            if isinstance(model, Dispersion):
                model.weight = second
            else:
                model.passed = second
    watch.known.words = described["known"]["words"]
    watch.known.texts = described["known"]["texts"]
    evidence = watch.evidence
    evidence.names = [(kind, name) for kind, name in described["names"]]
    for code, (kind, name) in enumerate(evidence.names):
        evidence.codes[kind][name] = code
    _records_in(
        watch,
        {
            name: values.to_pylist()
            for name, values in row.items()
            if "." in name and name.split(".")[0] in ("record", "said", "events", "users")
        },
    )
    return watch


def _records_in(watch: IssueWatch, row: dict[str, list[Any]]) -> None:
    texts = iter(
        Said(at=at, confidence=confidence, **dict(zip(_SAID, rest, strict=True)))
        for at, confidence, *rest in zip(
            row["said.at"],
            row["said.confidence"],
            *(row[f"said.{name}"] for name in _SAID),
            strict=True,
        )
    )
    counts = {
        name: iter(zip(row[f"record.{name}.code"], row[f"record.{name}.count"], strict=True))
        for name in ("now", "before")
    }
    for place, micro in enumerate(row["record.micro"]):
        record = watch.evidence.records[micro] = Record()
        record.texts = [next(texts) for _ in range(row["record.texts"][place])]
        record.place, record.hour = row["record.place"][place], row["record.hour"][place]
        for name, pairs in counts.items():
            length = row[f"record.{name}.length"][place]
            setattr(record, name, dict(next(pairs) for _ in range(length)))
    memories: tuple[tuple[str, str, Recent[Any]], ...] = (
        ("events", "micro", watch.events),
        ("users", "hits", watch.users),
    )
    for name, value, memory in memories:
        for generation in ("newer", "older"):
            ids, values = row[f"{name}.{generation}.id"], row[f"{name}.{generation}.{value}"]
            held = (tuple(each) if isinstance(each, list) else each for each in values)
            setattr(memory, generation, dict(zip(ids, held, strict=True)))

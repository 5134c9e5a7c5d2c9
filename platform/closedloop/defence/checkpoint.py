"""What is known of a slot, and up to which event, in one file that appears whole or not at all.

State and position are written together, so that whoever is killed goes on as if nothing had
been. The file is an Arrow file of one row a tenant; nothing in it can run.

Beside the slots' files there is one a shard that says how far slots were read that nothing new
came for. It only ever says more than their own files do: a slot's position is the farther one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from closedloop.core.errors import Conflict, InputError
from closedloop.core.files import written_whole
from closedloop.data.event_log.protocol import START, Position
from closedloop.defence.slots import SLOTS

FORMAT = 1
_REBUILD = "'closedloop defence rebuild' clusters the event log anew."
_SCHEMA = pa.schema(
    [
        pa.field("tenant", pa.string(), nullable=False),
        pa.field("stream", pa.large_binary(), nullable=False),  # defence/cluster_state.py
        pa.field("watch", pa.large_binary(), nullable=False),  # defence/issues/watch_state.py
        pa.field("told.key", pa.list_(pa.int64()), nullable=False),
        pa.field("told.id", pa.list_(pa.string()), nullable=False),
        pa.field("latest", pa.float64(), nullable=False),  # Unix seconds
    ]
)


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedTenant:
    """A tenant's part of a slot."""

    stream: bytes
    watch: bytes
    told: tuple[tuple[int, str], ...]  # `ToldTexts`
    latest: float  # time of its last event, Unix seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A slot as of a position."""

    position: Position = field(default_factory=dict)
    tenants: Mapping[str, SavedTenant] = field(default_factory=dict)


class SlotFiles:
    """The files of all slots of one event log.

    Parameters
    ----------
    folder : Path
        Where they are.
    identity : str
        Of the event log.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        self.folder = folder
        self.identity = identity

    def read(self, slot: int) -> Checkpoint:
        """Return what was written of a slot, an empty one where nothing was.

        Raises
        ------
        Conflict
            The file is of another event log.
        InputError
            The file is none that this release reads.
        """
        found = self._opened(slot, rows=True)
        if found is None:
            return Checkpoint()
        described, rows = found
        return Checkpoint(
            position=_position(described["position"]),
            tenants={row["tenant"]: _tenant(row) for row in rows},
        )

    def write(self, slot: int, checkpoint: Checkpoint) -> None:
        """Write a slot; raises EngineError where the file cannot be written."""
        columns: dict[str, list[Any]] = {name: [] for name in _SCHEMA.names}
        for tenant, saved in checkpoint.tenants.items():
            columns["tenant"].append(tenant)
            columns["stream"].append(saved.stream)
            columns["watch"].append(saved.watch)
            columns["told.key"].append([key for key, _ in saved.told])
            columns["told.id"].append([event_id for _, event_id in saved.told])
            columns["latest"].append(saved.latest)
        described = self._described(
            slot=slot,
            position=_plain(checkpoint.position),
            tenants={name: saved.latest for name, saved in checkpoint.tenants.items()},
        )
        schema = _SCHEMA.with_metadata({"closedloop": json.dumps(described)})
        rows = pa.table(columns, schema=schema)
        with (
            written_whole(self._path(slot), what="state of the clusters") as file,
            pa.OSFile(str(file), "wb") as sink,
            pa.ipc.new_file(sink, schema) as writer,
        ):
            writer.write_table(rows)

    def positions(self) -> dict[int, Position]:
        """Return how far each slot was read; `START` for one that never was.

        Raises
        ------
        Conflict
            A file is of another event log.
        InputError
            A file is none that this release reads.
        """
        found: dict[int, Position] = dict.fromkeys(range(SLOTS), START)
        for path in sorted(self.folder.glob("shard-*.json")):
            try:
                told = json.loads(path.read_text())
                self._check(told, path)
                reached = _position(told["position"])
                slots = [int(slot) for slot in told["slots"]]
            except FileNotFoundError:
                continue
            except (OSError, KeyError, TypeError, ValueError) as error:
                raise InputError(
                    f"The position in {path} cannot be read: {error}.",
                    remedy="Delete it; the slots' own files say where they are.",
                ) from error
            for slot in slots:
                found[slot] = farthest(found[slot], reached)
        for slot in found:
            opened = self._opened(slot, rows=False)
            if opened is not None:
                found[slot] = farthest(found[slot], _position(opened[0]["position"]))
        return found

    def write_position(self, shard: int, slots: Iterable[int], position: Position) -> None:
        """Say how far slots were read whose own files hold all that came up to there."""
        told = self._described(position=_plain(position), slots=sorted(slots))
        path = self.folder / f"shard-{shard}.json"
        with written_whole(path, what="position in the event log") as file:
            file.write_text(json.dumps(told))

    def tenants(self, slot: int) -> dict[str, float]:
        """Return the tenants of a slot's file, and the time of each one's last event.

        Raises as `read`.
        """
        opened = self._opened(slot, rows=False)
        return {} if opened is None else dict(opened[0]["tenants"])

    def sweep(self, slots: Iterable[int]) -> None:
        """Remove what a killed process left half-written of slots."""
        for slot in slots:
            for left in self.folder.glob(f".{self._path(slot).stem}-*"):
                left.unlink(missing_ok=True)

    def remove_all(self) -> None:
        """Forget every slot."""
        for path in (*self.folder.glob("slot-*.arrow"), *self.folder.glob("shard-*.json")):
            path.unlink(missing_ok=True)

    def _opened(
        self, slot: int, *, rows: bool
    ) -> tuple[dict[str, Any], list[dict[str, Any]]] | None:
        path = self._path(slot)
        try:
            with pa.OSFile(str(path)) as source:
                reader = pa.ipc.open_file(source)
                described = json.loads(reader.schema.metadata[b"closedloop"])
                self._check(described, path)
                return described, reader.read_all().to_pylist() if rows else []
        except FileNotFoundError:
            return None
        except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"The state of the clusters in {path} cannot be read: {error}.",
                remedy=f"Forget all clusters: {_REBUILD}",
            ) from error

    def _described(self, **more: Any) -> dict[str, Any]:
        return {"format": FORMAT, "log": self.identity, **more}

    def _check(self, described: dict[str, Any], path: Path) -> None:
        if described["format"] != FORMAT:
            raise ValueError(f"its format is {described['format']}, this release reads {FORMAT}")
        if described["log"] != self.identity:
            raise Conflict(
                f"{path} was made from another event log ({described['log']}) than the one"
                f" that is there now ({self.identity}).",
                remedy=f"Put the former log back, or forget its clusters: {_REBUILD}",
            )

    def _path(self, slot: int) -> Path:
        return self.folder / f"slot-{slot:02}.arrow"


def farthest(one: Position, other: Position) -> Position:
    """Return the farther of two positions in each partition."""
    return {p: max(one.get(p, 0), other.get(p, 0)) for p in {*one, *other}}


def least(positions: Iterable[Position]) -> Position:
    """Return the nearest of positions in each partition; one that some do not name is left out.

    Examples
    --------
    >>> least([{0: 5, 1: 7}, {0: 3}])
    {0: 3}
    """
    every = list(positions)
    shared = set.intersection(*(set(each) for each in every)) if every else set()
    return {p: min(each[p] for each in every) for p in sorted(shared)}


def _tenant(row: dict[str, Any]) -> SavedTenant:
    return SavedTenant(
        stream=row["stream"],
        watch=row["watch"],
        told=tuple(zip(row["told.key"], row["told.id"], strict=True)),
        latest=row["latest"],
    )


def _plain(position: Position) -> dict[str, int]:
    return {str(partition): offset for partition, offset in sorted(position.items())}


def _position(told: dict[str, int]) -> Position:
    return {int(partition): int(offset) for partition, offset in told.items()}

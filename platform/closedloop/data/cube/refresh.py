"""Refreshing a cube: the days whose lake files changed are built again, and nothing else.

Spark does the work: cuboids as SQL aggregations, segments as one task a day. A refresh that is
killed leaves the cube as it was; its files are overwritten by the next one.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from closedloop.core.errors import Conflict, EngineError
from closedloop.data.cube.cuboids import cells, latency_bins
from closedloop.data.cube.declaration import FLAGS, CubeDeclaration, Cuboid, Grain
from closedloop.data.cube.dictionary import USERS, Dictionaries, hash_users
from closedloop.data.cube.frames import scan_interactions
from closedloop.data.cube.manifest import (
    CuboidEntry,
    Manifest,
    SegmentEntry,
    read_manifest,
    write_manifest,
)
from closedloop.data.cube.segment import no_user, write_segment
from closedloop.data.lake import Lake

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

TABLE = "interactions"
_DAY_IN_PATH = re.compile(r"date=(\d{4}-\d{2}-\d{2})")
_SKETCHES_IN_MEMORY = "2048"  # of 64 KiB at most
StepProgress = Callable[[str, int, int], None]  # what, done, total


@dataclass(frozen=True, kw_only=True, slots=True)
class Refreshed:
    """What a refresh did."""

    days: int  # built
    removed: int  # that the lake has no more
    rows: int  # in the built days


def cube_folder(lake_url: str) -> Path:
    """Return where a lake's cube lies: beside the tables.

    Raises
    ------
    EngineError
        The lake is not in a folder.
    """
    if "://" in lake_url:
        raise EngineError(
            f"The lake {lake_url} is in an object store; the cube needs a folder.",
            remedy="Mount the store, and set CLOSEDLOOP_LAKE to the folder.",
        )
    return Path(lake_url) / "_cube"


def refresh(
    lake: Lake,
    declaration: CubeDeclaration | None = None,
    *,
    open_spark: Callable[[], AbstractContextManager[SparkSession]],
    rebuild: bool = False,
    progress: StepProgress = lambda *_: None,
) -> Refreshed:
    """Bring a lake's cube up to date with the table ``interactions``.

    Parameters
    ----------
    declaration : CubeDeclaration, optional
        What the cube holds; as it is, or the default for a new one, where left out. Another one
        than before builds everything again.
    open_spark : callable
        Opens the session; not called where nothing changed.
    rebuild : bool
        Build every day again, changed or not.

    Raises
    ------
    Conflict
        Another refresh of this cube is going on.
    """
    root = cube_folder(lake.url)
    root.mkdir(parents=True, exist_ok=True)
    with _only_one(root):
        version = lake.version(TABLE)
        files = days_of(lake.files(TABLE, version=version)) if version >= 0 else {}
        before = read_manifest(root)
        declaration = declaration or before.declaration
        if rebuild or before.declaration != declaration:
            before = Manifest()
        sources = {day: _hash([declaration.fingerprint, *paths]) for day, paths in files.items()}
        changed = sorted(
            day
            for day, hashed in sources.items()
            if day not in before.segments or before.segments[day].sources != hashed
        )
        removed = set(before.segments) - set(files)
        if not changed and not removed and before.lake_version == version:
            return Refreshed(days=0, removed=0, rows=0)
        segments = {day: entry for day, entry in before.segments.items() if day in files}
        cuboids = before.cuboids
        if changed or removed:
            with open_spark() as session, _staging(root) as staging:
                work = _Work(
                    session=session,
                    root=root,
                    staging=staging,
                    declaration=declaration,
                    files=files,
                    progress=progress,
                )
                segments |= work.segments({day: sources[day] for day in changed}, rebuild=rebuild)
                cuboids = work.cuboids(before.cuboids, {*changed, *removed})
        write_manifest(
            root,
            Manifest(
                declaration=declaration,
                lake_version=version,
                segments=dict(sorted(segments.items())),
                cuboids=cuboids,
            ),
        )
    rows = sum(segments[day].rows for day in changed)
    return Refreshed(days=len(changed), removed=len(removed), rows=rows)


def days_of(files: Sequence[str]) -> dict[str, list[str]]:
    """Return a partitioned table's files by day, in order."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(files):
        match = _DAY_IN_PATH.search(path)
        if match:
            found[match[1]].append(path)
    return dict(sorted(found.items()))


@dataclass(frozen=True, kw_only=True)
class _Work:
    session: SparkSession
    root: Path
    staging: Path
    declaration: CubeDeclaration
    files: dict[str, list[str]]
    progress: StepProgress

    def segments(self, sources: dict[str, str], *, rebuild: bool) -> dict[str, SegmentEntry]:
        """Build the segments of these days."""
        days = [(day, self.files[day]) for day in sources]
        declaration, staging, root = self.declaration, self.staging, self.root
        self.progress("surveying values", 0, len(days))
        self._map(lambda day: survey(day[1], declaration, staging / day[0]), days)
        dictionaries = Dictionaries(root / "dictionaries", declaration)
        dictionaries.take_in(staging / day for day, _ in days)
        suffix = "-r" if rebuild else ""
        folders = {day: f"segments/{day}/{hashed}{suffix}" for day, hashed in sources.items()}
        self.progress("building segments", 0, len(days))
        rows = self._map(
            lambda day: build_segment(
                day[1], declaration, root / "dictionaries", root / folders[day[0]]
            ),
            days,
        )
        return {
            day: SegmentEntry(folder=folders[day], sources=sources[day], rows=count)
            for (day, _), count in zip(days, rows, strict=True)
        }

    def _map(self, do: Callable[[tuple[str, list[str]]], Any], days: list[Any]) -> list[Any]:
        if not days:
            return []
        return self.session.sparkContext.parallelize(days, len(days)).map(do).collect()

    def cuboids(
        self, before: dict[str, dict[str, CuboidEntry]], days: set[str]
    ) -> dict[str, dict[str, CuboidEntry]]:
        """Build the cuboids of the periods that these days lie in."""
        found: dict[str, dict[str, CuboidEntry]] = {}
        months = {day[:7] for day in days}
        total = len(self.declaration.cuboids)
        for place, cuboid in enumerate(self.declaration.cuboids):
            self.progress(f"cuboid {cuboid.name}", place, total)
            daily = cuboid.grain is Grain.DAY
            touched = days if daily else months
            kept = {p: e for p, e in before.get(cuboid.name, {}).items() if p not in touched}
            wanted = [
                path
                for day, paths in self.files.items()
                if (day if daily else day[:7]) in touched
                for path in paths
            ]
            built = self._cuboid(cuboid, wanted) if wanted else {}
            found[cuboid.name] = dict(sorted((kept | built).items()))
        self.progress("cuboids", total, total)
        return found

    def _cuboid(self, cuboid: Cuboid, files: list[str]) -> dict[str, CuboidEntry]:
        # Up to so many groups a task keeps its sketches in memory instead of sorting rows.
        self.session.conf.set(
            "spark.sql.objectHashAggregate.sortBased.fallbackThreshold", _SKETCHES_IN_MEMORY
        )
        interactions = self.session.read.parquet(*files)
        parts = {"cells": cells(interactions, cuboid, self.declaration)}
        if cuboid.sketches:
            parts["latency"] = latency_bins(interactions, cuboid, self.declaration)
        placed = {name: self._write(cuboid, name, frame) for name, frame in parts.items()}
        return {
            period: CuboidEntry(
                cells=path,
                latency=placed.get("latency", {}).get(period, ""),
                rows=pl.scan_parquet(self.root / path).select(pl.len()).collect().item(),
            )
            for period, path in placed["cells"].items()
        }

    def _write(self, cuboid: Cuboid, part: str, frame: DataFrame) -> dict[str, str]:
        """Write one file a period from the executors; returns their places by period."""
        folder = self.staging / f"{cuboid.name}-{part}"
        partitioned = frame.repartition("period").write.partitionBy("period")
        partitioned.option("compression", "zstd").parquet(str(folder))
        placed: dict[str, str] = {}
        for source in folder.glob("period=*"):
            period = source.name.removeprefix("period=")
            (file,) = source.glob("part-*.parquet")
            target = f"cuboids/{cuboid.name}/{period}-{part}-{_hash([file.name])}.parquet"
            (self.root / target).parent.mkdir(parents=True, exist_ok=True)
            file.rename(self.root / target)
            placed[period] = target
        return placed


def survey(files: list[str], declaration: CubeDeclaration, folder: Path) -> None:
    """Write a day's distinct values and users, for the dictionaries."""
    folder.mkdir(parents=True)
    frame = scan_interactions(files, declaration)
    for dimension in declaration.dimensions:
        values = frame.select(pl.col(dimension.name).unique().alias("value")).collect()
        values.write_parquet(folder / f"{dimension.name}.parquet")
    users = frame.select(pl.col("user_id").drop_nulls().unique()).collect()["user_id"]
    np.save(folder / USERS, hash_users(users))


def build_segment(
    files: list[str], declaration: CubeDeclaration, dictionary_folder: Path, folder: Path
) -> int:
    """Write a day's segment; returns its rows."""
    if folder.exists():  # by a refresh that was killed before its manifest
        shutil.rmtree(folder)
    dictionaries = Dictionaries(dictionary_folder, declaration)
    names = [*declaration.celled, *declaration.indexed]
    frame = (
        scan_interactions(files, declaration)
        .select(*names, "user_id", "confidence", *FLAGS)
        .collect()
    )
    codes = {name: dictionaries.of[name].encode(frame[name]) for name in names}
    flags = np.zeros(frame.height, dtype=np.uint8)
    for bit, flag in enumerate(FLAGS):
        flags |= frame[flag].fill_null(False).cast(pl.UInt8).to_numpy() << np.uint8(bit)
    write_segment(
        folder,
        celled={name: codes[name] for name in declaration.celled},
        indexed={name: codes[name] for name in declaration.indexed},
        users=_user_numbers(frame["user_id"], dictionaries),
        flags=flags,
        confidence=frame["confidence"].cast(pl.Float64).fill_null(float("nan")).to_numpy(),
    )
    return frame.height


def _user_numbers(user_ids: pl.Series, dictionaries: Dictionaries) -> npt.NDArray[np.uint32]:
    distinct = user_ids.drop_nulls().unique()
    hashes, numbers = dictionaries.user_numbers()
    known = pl.DataFrame(
        {
            "user_id": distinct,
            "number": numbers[np.searchsorted(hashes, hash_users(distinct))]
            if len(distinct)
            else np.zeros(0, dtype=np.uint32),
        }
    )
    joined = (
        user_ids.alias("user_id")
        .to_frame()
        .join(known, on="user_id", how="left", maintain_order="left")
    )
    return joined["number"].fill_null(int(no_user())).to_numpy().astype(np.uint32)


def _hash(parts: Sequence[str]) -> str:
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=8).hexdigest()


@contextmanager
def _only_one(root: Path) -> Iterator[None]:
    with (root / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Conflict(
                f"The cube {root} is being refreshed already.",
                remedy="Wait until that refresh has ended.",
            ) from error
        yield


@contextmanager
def _staging(root: Path) -> Iterator[Path]:
    folder = root / "staging"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)

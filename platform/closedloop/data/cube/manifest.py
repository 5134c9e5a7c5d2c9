"""The manifest: which files make up a cube. Replacing it is what makes a refresh visible.

Readers open what the manifest names; a refresh writes new files beside the old, replaces the
manifest, and removes files that neither it nor the manifest before it names, so that a reader
between two manifests still finds its own.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path

from closedloop.core.errors import EngineError
from closedloop.data.cube.declaration import DEFAULT, CubeDeclaration, declaration_from

_FILE = "manifest.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentEntry:
    """One day's segment."""

    folder: str  # below the cube
    sources: str  # hash of the lake files it was built from
    rows: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CuboidEntry:
    """One cuboid's cells of one period."""

    cells: str  # file below the cube
    latency: str  # file below the cube; "" for a cuboid without sketches
    rows: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """What a cube is made of."""

    declaration: CubeDeclaration = DEFAULT
    lake_version: int = -1
    segments: dict[str, SegmentEntry] = field(default_factory=dict)  # by day
    cuboids: dict[str, dict[str, CuboidEntry]] = field(default_factory=dict)  # by name, period

    @property
    def files(self) -> set[str]:
        """Every file and folder that the manifest names."""
        return {entry.folder for entry in self.segments.values()} | {
            name
            for periods in self.cuboids.values()
            for entry in periods.values()
            for name in (entry.cells, entry.latency)
            if name
        }


def read_manifest(root: Path) -> Manifest:
    """Return the cube's manifest; an empty one where there is no cube.

    Raises
    ------
    EngineError
        The file is there and cannot be read.
    """
    path = root / _FILE
    try:
        raw = json.loads(path.read_text())
        return Manifest(
            declaration=declaration_from(raw["declaration"]),
            lake_version=raw["lake_version"],
            segments={day: SegmentEntry(**entry) for day, entry in raw["segments"].items()},
            cuboids={
                name: {period: CuboidEntry(**entry) for period, entry in periods.items()}
                for name, periods in raw["cuboids"].items()
            },
        )
    except FileNotFoundError:
        return Manifest()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EngineError(
            f"The cube's manifest {path} cannot be read: {error}",
            remedy="Build the cube anew: closedloop cube refresh --rebuild.",
        ) from error


def write_manifest(root: Path, manifest: Manifest) -> None:
    """Put a manifest in place and remove files that no reader can need."""
    path, aside = root / _FILE, root / f".{_FILE}.{os.getpid()}"
    before = read_manifest(root)
    with aside.open("w") as file:
        json.dump(asdict(manifest), file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)
    _remove_strays(root, kept=manifest.files | before.files)


def stamp(root: Path) -> int:
    """Return a number that changes when the manifest does; 0 without one."""
    try:
        return (root / _FILE).stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _remove_strays(root: Path, *, kept: set[str]) -> None:
    for found in [*root.glob("segments/*/*"), *root.glob("cuboids/*/*")]:
        if str(found.relative_to(root)) not in kept:
            if found.is_dir():
                shutil.rmtree(found, ignore_errors=True)
            else:
                found.unlink(missing_ok=True)

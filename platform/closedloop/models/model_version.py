"""What the registry remembers: versions of models, and where their aliases point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from closedloop.models.reference import ModelRef


@dataclass(frozen=True, slots=True)
class LeanFile:
    """A model's lean form on disk, and the hash that serving checks."""

    path: Path
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelVersion:
    """One version of a model as the registry remembers it."""

    ref: ModelRef
    version: int
    path: str  # the model file
    sha256: str
    created_at: float  # Unix seconds
    lean: LeanFile | None = None  # what serving maps
    run_id: str | None = None  # MLflow run that trained it
    metrics: Mapping[str, float] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def served(self) -> Champion:
        """What serving needs to know of it."""
        lean = self.lean
        return Champion(
            ref=self.ref,
            version=self.version,
            path=str(lean.path) if lean else self.path,
            sha256=lean.sha256 if lean else self.sha256,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Champion:
    """What serving needs to know of a champion: the file it maps, or the model's own."""

    ref: ModelRef
    version: int
    path: str
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSummary:
    """A model and where its aliases point."""

    ref: ModelRef
    latest: int
    champion: int | None = None
    challenger: int | None = None

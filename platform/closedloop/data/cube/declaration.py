"""What a cube holds: its dimensions, and which of their combinations are precomputed.

A *dimension* with few values takes part in cuboids; one with thousands of values is *indexed*
instead, by an inverted index of Roaring bitmaps. A *cuboid* is a precomputed group-by with one
row a combination of its dimensions and period; its grain says how long the period is.

Reference: Gray et al. (1997), "Data cube: a relational aggregation operator", DMKD 1.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from closedloop.core.errors import InputError
from closedloop.data.interaction import SCHEMA

ATTRIBUTE = "attributes."
TIME = ("month", "day", "hour")  # of ts, in UTC; always there
FLAGS = ("bad", "rephrased", "handover", "abandoned", "low_confidence")


class Grain(StrEnum):
    """The period of a cuboid's rows."""

    DAY = "day"
    MONTH = "month"


@dataclass(frozen=True, kw_only=True, slots=True)
class Dimension:
    """Something to filter and group by."""

    name: str
    source: str = ""  # a column of an interaction, or attributes.KEY; the name where empty
    indexed: bool = False  # thousands of values: an inverted index, no cuboids by default

    @property
    def column(self) -> str:
        """The column, or attributes.KEY, that the values come from."""
        return self.source or self.name


@dataclass(frozen=True, kw_only=True, slots=True)
class Cuboid:
    """A precomputed group-by."""

    dimensions: tuple[str, ...]
    grain: Grain = Grain.DAY
    sketches: bool = True  # distinct users and latency; without, additive measures only

    @property
    def name(self) -> str:
        """Name of its files: the grain and the dimensions."""
        return f"{self.grain}-{'-'.join(self.dimensions) or 'all'}"


@dataclass(frozen=True, kw_only=True, slots=True)
class CubeDeclaration:
    """Dimensions and cuboids of one cube."""

    dimensions: tuple[Dimension, ...]
    cuboids: tuple[Cuboid, ...]

    def __post_init__(self) -> None:
        names = [dimension.name for dimension in self.dimensions]
        if twice := {name for name in names if names.count(name) > 1 or name in TIME}:
            raise InputError(
                f"The cube declares the dimension {min(twice)!r} more than once.",
                remedy="month, day and hour are always there; give every other name once.",
            )
        for dimension in self.dimensions:
            if dimension.column not in SCHEMA.names and not dimension.column.startswith(ATTRIBUTE):
                raise InputError(
                    f"The dimension {dimension.name!r} comes from {dimension.column!r}, which an "
                    "interaction does not have.",
                    remedy=f"Use one of {', '.join(SCHEMA.names)}, or attributes.KEY.",
                )
        for cuboid in self.cuboids:
            if unknown := set(cuboid.dimensions) - set(names) - {"hour"}:
                raise InputError(
                    f"The cuboid {cuboid.name} uses {min(unknown)!r}, which is no dimension.",
                    remedy=f"Dimensions are {', '.join(names)} and hour.",
                )

    @property
    def celled(self) -> tuple[str, ...]:
        """Dimensions with few values, which order a segment's rows; hour among them."""
        return (*(d.name for d in self.dimensions if not d.indexed), "hour")

    @property
    def indexed(self) -> tuple[str, ...]:
        """Dimensions with thousands of values."""
        return tuple(d.name for d in self.dimensions if d.indexed)

    @property
    def names(self) -> tuple[str, ...]:
        """Every dimension, those of time first."""
        return (*TIME, *(d.name for d in self.dimensions))

    def source(self, name: str) -> str:
        """Return the column, or attributes.KEY, of a dimension that is not one of time."""
        return next(d.column for d in self.dimensions if d.name == name)

    @property
    def fingerprint(self) -> str:
        """A hash that changes when the cube must be built anew."""
        return hashlib.blake2b(
            json.dumps(asdict(self), sort_keys=True).encode(), digest_size=8
        ).hexdigest()


DEFAULT = CubeDeclaration(
    dimensions=(
        Dimension(name="tenant"),
        Dimension(name="channel"),
        Dimension(name="language"),
        Dimension(name="model"),
        Dimension(name="version", source="model_version"),
        Dimension(name="intent"),
        Dimension(name="feedback"),
        Dimension(name="merchant", indexed=True),
        Dimension(name="product", indexed=True),
        Dimension(name="region", indexed=True),
    ),
    cuboids=(
        Cuboid(dimensions=("tenant", "channel")),
        Cuboid(dimensions=("tenant", "model", "version")),
        Cuboid(dimensions=("tenant", "channel", "language"), grain=Grain.MONTH),
        Cuboid(dimensions=("tenant", "model", "version"), grain=Grain.MONTH),
        Cuboid(dimensions=("tenant", "intent"), grain=Grain.MONTH),
        Cuboid(dimensions=("tenant", "merchant"), grain=Grain.MONTH, sketches=False),
        Cuboid(dimensions=("tenant", "product"), grain=Grain.MONTH, sketches=False),
        Cuboid(dimensions=("tenant", "region"), grain=Grain.MONTH, sketches=False),
    ),
)


def declaration_from(values: object) -> CubeDeclaration:
    """Return the declaration that plain values (of YAML or JSON) spell out."""
    from pydantic import TypeAdapter

    return TypeAdapter(CubeDeclaration).validate_python(values)


def read_declaration(path: Path) -> CubeDeclaration:
    """Read a declaration from a YAML file.

    Raises
    ------
    InputError
        The file is not a declaration; the message names the place.
    """
    import yaml
    from pydantic import ValidationError

    try:
        return declaration_from(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeError, yaml.YAMLError, ValidationError) as error:
        raise InputError(
            f"{path} is not a cube declaration: {error}",
            remedy="Give 'dimensions' (name, source, indexed) and 'cuboids' (dimensions, grain, "
            "sketches).",
        ) from error

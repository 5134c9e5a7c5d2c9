"""A filter while somebody builds it: groups and conditions that may still be incomplete.

What is incomplete (a condition without a value, a group without a condition) selects nothing
out: it is left out of the filter until it is complete. Every part has a number that stays with
it, so that the page's widgets follow their part when others come and go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

import pyarrow as pa

from closedloop.data.cube.declaration import ATTRIBUTE, FLAGS, TIME, CubeDeclaration
from closedloop.data.interaction import SCHEMA

MAX_DEPTH = 5
_HIDDEN = ("ts", "attributes")  # day and hour, and the declared dimensions, stand for them


class Kind(StrEnum):
    """What a field's values are."""

    TEXT = "text"
    NUMBER = "number"
    FLAG = "flag"
    DAY = "day"


class Op(StrEnum):
    """What a condition asks of its field."""

    IS = "is"
    IS_NOT = "is not"
    FROM_TO = "from – to"
    STARTS = "starts with"
    NOT_STARTS = "does not start with"
    CONTAINS = "contains"
    NOT_CONTAINS = "does not contain"
    EMPTY = "is empty"
    NOT_EMPTY = "has a value"


OPS: Mapping[Kind, tuple[Op, ...]] = {
    Kind.TEXT: (
        *(Op.IS, Op.IS_NOT, Op.STARTS, Op.NOT_STARTS, Op.CONTAINS, Op.NOT_CONTAINS),
        *(Op.EMPTY, Op.NOT_EMPTY),
    ),
    Kind.NUMBER: (Op.FROM_TO, Op.IS, Op.IS_NOT, Op.EMPTY, Op.NOT_EMPTY),
    Kind.FLAG: (Op.IS,),
    Kind.DAY: (Op.FROM_TO, Op.IS, Op.IS_NOT),
}
YES, NO = "yes", "no"  # the values of a flag


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """One condition, with its values as they are typed; ``from – to`` has two."""

    key: int
    field: str
    op: Op = Op.IS
    values: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Conditions and groups of which all must hold, or any; or not, where negated."""

    key: int
    any_of: bool = False
    negated: bool = False
    parts: tuple[Condition | Group, ...] = ()


Part = Condition | Group


def kinds(declaration: CubeDeclaration) -> dict[str, Kind]:
    """Return the fields to filter by, dimensions first, with what their values are."""
    found: dict[str, Kind] = {}
    for name in declaration.names:
        if name in TIME:
            found[name] = Kind.NUMBER if name == "hour" else Kind.DAY
        else:
            found[name] = _kind(declaration.source(name))
    found |= dict.fromkeys(FLAGS, Kind.FLAG)
    for name in SCHEMA.names:
        if name not in found and name not in _HIDDEN:
            found[name] = _kind(name)
    return found


def new_key(root: Group) -> int:
    """Return a number that no part of the tree has."""
    return max(part.key for part, _ in walk(root)) + 1


def walk(part: Part, depth: int = 0) -> Iterator[tuple[Part, int]]:
    """Yield every part with its depth; the root's is 0."""
    yield part, depth
    if isinstance(part, Group):
        for inner in part.parts:
            yield from walk(inner, depth + 1)


def added(root: Group, into: int, part: Part) -> Group:
    """Return the tree with a part at the end of the group ``into``."""
    return _changed(root, into, lambda found: _with(found, part))


def removed(root: Group, key: int) -> Group:
    """Return the tree without a part; the root itself only loses its parts."""
    if key == root.key:
        return replace(root, parts=(), negated=False)
    return _without(root, key)


def put(root: Group, part: Part) -> Group:
    """Return the tree with the part of that key replaced."""
    return _changed(root, part.key, lambda _: part)


def find(root: Group, key: int) -> Part | None:
    """Return the part with a key."""
    return next((part for part, _ in walk(root) if part.key == key), None)


def _kind(column: str) -> Kind:
    if column.startswith(ATTRIBUTE):
        return Kind.TEXT
    of = SCHEMA.field(column).type
    if pa.types.is_boolean(of):
        return Kind.FLAG
    return Kind.NUMBER if pa.types.is_integer(of) or pa.types.is_floating(of) else Kind.TEXT


def _with(group: Part, part: Part) -> Part:
    return replace(group, parts=(*group.parts, part)) if isinstance(group, Group) else group


def _without(group: Group, key: int) -> Group:
    left = (part for part in group.parts if part.key != key)
    return replace(
        group, parts=tuple(_without(p, key) if isinstance(p, Group) else p for p in left)
    )


def _changed(group: Group, key: int, change: Callable[[Part], Part]) -> Group:
    changed = _change(group, key, change)
    assert isinstance(changed, Group)
    return changed


def _change(part: Part, key: int, change: Callable[[Part], Part]) -> Part:
    if part.key == key:
        return change(part)
    if isinstance(part, Group):
        return replace(part, parts=tuple(_change(inner, key, change) for inner in part.parts))
    return part

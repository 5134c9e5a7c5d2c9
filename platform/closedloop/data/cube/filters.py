"""The typed filter tree: AND, OR and NOT of any depth over conditions on dimensions.

A condition is true or false, never unknown: a null fails every condition but ``IsNull``, and
``Not`` turns that round. (SQL's ``NOT (x = 1)`` leaves nulls out; here it keeps them. The SQL
subset of :mod:`closedloop.data.cube.sql` is translated with that in mind.)

Examples
--------
>>> tree = Or(any_of=(In(field="merchant", values=("m1",)), Prefix(field="product", prefix="A")))
>>> sorted(tree.fields())
['merchant', 'product']
>>> from_json(to_json(tree)) == tree
True
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from closedloop.core.errors import InputError

if TYPE_CHECKING:
    import polars as pl

Value = str | int | float | bool


@dataclass(frozen=True, kw_only=True, slots=True)
class In:
    """The field has one of the values."""

    field: str
    values: tuple[Value, ...]

    def fields(self) -> frozenset[str]:
        """Return the fields that the tree looks at."""
        return frozenset((self.field,))


@dataclass(frozen=True, kw_only=True, slots=True)
class Range:
    """``low <= field <= high``; a bound that is None is open."""

    field: str
    low: Value | None = None
    high: Value | None = None

    def fields(self) -> frozenset[str]:
        """Return the fields that the tree looks at."""
        return frozenset((self.field,))


@dataclass(frozen=True, kw_only=True, slots=True)
class Prefix:
    """The field's text starts with ``prefix``, case as written."""

    field: str
    prefix: str

    def fields(self) -> frozenset[str]:
        """Return the fields that the tree looks at."""
        return frozenset((self.field,))


@dataclass(frozen=True, kw_only=True, slots=True)
class Contains:
    """The field's text contains ``part``, whatever its case; only a scan can answer it."""

    field: str
    part: str

    def fields(self) -> frozenset[str]:
        """Return the fields that the tree looks at."""
        return frozenset((self.field,))


@dataclass(frozen=True, kw_only=True, slots=True)
class IsNull:
    """The field has no value."""

    field: str

    def fields(self) -> frozenset[str]:
        """Return the fields that the tree looks at."""
        return frozenset((self.field,))


@dataclass(frozen=True, kw_only=True, slots=True)
class And:
    """Every part holds; true without parts."""

    all_of: tuple[Filter, ...] = ()

    def fields(self) -> frozenset[str]:
        """Return the fields that the tree looks at."""
        return frozenset().union(*(part.fields() for part in self.all_of))


@dataclass(frozen=True, kw_only=True, slots=True)
class Or:
    """At least one part holds; false without parts."""

    any_of: tuple[Filter, ...] = ()

    def fields(self) -> frozenset[str]:
        """Return the fields that the tree looks at."""
        return frozenset().union(*(part.fields() for part in self.any_of))


@dataclass(frozen=True, kw_only=True, slots=True)
class Not:
    """The part does not hold."""

    part: Filter

    def fields(self) -> frozenset[str]:
        """Return the fields that the tree looks at."""
        return self.part.fields()


Condition = In | Range | Prefix | Contains | IsNull
Filter = Condition | And | Or | Not

EVERYTHING = And()
_CONDITIONS: dict[str, type[Condition]] = {
    "in": In,
    "range": Range,
    "prefix": Prefix,
    "contains": Contains,
    "null": IsNull,
}
_MAX_DEPTH = 100


def conjuncts(tree: Filter) -> list[Filter]:
    """Return the parts that must all hold, with nested ANDs flattened."""
    if isinstance(tree, And):
        return [found for part in tree.all_of for found in conjuncts(part)]
    return [tree]


def without_nots(tree: Filter) -> Filter:
    """Return the same tree with every ``Not`` moved down to a condition (De Morgan's laws)."""
    match tree:
        case And(all_of=parts):
            return And(all_of=tuple(map(without_nots, parts)))
        case Or(any_of=parts):
            return Or(any_of=tuple(map(without_nots, parts)))
        case Not(part=And(all_of=parts)):
            return Or(any_of=tuple(without_nots(Not(part=part)) for part in parts))
        case Not(part=Or(any_of=parts)):
            return And(all_of=tuple(without_nots(Not(part=part)) for part in parts))
        case Not(part=Not(part=part)):
            return without_nots(part)
    return tree


def to_expression(tree: Filter) -> pl.Expr:
    """Return the tree as a Polars expression that is never null."""
    import polars as pl

    match tree:
        case And(all_of=parts):
            return pl.all_horizontal(pl.lit(True), *map(to_expression, parts))
        case Or(any_of=parts):
            return pl.any_horizontal(pl.lit(False), *map(to_expression, parts))
        case Not(part=part):
            return ~to_expression(part)
        case IsNull(field=field):
            return pl.col(field).is_null()
        case In(field=field, values=values):
            return pl.col(field).is_in(list(values)).fill_null(False)
        case Prefix(field=field, prefix=prefix):
            return pl.col(field).cast(pl.String).str.starts_with(prefix).fill_null(False)
        case Contains(field=field, part=text):
            lowered = pl.col(field).cast(pl.String).str.to_lowercase()
            return lowered.str.contains(text.lower(), literal=True).fill_null(False)
        case Range(field=field, low=low, high=high):
            expression = pl.col(field).is_not_null()
            if low is not None:
                expression &= pl.col(field) >= low
            if high is not None:
                expression &= pl.col(field) <= high
            return expression.fill_null(False)


def to_json(tree: Filter) -> dict[str, Any]:
    """Return the tree as JSON values, for a saved slice."""
    match tree:
        case And(all_of=parts):
            return {"and": [to_json(part) for part in parts]}
        case Or(any_of=parts):
            return {"or": [to_json(part) for part in parts]}
        case Not(part=part):
            return {"not": to_json(part)}
        case In(field=field, values=values):
            return {"in": {"field": field, "values": list(values)}}
        case Range(field=field, low=low, high=high):
            return {"range": {"field": field, "low": low, "high": high}}
        case Prefix(field=field, prefix=prefix):
            return {"prefix": {"field": field, "prefix": prefix}}
        case Contains(field=field, part=text):
            return {"contains": {"field": field, "part": text}}
        case IsNull(field=field):
            return {"null": {"field": field}}


def from_json(value: Any, *, depth: int = 0) -> Filter:
    """Rebuild a tree from :func:`to_json`.

    Raises
    ------
    InputError
        It is not such a value, or nested deeper than 100 levels.
    """
    if not isinstance(value, dict) or len(value) != 1 or depth > _MAX_DEPTH:
        raise _malformed(value)
    ((name, body),) = value.items()
    match name, body:
        case "and", list():
            return And(all_of=tuple(from_json(part, depth=depth + 1) for part in body))
        case "or", list():
            return Or(any_of=tuple(from_json(part, depth=depth + 1) for part in body))
        case "not", dict():
            return Not(part=from_json(body, depth=depth + 1))
        case _, {"field": str()} if name in _CONDITIONS:
            try:
                fixed = {k: tuple(v) if isinstance(v, list) else v for k, v in body.items()}
                build: Callable[..., Condition] = _CONDITIONS[name]
                return build(**fixed)
            except TypeError as error:
                raise _malformed(value) from error
        case _:
            raise _malformed(value)


def _malformed(value: Any) -> InputError:
    shown = repr(value)
    return InputError(
        f"This is not a filter: {shown[:200]}{'…' if len(shown) > 200 else ''}",
        remedy='Write {"and": […]}, {"or": […]}, {"not": …} or {"in": {"field": …, "values": […]}};'
        f" conditions are {', '.join(_CONDITIONS)}.",
    )

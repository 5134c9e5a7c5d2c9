"""Which source answers a query: the cheapest that answers exactly what was asked.

In order of cost: a cuboid that covers the query (the one with the fewest cells), the segments,
a scan of the lake. Each one passed over leaves its reason in the plan.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import polars as pl

from closedloop.core.errors import InputError
from closedloop.data.cube import index_answer
from closedloop.data.cube.declaration import FLAGS, CubeDeclaration, Cuboid, Grain
from closedloop.data.cube.dictionary import value_type
from closedloop.data.cube.filters import (
    And,
    Contains,
    Filter,
    In,
    IsNull,
    Not,
    Or,
    Prefix,
    Range,
    Value,
    conjuncts,
    to_expression,
)
from closedloop.data.cube.manifest import Manifest
from closedloop.data.cube.query import Plan, Query, Source
from closedloop.data.interaction import SCHEMA

_PERIODS = {"day", "month"}
_SKETCHED = ("users", "latency")


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """A plan with what its source needs to answer."""

    plan: Plan
    query: Query  # its filter bound to the cube's types
    days: tuple[str, ...]  # that can hold a selected row
    periods: tuple[str, ...] = ()  # of the cuboid


def plan(
    query: Query, declaration: CubeDeclaration, manifest: Manifest, *, days: Iterable[str]
) -> Planned:
    """Choose the source of a query's answer.

    Parameters
    ----------
    days : iterable of str
        The days that have any interaction.

    Raises
    ------
    InputError
        The query names a field that an interaction does not have, or a value of another type.
    """
    query = replace(
        query,
        where=_bound(query.where, declaration),
        by=tuple(_known(name, declaration) for name in query.by),
    )
    wanted = _on_days(query.where, days)
    reasons: list[str] = []
    best: tuple[int, Cuboid, tuple[str, ...]] | None = None
    for cuboid in declaration.cuboids:
        periods, why_not = _covered(query, cuboid, manifest, wanted=wanted, days=days)
        if why_not:
            reasons.append(f"not {cuboid.name}: {why_not}")
            continue
        entries = manifest.cuboids[cuboid.name]
        cost = sum(entries[period].rows for period in periods)
        if best is None or cost < best[0]:
            best = (cost, cuboid, periods)
    if best:
        cost, cuboid, periods = best
        chosen = Plan(
            source=Source.CUBOID,
            cuboid=cuboid.name,
            exact=not any(measure.startswith(_SKETCHED) for measure in query.measures),
            reasons=(f"covers the query with {cost:,} cells, the fewest",),
            days=len(wanted),
        )
        return Planned(plan=chosen, query=query, days=wanted, periods=periods)
    if why_not := index_answer.answers(query, declaration):
        reasons.append(f"not the segments: {why_not}")
        source = Source.SCAN
    else:
        source = Source.INDEX
    chosen = Plan(source=source, reasons=tuple(reasons), days=len(wanted))
    return Planned(plan=chosen, query=query, days=wanted)


def _covered(
    query: Query,
    cuboid: Cuboid,
    manifest: Manifest,
    *,
    wanted: tuple[str, ...],
    days: Iterable[str],
) -> tuple[tuple[str, ...], str]:
    """Return the cuboid's periods that answer the query, or why it cannot."""
    entries = manifest.cuboids.get(cuboid.name)
    if entries is None:
        return (), "it is not built yet"
    fields = query.where.fields()
    if lacking := (set(query.by) | fields) - _PERIODS - set(cuboid.dimensions):
        return (), f"it lacks {', '.join(sorted(lacking))}"
    if sketched := [m for m in query.measures if m.startswith(_SKETCHED)]:
        if not cuboid.sketches:
            return (), "it has no sketches"
        if query.exact:
            return (), f"{sketched[0]} would come from a sketch, and an exact answer was asked for"
    if cuboid.grain is Grain.DAY:
        return tuple(day for day in wanted if day in entries), ""
    if "day" in query.by:
        return (), "its rows are months"
    for part in conjuncts(query.where):
        if "day" in part.fields() and not part.fields() <= _PERIODS:
            return (), "its rows are months, and a condition mixes days with other fields"
    months = {day[:7] for day in wanted}
    if cut := {day for day in days if day[:7] in months} - set(wanted):
        return (), f"its rows are months, and {min(cut)} is outside"
    return tuple(sorted(months & set(entries))), ""


def _on_days(where: Filter, days: Iterable[str]) -> tuple[str, ...]:
    """Return the days on which the conditions on days and months alone can hold."""
    parts = [part for part in conjuncts(where) if part.fields() and part.fields() <= _PERIODS]
    frame = pl.DataFrame({"day": list(days)}, schema={"day": pl.String}).with_columns(
        pl.col("day").str.slice(0, 7).alias("month")
    )
    return tuple(frame.filter(to_expression(And(all_of=tuple(parts))))["day"].sort())


def fields(declaration: CubeDeclaration) -> tuple[str, ...]:
    """Return every field that a filter may name; of the time, its month, day and hour."""
    columns = (name for name in SCHEMA.names if name not in ("ts", "attributes"))
    return tuple(dict.fromkeys((*declaration.names, *columns)))


def _known(name: str, declaration: CubeDeclaration) -> str:
    known = fields(declaration)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        hint = f"Did you mean {' or '.join(near)}? " if near else ""
        raise InputError(
            f"There is no field {name!r}.", remedy=f"{hint}Fields are {', '.join(known)}."
        )
    return name


def _bound(tree: Filter, declaration: CubeDeclaration) -> Filter:
    """Return the tree with its values in the types of their fields."""
    match tree:
        case And(all_of=parts):
            return And(all_of=tuple(_bound(part, declaration) for part in parts))
        case Or(any_of=parts):
            return Or(any_of=tuple(_bound(part, declaration) for part in parts))
        case Not(part=part):
            return Not(part=_bound(part, declaration))
        case IsNull(field=field) | Prefix(field=field) | Contains(field=field):
            _known(field, declaration)
            return tree
        case In(field=field, values=values):
            _known(field, declaration)
            return In(field=field, values=_typed(field, values, declaration))
        case Range(field=field, low=low, high=high):
            _known(field, declaration)
            bounds = [
                None if bound is None else _typed(field, (bound,), declaration)[0]
                for bound in (low, high)
            ]
            return Range(field=field, low=bounds[0], high=bounds[1])


def _typed(field: str, values: Sequence[Value], declaration: CubeDeclaration) -> tuple[Value, ...]:
    kind = _type(field, declaration)
    try:
        return tuple(_cast(value, kind) for value in values)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"The field {field!r} is a {kind.__name__}, and {list(values)!r:.200} is not.",
            remedy="Give values of that type.",
        ) from error


def _cast(value: Value, kind: type) -> Value:
    if kind is bool:
        if isinstance(value, str):
            return {"true": True, "false": False}[value.lower()] if value else False
        return bool(value)
    if kind is int and isinstance(value, float) and not value.is_integer():
        raise ValueError(value)
    if kind is str and isinstance(value, bool):
        raise ValueError(value)
    return kind(value)


def _type(field: str, declaration: CubeDeclaration) -> type:
    import pyarrow as pa

    if field == "hour":
        return int
    if field in _PERIODS:
        return str
    if field in declaration.names:
        is_text = value_type(declaration.source(field)) == pl.String()
        return str if is_text else int
    if field in FLAGS:
        return bool
    kind = SCHEMA.field(field).type
    if pa.types.is_floating(kind):
        return float
    return int if pa.types.is_integer(kind) else str

"""A small subset of SQL for people who think in it: one SELECT over ``interactions``.

    SELECT intent, count(*), count(DISTINCT user_id), bad_rate
    FROM interactions
    WHERE day BETWEEN '2026-10-01' AND '2026-10-31'
      AND (merchant IN ('m1', 'm2') OR product LIKE 'A%')
    GROUP BY intent ORDER BY bad_rate DESC LIMIT 10

Besides the measures' own names it knows ``count(*)``, ``count(DISTINCT user_id)``,
``approx_count_distinct(user_id)`` (which allows sketches), ``avg(confidence)``, ``sum(FLAG)``,
``avg(FLAG)`` and ``quantile(latency_ms, 0.95)``. A null fails every comparison, and ``NOT`` of a
comparison leaves nulls out, as SQL has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from closedloop.core.errors import InputError
from closedloop.data.cube.declaration import FLAGS
from closedloop.data.cube.filters import (
    EVERYTHING,
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
)
from closedloop.data.cube.query import MEASURES, QUANTILES, Query

if TYPE_CHECKING:
    from sqlglot.expressions import Expression

_EXAMPLE = "SELECT intent, turns, bad_rate FROM interactions GROUP BY intent ORDER BY turns DESC"


def parse(text: str) -> Query:
    """Return the query that a SELECT stands for.

    Raises
    ------
    InputError
        It is not in the subset; the message names the part.

    Examples
    --------
    >>> parse("SELECT intent, count(*) FROM interactions GROUP BY intent").by
    ('intent',)
    """
    from sqlglot import exp, parse_one
    from sqlglot.errors import SqlglotError

    try:
        tree = parse_one(text, read="duckdb")
    except (SqlglotError, RecursionError) as error:
        raise _refused(f"it cannot be read: {str(error).splitlines()[0]}") from error
    if not isinstance(tree, exp.Select):
        raise _refused(f"it is not a SELECT but {type(tree).__name__.upper()}")
    for part in ("joins", "having", "distinct", "with_", "with", "windows", "qualify", "offset"):
        if tree.args.get(part):
            raise _refused(f"{part.rstrip('_').upper()} is not in the subset")
    table = tree.find(exp.Table)
    if table is not None and table.name != "interactions":
        raise _refused(f"there is no table {table.name!r}, only interactions")
    group = tree.args.get("group")
    by = tuple(_column(item) for item in (group.expressions if group else ()))
    names: dict[str, str] = {}  # what a column was called → its measure
    measures: list[str] = []
    sketches = False
    for item in tree.expressions:
        inner = item.this if isinstance(item, exp.Alias) else item
        if isinstance(inner, exp.Column) and inner.name in by:
            continue
        measure, approximate = _measure(inner)
        sketches |= approximate
        measures.append(measure)
        names[item.alias_or_name] = measure
        names[inner.sql()] = measure
    where = tree.args.get("where")
    order_by = _order(tree.args.get("order"), names, by)
    key = order_by.removeprefix("-")
    if key and key not in by and key not in measures:
        measures.append(key)
    limit = tree.args.get("limit")
    return Query(
        by=by,
        measures=tuple(dict.fromkeys(measures)) or ("turns",),
        where=_condition(where.this) if where else EVERYTHING,
        order_by=order_by,
        limit=int(_literal(limit.expression)) if limit else None,
        exact=not sketches,
    )


def _measure(item: Expression) -> tuple[str, bool]:
    """Return the measure, and whether a sketch may give it."""
    from sqlglot import exp

    match item:
        case exp.Column() if item.name in MEASURES:
            return item.name, False
        case exp.Count():
            inner = item.this
            if isinstance(inner, exp.Star):
                return "turns", False
            if isinstance(inner, exp.Distinct) and _column(inner.expressions[0]) == "user_id":
                return "users", False
        case exp.ApproxDistinct() if _column(item.this) == "user_id":
            return "users", True
        case exp.Avg() | exp.Sum():
            name = _column(item.this)
            if name in FLAGS:
                return (name if isinstance(item, exp.Sum) else f"{name}_rate"), False
            if name == "confidence" and isinstance(item, exp.Avg):
                return "confidence", False
        case exp.Quantile() | exp.ApproxQuantile() | exp.PercentileDisc():
            q = float(_literal(item.args["quantile"]))
            found = [name for name, known in QUANTILES.items() if known == q]
            if found and _column(item.this) == "latency_ms":
                return found[0], isinstance(item, exp.ApproxQuantile)
    raise _refused(
        f"{item.sql()} is neither a group nor a measure (measures: {', '.join(MEASURES)})"
    )


def _condition(item: Expression) -> Filter:
    from sqlglot import exp

    match item:
        case exp.Paren():
            return _condition(item.this)
        case exp.And():
            return And(all_of=(_condition(item.this), _condition(item.expression)))
        case exp.Or():
            return Or(any_of=(_condition(item.this), _condition(item.expression)))
        case exp.Not():
            return _negated(item.this)
        case exp.Column():
            return In(field=item.name, values=(True,))
        case exp.Boolean():
            return EVERYTHING if item.this else Or()
        case exp.EQ():
            return In(field=_column(item.this), values=(_literal(item.expression),))
        case exp.NEQ():
            field = _column(item.this)
            same = In(field=field, values=(_literal(item.expression),))
            return And(all_of=(Not(part=same), Not(part=IsNull(field=field))))
        case exp.In():
            if not item.expressions:
                raise _refused(f"{item.sql()}: a subquery is not in the subset")
            return In(field=_column(item.this), values=tuple(map(_literal, item.expressions)))
        case exp.Between():
            low, high = _literal(item.args["low"]), _literal(item.args["high"])
            return Range(field=_column(item.this), low=low, high=high)
        case exp.GTE():
            return Range(field=_column(item.this), low=_literal(item.expression))
        case exp.LTE():
            return Range(field=_column(item.this), high=_literal(item.expression))
        case exp.GT():
            return _strictly(Range(field=_column(item.this), low=_literal(item.expression)))
        case exp.LT():
            return _strictly(Range(field=_column(item.this), high=_literal(item.expression)))
        case exp.Is() if isinstance(item.expression, exp.Null):
            return IsNull(field=_column(item.this))
        case exp.StartsWith():
            return Prefix(field=_column(item.this), prefix=str(_literal(item.expression)))
        case exp.Like() | exp.ILike():
            return _like(item)
    raise _refused(f"the condition {item.sql()} is not in the subset")


def _negated(item: Expression) -> Filter:
    """Return NOT of a condition with SQL's nulls: a comparison with null stays untrue."""
    from sqlglot import exp

    match item:
        case exp.Paren():
            return _negated(item.this)
        case exp.And():
            return Or(any_of=(_negated(item.this), _negated(item.expression)))
        case exp.Or():
            return And(all_of=(_negated(item.this), _negated(item.expression)))
        case exp.Not():
            return _condition(item.this)
        case exp.NEQ():
            return In(field=_column(item.this), values=(_literal(item.expression),))
    inner = _condition(item)
    if isinstance(inner, IsNull):
        return Not(part=inner)
    present = tuple(Not(part=IsNull(field=field)) for field in sorted(inner.fields()))
    return And(all_of=(Not(part=inner), *present))


def _strictly(bound: Range) -> Filter:
    value = bound.low if bound.low is not None else bound.high
    assert value is not None
    return And(all_of=(bound, Not(part=In(field=bound.field, values=(value,)))))


def _like(item: Any) -> Filter:
    field, pattern = _column(item.this), str(_literal(item.expression))
    body = pattern.strip("%")
    if "%" in body or "_" in body:
        raise _refused(f"{item.sql()}: only 'text%' and '%text%' are in the subset")
    if pattern.startswith("%") and pattern.endswith("%"):
        return Contains(field=field, part=body)
    if pattern.endswith("%") and type(item).__name__ == "Like":
        return Prefix(field=field, prefix=body)
    raise _refused(f"{item.sql()}: only LIKE 'text%' and ILIKE '%text%' are in the subset")


def _order(order: Any, names: dict[str, str], by: tuple[str, ...]) -> str:
    if order is None:
        return ""
    if len(order.expressions) > 1:
        raise _refused("only one ORDER BY key is in the subset")
    (key,) = order.expressions
    text = key.this.name if key.this.name else key.this.sql()
    name = names.get(text) or names.get(key.this.sql()) or text
    if name not in by and name not in MEASURES:
        raise _refused(f"ORDER BY {key.this.sql()} is neither a group nor a measure")
    return f"-{name}" if key.args.get("desc") else name


def _column(item: Any) -> str:
    from sqlglot import exp

    if not isinstance(item, exp.Column):
        raise _refused(f"{item.sql()} stands where a field's name should")
    return str(item.name)


def _literal(item: Any) -> Value:
    from sqlglot import exp

    match item:
        case exp.Boolean():
            return bool(item.this)
        case exp.Literal() if item.is_string:
            return str(item.this)
        case exp.Literal():
            text = str(item.this)
            return float(text) if any(c in text for c in ".eE") else int(text)
        case exp.Neg() if isinstance(item.this, exp.Literal) and not item.this.is_string:
            return -_literal(item.this)  # type: ignore[operator]  # a number, as checked
    raise _refused(f"{item.sql()} stands where a value should")


def _refused(why: str) -> InputError:
    return InputError(f"The query is not understood: {why}.", remedy=f"For example: {_EXAMPLE}")

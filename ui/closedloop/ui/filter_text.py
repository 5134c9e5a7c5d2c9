"""A filter as people read and write it: in plain words, and as the condition of a SELECT.

SQL's ``NOT`` leaves nulls out and the filter's keeps them, so `in_sql` adds ``OR … IS NULL``
where they differ: what it writes selects the same rows when `from_sql` reads it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from closedloop.core.errors import InputError
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

_PLAIN_NAME = re.compile(r"[a-z_][a-z0-9_]*")
_WORDS_SHOWN = 6  # values of one condition; a list of hundreds says nothing


def in_words(tree: Filter) -> str:
    """Return a filter in plain words.

    Examples
    --------
    >>> in_words(And(all_of=(In(field="language", values=("zh",)),
    ...                      Or(any_of=(IsNull(field="merchant"),
    ...                                 Prefix(field="region", prefix="r"))))))
    'language is zh and (merchant is empty or region starts with r)'
    """
    match tree:
        case And(all_of=parts):
            return _joined(parts, "and") or "every turn"
        case Or(any_of=parts):
            return _joined(parts, "or") or "no turn"
        case Not(part=In(field=field, values=values)):
            return f"{field} is not {_listed(values)}"
        case Not(part=IsNull(field=field)):
            return f"{field} has a value"
        case Not(part=Prefix(field=field, prefix=prefix)):
            return f"{field} does not start with {prefix}"
        case Not(part=Contains(field=field, part=part)):
            return f"{field} does not contain {part}"
        case Not(part=part):
            return f"not ({in_words(part)})"
        case In(field=field, values=values):
            return f"{field} is {_listed(values)}"
        case Prefix(field=field, prefix=prefix):
            return f"{field} starts with {prefix}"
        case Contains(field=field, part=text):
            return f"{field} contains {text}"
        case IsNull(field=field):
            return f"{field} is empty"
        case Range(field=field, low=low, high=high):
            if low is not None and high is not None:
                return f"{field} is from {low} to {high}"
            if low is not None:
                return f"{field} is at least {low}"
            return f"{field} is at most {high}" if high is not None else f"{field} has a value"


def in_sql(tree: Filter) -> str:
    """Return a filter as what stands behind WHERE.

    Raises
    ------
    InputError
        A part that a text shall contain has a wildcard in it, which the subset cannot write.

    Examples
    --------
    >>> in_sql(Not(part=In(field="channel", values=("app", "web"))))
    "(channel NOT IN ('app', 'web') OR channel IS NULL)"
    """
    match tree:
        case And(all_of=parts):
            return _chain(parts, "AND") or "TRUE"
        case Or(any_of=parts):
            return _chain(parts, "OR") or "FALSE"
        case Not(part=And(all_of=parts)):
            return in_sql(Or(any_of=tuple(Not(part=part) for part in parts)))
        case Not(part=Or(any_of=parts)):
            return in_sql(And(all_of=tuple(Not(part=part) for part in parts)))
        case Not(part=Not(part=part)):
            return in_sql(part)
        case Not(part=IsNull(field=field)):
            return f"{_name(field)} IS NOT NULL"
        case Not(part=In(field=field, values=values)):
            if not values:
                return "TRUE"
            name = _name(field)
            return f"({name} NOT IN ({', '.join(map(_literal, values))}) OR {name} IS NULL)"
        case Not(part=part):
            (field,) = part.fields()
            return f"(NOT {in_sql(part)} OR {_name(field)} IS NULL)"
        case In(field=field, values=()):
            return "FALSE"
        case In(field=field, values=(value,)):
            return f"{_name(field)} = {_literal(value)}"
        case In(field=field, values=values):
            return f"{_name(field)} IN ({', '.join(map(_literal, values))})"
        case IsNull(field=field):
            return f"{_name(field)} IS NULL"
        case Prefix(field=field, prefix=prefix):
            return f"starts_with({_name(field)}, {_literal(prefix)})"
        case Contains(field=field, part=text):
            if "%" in text or "_" in text:
                raise InputError(
                    f"{text!r} has a % or _ in it, which SQL here cannot look for.",
                    remedy="Use the filter's form instead.",
                )
            return f"{_name(field)} ILIKE {_literal(f'%{text}%')}"
        case Range(field=field, low=low, high=high):
            name = _name(field)
            if low is not None and high is not None:
                return f"{name} BETWEEN {_literal(low)} AND {_literal(high)}"
            if low is not None:
                return f"{name} >= {_literal(low)}"
            return f"{name} <= {_literal(high)}" if high is not None else f"{name} IS NOT NULL"


def from_sql(text: str) -> Filter:
    """Read what stands behind WHERE; nothing selects everything.

    Raises
    ------
    InputError
        It is not in the SQL subset, or more than a condition.

    Examples
    --------
    >>> from_sql("language = 'zh'")
    In(field='language', values=('zh',))
    """
    from closedloop.data.cube.sql import parse

    condition = re.sub(r"^\s*where\b", "", text, flags=re.IGNORECASE).strip().rstrip(";")
    if not condition:
        return EVERYTHING
    query = parse(f"SELECT turns FROM interactions WHERE {condition}")
    if query.by or query.order_by or query.limit is not None:
        raise InputError(
            "That is more than a condition.", remedy="Write only what stands behind WHERE."
        )
    return query.where


def shown(value: Value | None) -> str:
    """Return a dimension's value for people."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "(empty)" if value is None else str(value)


def _joined(parts: Sequence[Filter], word: str) -> str:
    said = []
    for part in parts:
        text = in_words(part)
        said.append(f"({text})" if len(parts) > 1 and _several(part) else text)
    return f" {word} ".join(said)


def _chain(parts: Sequence[Filter], word: str) -> str:
    text = f" {word} ".join(map(in_sql, parts))
    return f"({text})" if len(parts) > 1 and word == "OR" else text


def _several(tree: Filter) -> bool:
    return len(tree.all_of if isinstance(tree, And) else getattr(tree, "any_of", ())) > 1


def _listed(values: Sequence[Value]) -> str:
    texts = [shown(value) for value in values[:_WORDS_SHOWN]]
    if len(values) > _WORDS_SHOWN:
        texts.append(f"one of {len(values) - _WORDS_SHOWN:,} more")
    if not texts:
        return "one of nothing"
    *first, last = texts
    return f"{', '.join(first)} or {last}" if first else last


def _name(field: str) -> str:
    return field if _PLAIN_NAME.fullmatch(field) else '"{}"'.format(field.replace('"', '""'))


def _literal(value: Value | None) -> str:
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, str):
        return "'{}'".format(value.replace("'", "''"))
    return str(value)

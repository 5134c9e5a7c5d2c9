"""From a draft to the filter that it stands for, and from a filter to a draft of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import count

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
from closedloop.ui.app.explore_draft import (
    MAX_DEPTH,
    NO,
    YES,
    Condition,
    Group,
    Kind,
    Op,
    Part,
    walk,
)

_NOTHING = Or()
_OPPOSITE = {
    Op.IS: Op.IS_NOT,
    Op.STARTS: Op.NOT_STARTS,
    Op.CONTAINS: Op.NOT_CONTAINS,
    Op.EMPTY: Op.NOT_EMPTY,
}
_NEGATIVE = {negative: positive for positive, negative in _OPPOSITE.items()}


def to_filter(root: Group, fields: Mapping[str, Kind]) -> Filter:
    """Return the filter of everything that is complete.

    Raises
    ------
    InputError
        A value is not of its field's kind.

    Examples
    --------
    >>> draft = Group(key=0, parts=(Condition(key=1, field="hour", values=("9",)),
    ...                             Condition(key=2, field="intent")))
    >>> to_filter(draft, {"hour": Kind.NUMBER, "intent": Kind.TEXT})
    And(all_of=(In(field='hour', values=(9,)),))
    """
    return _of_group(root, fields) or EVERYTHING


def incomplete(root: Group) -> int:
    """Return how many conditions lack a value, and are left out."""
    conditions = (part for part, _ in walk(root) if isinstance(part, Condition))
    return sum(
        not any(part.values) and part.op not in (Op.EMPTY, Op.NOT_EMPTY) for part in conditions
    )


def from_filter(tree: Filter, fields: Mapping[str, Kind]) -> Group:
    """Return a filter as a draft.

    Raises
    ------
    InputError
        The form has no way to show it: it selects nothing, names a field that there is none
        of, or is nested deeper than 5 groups.
    """
    simple = _simplified(tree)
    if simple == _NOTHING:
        raise InputError(
            "This filter selects nothing at all.", remedy="Write one that some turns can fulfil."
        )
    keys = count(1)
    part = _draft(simple, fields, keys)
    root = part if isinstance(part, Group) else Group(key=next(keys), parts=(part,))
    if max(depth for found, depth in walk(root) if isinstance(found, Group)) >= MAX_DEPTH:
        raise InputError(
            f"This filter is nested deeper than {MAX_DEPTH} groups.",
            remedy="Ask it by closedloop query, or write it with fewer levels.",
        )
    return root


def _of_group(group: Group, fields: Mapping[str, Kind]) -> Filter | None:
    parts = [
        _of_group(part, fields) if isinstance(part, Group) else _of_condition(part, fields)
        for part in group.parts
    ]
    complete = tuple(part for part in parts if part is not None)
    if not complete:
        return None
    tree: Filter = Or(any_of=complete) if group.any_of else And(all_of=complete)
    return Not(part=tree) if group.negated else tree


def _of_condition(condition: Condition, fields: Mapping[str, Kind]) -> Filter | None:
    field, op = condition.field, condition.op
    if op in _NEGATIVE:
        positive = _of_condition(replace(condition, op=_NEGATIVE[op]), fields)
        return None if positive is None else Not(part=positive)
    if op is Op.EMPTY:
        return IsNull(field=field)
    if not any(condition.values):
        return None
    match op:
        case Op.STARTS:
            return Prefix(field=field, prefix=condition.values[0])
        case Op.CONTAINS:
            return Contains(field=field, part=condition.values[0])
        case Op.FROM_TO:
            low, high = (_typed(v, field, fields) if v else None for v in _two(condition.values))
            return Range(field=field, low=low, high=high)
    return In(field=field, values=tuple(_typed(v, field, fields) for v in condition.values if v))


def _two(values: tuple[str, ...]) -> tuple[str, str]:
    low, high, *_ = (*values, "", "")
    return low, high


def _typed(text: str, field: str, fields: Mapping[str, Kind]) -> Value:
    kind = fields.get(field, Kind.TEXT)
    if kind is Kind.FLAG:
        return text.strip().lower() in (YES, "true")
    if kind is not Kind.NUMBER:
        return text
    try:
        number = float(text)
    except ValueError as error:
        raise InputError(
            f"{field}: {text!r} is no number.", remedy="Write it like 12 or 0.5."
        ) from error
    return int(number) if number.is_integer() and "." not in text else number


def _simplified(tree: Filter) -> Filter:
    """Return the same selection without parts that are always true or never."""
    match tree:
        case In(values=()):
            return _NOTHING
        case Range(field=field, low=None, high=None):
            return Not(part=IsNull(field=field))
        case Not(part=part):
            inner = _simplified(part)
            if inner in (EVERYTHING, _NOTHING):
                return _NOTHING if inner == EVERYTHING else EVERYTHING
            return inner.part if isinstance(inner, Not) else Not(part=inner)
        case And(all_of=parts):
            flat = _flat(parts, And)
            if _NOTHING in flat:
                return _NOTHING
            left = tuple(part for part in flat if part != EVERYTHING)
            return left[0] if len(left) == 1 else And(all_of=left)
        case Or(any_of=parts):
            flat = _flat(parts, Or)
            if EVERYTHING in flat:
                return EVERYTHING
            left = tuple(part for part in flat if part != _NOTHING)
            return left[0] if len(left) == 1 else Or(any_of=left)
    return tree


def _flat(parts: tuple[Filter, ...], kind: type[And] | type[Or]) -> list[Filter]:
    flat: list[Filter] = []
    for part in map(_simplified, parts):
        if not isinstance(part, kind) or part in (EVERYTHING, _NOTHING):
            flat.append(part)
        else:
            flat += part.all_of if isinstance(part, And) else part.any_of
    return flat


def _draft(tree: Filter, fields: Mapping[str, Kind], keys: Iterator[int]) -> Part:
    match tree:
        case And(all_of=parts):
            inner = tuple(_draft(part, fields, keys) for part in parts)
            return Group(key=next(keys), parts=inner)
        case Or(any_of=parts):
            inner = tuple(_draft(part, fields, keys) for part in parts)
            return Group(key=next(keys), any_of=True, parts=inner)
        case Not(part=part):
            positive = _draft(part, fields, keys)
            if isinstance(positive, Group):
                return replace(positive, negated=not positive.negated)
            if positive.op in _OPPOSITE and fields[positive.field] is not Kind.FLAG:
                return replace(positive, op=_OPPOSITE[positive.op])
            return Group(key=next(keys), negated=True, parts=(positive,))
    (field,) = tree.fields()
    if field not in fields:
        raise InputError(f"The form has no field {field!r}.", remedy=f"It has {', '.join(fields)}.")
    match tree:
        case IsNull():
            return Condition(key=next(keys), field=field, op=Op.EMPTY)
        case Prefix(prefix=prefix):
            return Condition(key=next(keys), field=field, op=Op.STARTS, values=(prefix,))
        case Contains(part=text):
            return Condition(key=next(keys), field=field, op=Op.CONTAINS, values=(text,))
        case Range(low=low, high=high):
            bounds = tuple("" if bound is None else str(bound) for bound in (low, high))
            return Condition(key=next(keys), field=field, op=Op.FROM_TO, values=bounds)
        case In(values=values):
            texts = tuple(_as_text(value, fields[field]) for value in values)
            return Condition(key=next(keys), field=field, values=texts)
    raise AssertionError(tree)


def _as_text(value: Value, kind: Kind) -> str:
    if kind is Kind.FLAG:
        return YES if value in (True, "true", "yes") else NO
    return str(value)

"""The draft of the filter in a session of the app, and what the form's widgets do to it."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from closedloop.core.errors import ClosedLoopError
from closedloop.data.cube.filters import Filter
from closedloop.ui.app.explore_draft import (
    OPS,
    Condition,
    Group,
    Kind,
    Op,
    added,
    find,
    new_key,
    put,
    removed,
)
from closedloop.ui.app.explore_draft_filter import from_filter
from closedloop.ui.filter_text import from_sql

_DRAFT = "explore_draft"
_UNDO = "explore_undo"  # drafts before this one, the last one last
_REVISION = "explore_revision"  # new widgets where the draft changed behind their back
_SQL_ERROR = "explore_sql_error"
_UNDO_STEPS = 30


def undo_steps() -> int:
    """Return how many changes can be taken back."""
    return len(st.session_state.get(_UNDO, []))


def sql_problem() -> str:
    """Return what was wrong with the SQL box, once."""
    return str(st.session_state.pop(_SQL_ERROR, ""))


def draft() -> Group:
    """Return the filter as it stands in the form."""
    root: Group = st.session_state.setdefault(_DRAFT, Group(key=0))
    return root


def load(tree: Filter, fields: dict[str, Kind]) -> None:
    """Put a filter into the form.

    Raises
    ------
    InputError
        The form cannot show it; it is left as it was.
    """
    _edit(from_filter(tree, fields), fresh=True)


def widget(name: str, key: int) -> str:
    """Return the key of a part's widget."""
    return f"explore_{name}_{key}_{st.session_state.get(_REVISION, 0)}"


def preset(name: str, key: int, value: object) -> str:
    """Return a widget's key, with its value set where the widget is new or was away."""
    place = widget(name, key)
    st.session_state.setdefault(place, value)
    return place


def _edit(root: Group, *, fresh: bool = False) -> None:
    before = draft()
    if root == before:
        return
    st.session_state[_UNDO] = [*st.session_state.get(_UNDO, []), before][-_UNDO_STEPS:]
    st.session_state[_DRAFT] = root
    if fresh:
        st.session_state[_REVISION] = st.session_state.get(_REVISION, 0) + 1


def take_back() -> None:
    """Take back the last change of the filter."""
    if st.session_state.get(_UNDO):
        st.session_state[_DRAFT] = st.session_state[_UNDO].pop()
        st.session_state[_REVISION] = st.session_state.get(_REVISION, 0) + 1


def clear() -> None:
    """Empty the filter."""
    _edit(Group(key=0), fresh=True)


def add_condition(into: int, field: str) -> None:
    """Add a condition to a group."""
    root = draft()
    _edit(added(root, into, Condition(key=new_key(root), field=field)))


def add_group(into: int) -> None:
    """Add a group of alternatives to a group."""
    root = draft()
    _edit(added(root, into, Group(key=new_key(root), any_of=True)))


def remove(key: int) -> None:
    """Remove a condition or a group."""
    _edit(removed(draft(), key))


def join(key: int) -> None:
    """Take over whether all of a group's parts must hold, or any."""
    group = find(draft(), key)
    if isinstance(group, Group):
        any_of = st.session_state[widget("join", key)] == "Any of"
        _edit(put(draft(), replace(group, any_of=any_of)))


def negate(key: int) -> None:
    """Take over whether a group is negated."""
    group = find(draft(), key)
    if isinstance(group, Group):
        _edit(put(draft(), replace(group, negated=st.session_state[widget("not", key)])))


def set_field(key: int, fields: dict[str, Kind]) -> None:
    """Take over a condition's field; its operator and values begin anew."""
    name = st.session_state[widget("field", key)]
    _edit(put(draft(), Condition(key=key, field=name, op=OPS[fields[name]][0])))


def set_op(key: int, field: str) -> None:
    """Take over a condition's operator, and keep the values where they still fit."""
    condition = find(draft(), key)
    if not isinstance(condition, Condition):
        return
    op = Op(st.session_state[widget(f"op {field}", key)])
    same = {op, condition.op} <= {Op.IS, Op.IS_NOT} or not {op, condition.op} & {
        *(Op.IS, Op.IS_NOT, Op.FROM_TO)
    }
    values = condition.values if same else ()
    _edit(put(draft(), replace(condition, op=op, values=values)))


def set_values(key: int, field: str) -> None:
    """Take over a condition's values."""
    _set(key, tuple(st.session_state[widget(f"values {field}", key)]))


def set_text(key: int, field: str) -> None:
    """Take over a condition's text."""
    _set(key, (st.session_state[widget(f"text {field}", key)],))


def set_bounds(key: int, field: str) -> None:
    """Take over the ends of a condition's range."""
    _set(
        key,
        tuple(st.session_state[widget(f"{name} {field}", key)].strip() for name in ("from", "to")),
    )


def _set(key: int, values: tuple[str, ...]) -> None:
    condition = find(draft(), key)
    if isinstance(condition, Condition):
        _edit(put(draft(), replace(condition, values=values)))


def use_sql(place: str, fields: dict[str, Kind]) -> None:
    """Read the filter from the SQL box."""
    try:
        load(from_sql(st.session_state[place]), fields)
    except ClosedLoopError as error:
        st.session_state[_SQL_ERROR] = str(error)

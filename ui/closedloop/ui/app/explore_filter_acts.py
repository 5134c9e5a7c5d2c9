"""The draft of the filter in a session of the app, and what the form's widgets do to it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

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

_FORM = "explore_form"
_SQL_ERROR = "explore_sql_error"
_UNDO_STEPS = 30


@dataclass(slots=True)
class _Form:
    """The draft and its past.

    One object, changed in place: every access to the session's state is a place where the next
    act of a person may end this one, and half an act must not stay.
    """

    draft: Group = field(default_factory=lambda: Group(key=0))
    undo: list[Group] = field(default_factory=list)  # drafts before this one, the last one last
    revision: int = 0  # new widgets where the draft changed behind their back

    def edit(self, root: Group, *, fresh: bool = False) -> None:
        if root == self.draft:
            return
        self.undo = [*self.undo, self.draft][-_UNDO_STEPS:]
        self.draft = root
        self.revision += fresh


def _form() -> _Form:
    form: _Form = st.session_state.setdefault(_FORM, _Form())
    return form


def undo_steps() -> int:
    """Return how many changes can be taken back."""
    return len(_form().undo)


def sql_problem() -> str:
    """Return what was wrong with the SQL box, once."""
    return str(st.session_state.pop(_SQL_ERROR, ""))


def draft() -> Group:
    """Return the filter as it stands in the form."""
    return _form().draft


def load(tree: Filter, fields: dict[str, Kind]) -> None:
    """Put a filter into the form.

    Raises
    ------
    InputError
        The form cannot show it; it is left as it was.
    """
    _form().edit(from_filter(tree, fields), fresh=True)


def widget(name: str, key: int) -> str:
    """Return the key of a part's widget."""
    return f"explore_{name}_{key}_{_form().revision}"


def preset(name: str, key: int, value: object) -> str:
    """Return a widget's key, with its value set where the widget is new or was away."""
    place = widget(name, key)
    st.session_state.setdefault(place, value)
    return place


def take_back() -> None:
    """Take back the last change of the filter."""
    form = _form()
    if form.undo:
        form.draft = form.undo.pop()
        form.revision += 1


def clear() -> None:
    """Empty the filter."""
    _form().edit(Group(key=0), fresh=True)


def add_condition(into: int, field: str) -> None:
    """Add a condition to a group."""
    form = _form()
    new = Condition(key=new_key(form.draft), field=field)
    form.edit(added(form.draft, into, new))


def add_group(into: int) -> None:
    """Add a group of alternatives to a group."""
    form = _form()
    form.edit(added(form.draft, into, Group(key=new_key(form.draft), any_of=True)))


def remove(key: int) -> None:
    """Remove a condition or a group."""
    form = _form()
    form.edit(removed(form.draft, key))


def join(key: int) -> None:
    """Take over whether all of a group's parts must hold, or any."""
    form, said = _form(), _said("join", key)
    group = find(form.draft, key)
    if isinstance(group, Group) and said is not None:
        form.edit(put(form.draft, replace(group, any_of=said == "Any of")))


def negate(key: int) -> None:
    """Take over whether a group is negated."""
    form, said = _form(), _said("not", key)
    group = find(form.draft, key)
    if isinstance(group, Group) and said is not None:
        form.edit(put(form.draft, replace(group, negated=said)))


def set_field(key: int, fields: dict[str, Kind]) -> None:
    """Take over a condition's field; with another one, its operator and values begin anew."""
    form, said = _form(), _said("field", key)
    condition = find(form.draft, key)
    if isinstance(condition, Condition) and said not in (None, condition.field):
        form.edit(put(form.draft, Condition(key=key, field=said, op=OPS[fields[said]][0])))


def set_op(key: int, field: str) -> None:
    """Take over a condition's operator, and keep the values where they still fit."""
    form, said = _form(), _said(f"op {field}", key)
    condition = find(form.draft, key)
    if not isinstance(condition, Condition) or said in (None, condition.op):
        return
    op = Op(said)
    same = {op, condition.op} <= {Op.IS, Op.IS_NOT} or not {op, condition.op} & {
        *(Op.IS, Op.IS_NOT, Op.FROM_TO)
    }
    values = condition.values if same else ()
    form.edit(put(form.draft, replace(condition, op=op, values=values)))


def set_values(key: int, field: str) -> None:
    """Take over a condition's values."""
    form, said = _form(), _said(f"values {field}", key)
    if said is not None:
        _set(form, key, said)


def set_text(key: int, field: str) -> None:
    """Take over a condition's text."""
    form, said = _form(), _said(f"text {field}", key)
    if said is not None:
        _set(form, key, (said,))


def set_bounds(key: int, field: str) -> None:
    """Take over the ends of a condition's range."""
    form = _form()
    low, high = (_said(f"{end} {field}", key) for end in ("from", "to"))
    if low is not None and high is not None:
        _set(form, key, (low.strip(), high.strip()))


def _set(form: _Form, key: int, values: Iterable[str]) -> None:
    condition, values = find(form.draft, key), tuple(values)
    if isinstance(condition, Condition) and (any(values) or any(condition.values)):
        form.edit(put(form.draft, replace(condition, values=values)))


def _said(name: str, key: int) -> Any:
    """Return what a part's widget says; None where it went with an earlier revision.

    An act that replaces the draft and the last word of a widget it replaces can reach the
    session together: the word was about a part that is there no more.
    """
    return st.session_state.get(widget(name, key))


def use_sql(place: str, fields: dict[str, Kind]) -> None:
    """Read the filter from the SQL box."""
    text = st.session_state.get(place)
    if text is None:  # the box went, as in `_said`, before the button was pressed
        return
    try:
        load(from_sql(text), fields)
    except ClosedLoopError as error:
        st.session_state[_SQL_ERROR] = str(error)

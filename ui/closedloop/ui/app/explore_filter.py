"""The filter's form on the Explore page: groups in groups, undo, and SQL as a second way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import streamlit as st

from closedloop.core.errors import ClosedLoopError, InputError
from closedloop.data.cube.filters import EVERYTHING, Filter
from closedloop.ui.app.explore_draft import (
    MAX_DEPTH,
    NO,
    OPS,
    YES,
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
from closedloop.ui.app.explore_draft_filter import from_filter, incomplete, to_filter
from closedloop.ui.app.markdown_text import literal
from closedloop.ui.filter_text import from_sql, in_sql, in_words

_DRAFT = "explore_draft"
_UNDO = "explore_undo"  # drafts before this one, the last one last
_REVISION = "explore_revision"  # new widgets where the draft changed behind their back
_SQL_ERROR = "explore_sql_error"
_UNDO_STEPS = 30

Suggest = Callable[[str], list[str]]


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


def filter_form(fields: dict[str, Kind], suggest: Suggest) -> Filter:
    """Show the form and return its filter.

    Parameters
    ----------
    fields : dict of str to Kind
        What can be filtered by.
    suggest : callable
        Returns values to offer for a field.

    Raises
    ------
    InputError
        A value is not of its field's kind.
    """
    root = draft()
    with st.container(border=True, key="explore_filter", gap="small"):
        words = st.container(horizontal=True, vertical_alignment="center", gap="small")
        _group(root, fields, suggest, depth=0)
        try:
            tree = to_filter(root, fields)
        except InputError:
            with words:
                st.markdown("**Filter**", width="stretch")
                _tools()
            raise
        left_out = incomplete(root)
        with words:
            note = f" :gray[({left_out} without a value left out)]" if left_out else ""
            st.markdown(f"**Filter:** {literal(in_words(tree))}{note}", width="stretch")
            _tools()
        _sql(tree, fields)
    return tree


def _tools() -> None:
    undo = st.session_state.get(_UNDO, [])
    st.button(
        "Undo",
        icon=":material/undo:",
        key="explore_undo_button",
        disabled=not undo,
        on_click=_take_back,
        help=f"Take back the last change of the filter ({len(undo)} kept)",
    )
    st.button(
        "Clear",
        icon=":material/close:",
        key="explore_clear",
        disabled=not draft().parts,
        on_click=_clear,
    )


def _group(group: Group, fields: dict[str, Kind], suggest: Suggest, *, depth: int) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.segmented_control(
            "How the parts are joined",
            ("All of", "Any of"),
            required=True,
            key=_preset("join", group.key, "Any of" if group.any_of else "All of"),
            label_visibility="collapsed",
            on_change=_join,
            args=(group.key,),
        )
        st.toggle(
            "Not",
            key=_preset("not", group.key, group.negated),
            help="Select what this group does not select",
            on_change=_negate,
            args=(group.key,),
        )
        st.button(
            "Condition",
            icon=":material/add:",
            key=_widget("add", group.key),
            on_click=_add_condition,
            args=(group.key, next(iter(fields)) if "intent" not in fields else "intent"),
        )
        st.button(
            "Group",
            icon=":material/add:",
            key=_widget("nest", group.key),
            disabled=depth + 1 >= MAX_DEPTH,
            on_click=_add_group,
            args=(group.key,),
        )
        if depth:
            _remove_button(group.key, "Remove this group")
    for part in group.parts:
        if isinstance(part, Group):
            with st.container(border=True, key=f"explore_group_{part.key}", gap="small"):
                _group(part, fields, suggest, depth=depth + 1)
        else:
            _condition(part, fields, suggest)


def _condition(condition: Condition, fields: dict[str, Kind], suggest: Suggest) -> None:
    key = condition.key
    kind = fields[condition.field]
    ops = OPS[kind]
    field, op, values, remove = st.columns(
        [1.3, 1.1, 3.2, 0.3], gap="small", vertical_alignment="center"
    )
    names = list(fields)
    field.selectbox(
        "Field",
        names,
        key=_preset("field", key, condition.field),
        label_visibility="collapsed",
        on_change=_set_field,
        args=(key, fields),
    )
    op.selectbox(
        f"Operator of {condition.field}",
        ops,
        key=_preset(f"op {condition.field}", key, condition.op),
        label_visibility="collapsed",
        on_change=_set_op,
        args=(key, condition.field),
    )
    with values:
        _values(condition, kind, suggest)
    with remove:
        _remove_button(key, "Remove this condition")


def _values(condition: Condition, kind: Kind, suggest: Suggest) -> None:
    key, field = condition.key, condition.field
    if condition.op in (Op.EMPTY, Op.NOT_EMPTY):
        return
    if condition.op is Op.FROM_TO:
        low, high = st.columns(2, gap="small")
        for place, (column, name) in enumerate(((low, "from"), (high, "to"))):
            value = condition.values[place] if place < len(condition.values) else ""
            column.text_input(
                f"{field} {name}",
                key=_preset(f"{name} {field}", key, value),
                placeholder=f"{name} (open)",
                label_visibility="collapsed",
                on_change=_set_bounds,
                args=(key, field),
            )
        return
    if condition.op in (Op.IS, Op.IS_NOT):
        offered = [YES, NO] if kind is Kind.FLAG else suggest(field)
        st.multiselect(
            f"Values of {field}",
            list(dict.fromkeys((*condition.values, *offered))),
            key=_preset(f"values {field}", key, list(condition.values)),
            placeholder="Choose values" if kind is Kind.FLAG else "Choose or type values",
            accept_new_options=kind is not Kind.FLAG,
            max_selections=1 if kind is Kind.FLAG else None,
            label_visibility="collapsed",
            on_change=_set_values,
            args=(key, field),
        )
        return
    st.text_input(
        f"Text of {field}",
        key=_preset(f"text {field}", key, condition.values[0] if condition.values else ""),
        placeholder="Text",
        label_visibility="collapsed",
        on_change=_set_text,
        args=(key, field),
    )


def _sql(tree: Filter, fields: dict[str, Kind]) -> None:
    with st.expander("As SQL", icon=":material/code:", key="explore_sql"):
        try:
            text = "" if tree == EVERYTHING else in_sql(tree)
        except InputError as error:
            text = ""
            st.caption(literal(str(error)))
        place = _preset(f"sql {hash(text)}", 0, text)
        st.text_area(
            "Condition, as behind WHERE",
            key=place,
            height=90,
            placeholder="language = 'zh' AND (intent = 'refund_status' OR bad)",
        )
        st.button(
            "Use this condition",
            key="explore_use_sql",
            on_click=_use_sql,
            args=(place, fields),
        )
        problem = st.session_state.pop(_SQL_ERROR, "")
        if problem:
            st.error(literal(problem))


def _remove_button(key: int, help_: str) -> None:
    st.button(
        "",
        icon=":material/delete:",
        key=_widget("remove", key),
        type="tertiary",
        help=help_,
        on_click=_remove,
        args=(key,),
    )


def _widget(name: str, key: int) -> str:
    return f"explore_{name}_{key}_{st.session_state.get(_REVISION, 0)}"


def _preset(name: str, key: int, value: object) -> str:
    """Return a widget's key, with its value set where the widget is new or was away."""
    place = _widget(name, key)
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


def _take_back() -> None:
    if st.session_state.get(_UNDO):
        st.session_state[_DRAFT] = st.session_state[_UNDO].pop()
        st.session_state[_REVISION] = st.session_state.get(_REVISION, 0) + 1


def _clear() -> None:
    _edit(Group(key=0), fresh=True)


def _add_condition(into: int, field: str) -> None:
    root = draft()
    _edit(added(root, into, Condition(key=new_key(root), field=field)))


def _add_group(into: int) -> None:
    root = draft()
    _edit(added(root, into, Group(key=new_key(root), any_of=True)))


def _remove(key: int) -> None:
    _edit(removed(draft(), key))


def _join(key: int) -> None:
    group = find(draft(), key)
    if isinstance(group, Group):
        any_of = st.session_state[_widget("join", key)] == "Any of"
        _edit(put(draft(), replace(group, any_of=any_of)))


def _negate(key: int) -> None:
    group = find(draft(), key)
    if isinstance(group, Group):
        _edit(put(draft(), replace(group, negated=st.session_state[_widget("not", key)])))


def _set_field(key: int, fields: dict[str, Kind]) -> None:
    name = st.session_state[_widget("field", key)]
    _edit(put(draft(), Condition(key=key, field=name, op=OPS[fields[name]][0])))


def _set_op(key: int, field: str) -> None:
    condition = find(draft(), key)
    if not isinstance(condition, Condition):
        return
    op = Op(st.session_state[_widget(f"op {field}", key)])
    same = {op, condition.op} <= {Op.IS, Op.IS_NOT} or not {op, condition.op} & {
        *(Op.IS, Op.IS_NOT, Op.FROM_TO)
    }
    values = condition.values if same else ()
    _edit(put(draft(), replace(condition, op=op, values=values)))


def _set_values(key: int, field: str) -> None:
    _set(key, tuple(st.session_state[_widget(f"values {field}", key)]))


def _set_text(key: int, field: str) -> None:
    _set(key, (st.session_state[_widget(f"text {field}", key)],))


def _set_bounds(key: int, field: str) -> None:
    _set(
        key,
        tuple(st.session_state[_widget(f"{name} {field}", key)].strip() for name in ("from", "to")),
    )


def _set(key: int, values: tuple[str, ...]) -> None:
    condition = find(draft(), key)
    if isinstance(condition, Condition):
        _edit(put(draft(), replace(condition, values=values)))


def _use_sql(place: str, fields: dict[str, Kind]) -> None:
    try:
        load(from_sql(st.session_state[place]), fields)
    except ClosedLoopError as error:
        st.session_state[_SQL_ERROR] = str(error)

"""The filter's form on the Explore page: groups in groups, undo, and SQL as a second way."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from closedloop.core.errors import InputError
from closedloop.data.cube.filters import EVERYTHING, Filter
from closedloop.ui.app import explore_filter_acts as acts
from closedloop.ui.app.explore_draft import (
    MAX_DEPTH,
    NO,
    OPS,
    YES,
    Condition,
    Group,
    Kind,
    Op,
)
from closedloop.ui.app.explore_draft_filter import incomplete, to_filter
from closedloop.ui.app.markdown_text import literal
from closedloop.ui.filter_text import in_sql, in_words

Suggest = Callable[[str], list[str]]


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
    root = acts.draft()
    with st.container(border=True, key="explore_filter", gap="small"):
        words = st.container(horizontal=True, vertical_alignment="center", gap="small")
        _group(root, fields, suggest, depth=0)
        if acts.draft() != root:
            st.rerun()
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
    undo = acts.undo_steps()
    st.button(
        "Undo",
        icon=":material/undo:",
        key="explore_undo_button",
        disabled=not undo,
        on_click=acts.take_back,
        help=f"Take back the last change of the filter ({undo} kept)",
    )
    st.button(
        "Clear",
        icon=":material/close:",
        key="explore_clear",
        disabled=not acts.draft().parts,
        on_click=acts.clear,
    )


def _group(group: Group, fields: dict[str, Kind], suggest: Suggest, *, depth: int) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.segmented_control(
            "How the parts are joined",
            ("All of", "Any of"),
            required=True,
            key=acts.preset("join", group.key, "Any of" if group.any_of else "All of"),
            label_visibility="collapsed",
            on_change=acts.join,
            args=(group.key,),
        )
        st.toggle(
            "Not",
            key=acts.preset("not", group.key, group.negated),
            help="Select what this group does not select",
            on_change=acts.negate,
            args=(group.key,),
        )
        # A callback dies where the next act comes before it ends: what the widgets show counts.
        acts.join(group.key)
        acts.negate(group.key)
        st.button(
            "Condition",
            icon=":material/add:",
            key=acts.widget("add", group.key),
            on_click=acts.add_condition,
            args=(group.key, next(iter(fields)) if "intent" not in fields else "intent"),
        )
        st.button(
            "Group",
            icon=":material/add:",
            key=acts.widget("nest", group.key),
            disabled=depth + 1 >= MAX_DEPTH,
            on_click=acts.add_group,
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
        key=acts.preset("field", key, condition.field),
        label_visibility="collapsed",
        on_change=acts.set_field,
        args=(key, fields),
    )
    op.selectbox(
        f"Operator of {condition.field}",
        ops,
        key=acts.preset(f"op {condition.field}", key, condition.op),
        label_visibility="collapsed",
        on_change=acts.set_op,
        args=(key, condition.field),
    )
    acts.set_field(key, fields)
    acts.set_op(key, condition.field)
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
                key=acts.preset(f"{name} {field}", key, value),
                placeholder=f"{name} (open)",
                label_visibility="collapsed",
                on_change=acts.set_bounds,
                args=(key, field),
            )
        acts.set_bounds(key, field)
        return
    if condition.op in (Op.IS, Op.IS_NOT):
        offered = [YES, NO] if kind is Kind.FLAG else suggest(field)
        st.multiselect(
            f"Values of {field}",
            list(dict.fromkeys((*condition.values, *offered))),
            key=acts.preset(f"values {field}", key, list(condition.values)),
            placeholder="Choose values" if kind is Kind.FLAG else "Choose or type values",
            accept_new_options=kind is not Kind.FLAG,
            max_selections=1 if kind is Kind.FLAG else None,
            label_visibility="collapsed",
            on_change=acts.set_values,
            args=(key, field),
        )
        acts.set_values(key, field)
        return
    st.text_input(
        f"Text of {field}",
        key=acts.preset(f"text {field}", key, condition.values[0] if condition.values else ""),
        placeholder="Text",
        label_visibility="collapsed",
        on_change=acts.set_text,
        args=(key, field),
    )
    acts.set_text(key, field)


def _sql(tree: Filter, fields: dict[str, Kind]) -> None:
    with st.expander("As SQL", icon=":material/code:", key="explore_sql"):
        try:
            text = "" if tree == EVERYTHING else in_sql(tree)
        except InputError as error:
            text = ""
            st.caption(literal(str(error)))
        place = acts.preset(f"sql {hash(text)}", 0, text)
        st.text_area(
            "Condition, as behind WHERE",
            key=place,
            height=90,
            placeholder="language = 'zh' AND (intent = 'refund_status' OR bad)",
        )
        st.button(
            "Use this condition",
            key="explore_use_sql",
            on_click=acts.use_sql,
            args=(place, fields),
        )
        problem = acts.sql_problem()
        if problem:
            st.error(literal(problem))


def _remove_button(key: int, help_: str) -> None:
    st.button(
        "",
        icon=":material/delete:",
        key=acts.widget("remove", key),
        type="tertiary",
        help=help_,
        on_click=acts.remove,
        args=(key,),
    )

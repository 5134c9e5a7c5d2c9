"""Slices on the Explore page: open one, save the filter as one, send a sample to annotation."""

from __future__ import annotations

import streamlit as st

from closedloop.core.errors import ClosedLoopError, InputError
from closedloop.data.cube.cube import Cube
from closedloop.data.cube.filters import EVERYTHING, Filter
from closedloop.data.lake import Lake
from closedloop.models.reference import ModelRef
from closedloop.samples.slice_queue import send_slice
from closedloop.samples.slice_sample import Sampling, Shares, Weight
from closedloop.samples.slices import Slice, Slices
from closedloop.ui.app.explore_draft import Kind
from closedloop.ui.app.explore_filter_acts import load
from closedloop.ui.app.explore_view import View
from closedloop.ui.app.markdown_text import literal
from closedloop.ui.app.services import Services, current_user, is_engineer
from closedloop.ui.filter_text import in_words

_OPENED = "explore_slice"  # name of the slice that was opened or saved last
_CHOICE = "explore_slice_choice"
_NOTICE = "explore_notice"
_PROBLEM = "explore_slice_problem"
_WEIGHTS = {
    "All alike": Weight.EQUAL,
    "Unsure answers first": Weight.UNSURE,
    "Bad turns first": Weight.BAD,
    "Often asked first": Weight.FREQUENT,
}
_NO_STRATA = "(none)"


def slice_bar(shared: Services, cube: Cube, view: View, fields: dict[str, Kind]) -> None:
    """Show what can be done with slices, and what came of the last act."""
    kept = Slices(shared.store)
    found = {each.name: each for each in kept.all()}
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        st.selectbox(
            "Slices",
            list(found),
            index=None,
            key=_CHOICE,
            placeholder="Open a saved slice" if found else "No slice is saved yet",
            disabled=not found,
            label_visibility="collapsed",
            on_change=_open,
            args=(found, fields),
            width=280,
        )
        if st.button("Save slice", icon=":material/bookmark_add:", key="explore_save"):
            _save_dialog(kept, view)
        if st.button("Send to annotation", icon=":material/send:", key="explore_send"):
            _send_dialog(shared, cube, view)
        if st.button(
            "Manage slices", icon=":material/tune:", key="explore_manage", disabled=not found
        ):
            _manage_dialog(kept)
    problem = st.session_state.pop(_PROBLEM, "")
    if problem:
        st.error(literal(problem))
    _show_notice()


def _show_notice() -> None:
    notice = st.session_state.pop(_NOTICE, None)
    if notice is None:
        return
    said, tasks = notice
    st.toast(literal(said), icon=":material/check:")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.success(literal(said), icon=":material/check:")
        if tasks:
            from closedloop.ui.app.views import annotate

            st.page_link(
                st.Page(annotate.page, title="Annotate", url_path="annotate"),
                label="Go to Annotate",
                icon=":material/label:",
            )


def _open(found: dict[str, Slice], fields: dict[str, Kind]) -> None:
    name = st.session_state.get(_CHOICE)
    if name not in found:  # emptied, or deleted by somebody meanwhile
        return
    try:
        load(found[name].where, fields)
        st.session_state[_OPENED] = name
    except InputError as error:
        st.session_state[_PROBLEM] = str(error)


@st.dialog("Save slice", icon=":material/bookmark_add:")
def _save_dialog(kept: Slices, view: View) -> None:
    name = st.text_input("Name", max_chars=120, key="explore_save_name")
    description = st.text_area("What it is for", height=80, key="explore_save_description")
    only_period = st.checkbox(
        f"Only {view.first} to {view.last}", help="Otherwise the slice grows with new days."
    )
    where = view.in_period(view.period) if only_period else view.where
    st.caption(literal(in_words(where)))
    replace = st.checkbox("Replace a slice of that name")
    if st.button("Save", type="primary", key="explore_save_now"):
        user = current_user()
        if user is None or not is_engineer(user):
            return
        try:
            saved = kept.save(
                name, where, description=description, saved_by=user.name, replace=replace
            )
        except ClosedLoopError as error:
            st.error(literal(str(error)))
            return
        st.session_state[_OPENED] = saved.name
        st.session_state[_NOTICE] = (f"Slice “{saved.name}” is saved.", False)
        st.rerun()


@st.dialog("Send to annotation", icon=":material/send:")
def _send_dialog(shared: Services, cube: Cube, view: View) -> None:
    where = view.in_period(view.period)
    st.caption(literal(in_words(where)))
    if view.where == EVERYTHING:
        st.caption("The filter is empty: the sample comes from every turn of the period.")
    models = _models(shared, cube)
    name = st.text_input(
        "Called",
        value=st.session_state.get(_OPENED, ""),
        placeholder="Name that annotators see",
        max_chars=120,
        key="explore_send_name",
    )
    model = st.selectbox(
        "Model that the labels are for",
        models,
        index=0 if models else None,
        accept_new_options=True,
        placeholder="tenant.algorithm.name",
        key="explore_send_model",
        help="Only turns of its tenant are drawn.",
    )
    left, right = st.columns(2)
    count = left.number_input(
        "Texts", min_value=1, max_value=10_000, value=100, key="explore_send_count"
    )
    votes = right.number_input(
        "People a text", min_value=1, max_value=9, value=1, key="explore_send_votes"
    )
    by = left.selectbox(
        "Stratify by", [_NO_STRATA, *cube.declaration.celled, "day"], key="explore_send_by"
    )
    shares = right.selectbox(
        "Share of each", list(Shares), disabled=by == _NO_STRATA, key="explore_send_shares"
    )
    weight = left.selectbox("Draw", list(_WEIGHTS), key="explore_send_weight")
    seed = right.number_input("Seed", min_value=0, value=0, key="explore_send_seed")
    if st.button("Send", type="primary", icon=":material/send:", key="explore_send_now"):
        user = current_user()
        if user is None or not is_engineer(user):
            return
        try:
            sampling = Sampling(
                count=int(count),
                weight=_WEIGHTS[weight],
                by="" if by == _NO_STRATA else by,
                shares=shares or Shares.EQUAL,
                seed=int(seed),
            )
            _send(shared, cube, where, name.strip() or "Explore", model or "", sampling, int(votes))
        except ClosedLoopError as error:
            st.error(literal(str(error)))
            return
        st.rerun()


def _send(
    shared: Services,
    cube: Cube,
    where: Filter,
    name: str,
    model: str,
    sampling: Sampling,
    votes: int,
) -> None:
    ref = ModelRef.parse(model)
    bar = st.progress(0.0, text="Reading days …")

    def show(day: int, days: int) -> None:
        bar.progress(day / max(days, 1), text=f"Reading days: {day} of {days}")

    done = send_slice(
        cube,
        Lake(shared.settings.lake_url),
        shared.route.queue(),
        name=name,
        where=where,
        model=str(ref),
        sampling=sampling,
        votes_needed=votes,
        progress=show,
    )
    if not done.turns:
        raise InputError(
            f"Nothing was sent: the filter selects no turn of the tenant {ref.tenant!r}.",
            remedy="Choose a model of another tenant, or widen the filter.",
        )
    said = f"{done.sent:,} texts were sent to {ref}; {done.known:,} were known already."
    st.session_state[_NOTICE] = (said, bool(done.sent))


@st.dialog("Manage slices", icon=":material/tune:", width="medium")
def _manage_dialog(kept: Slices) -> None:
    user = current_user()
    if user is None or not is_engineer(user):
        return
    name = st.selectbox("Slice", [each.name for each in kept.all()], key="explore_manage_name")
    if name is None:
        st.caption("No slice is left.")
        return
    found = kept.get(name)
    st.caption(literal(in_words(found.where)))
    if found.description:
        st.text(found.description)
    try:
        with st.container(horizontal=True, vertical_alignment="bottom"):
            to = st.text_input("New name", value=name, max_chars=120, key=f"explore_to {name}")
            if st.button("Rename", key="explore_rename", disabled=to.strip() == name):
                kept.rename(name, to)
                st.session_state[_NOTICE] = (f"“{name}” is now “{to.strip()}”.", False)
                st.rerun()
        with st.container(horizontal=True, vertical_alignment="center"):
            sure = st.checkbox(f"Yes, delete “{name}”", key=f"explore_sure {name}")
            if st.button(
                "Delete", icon=":material/delete:", key="explore_delete", disabled=not sure
            ):
                kept.delete(name)
                st.session_state[_NOTICE] = (f"Slice “{name}” is deleted.", False)
                st.rerun()
    except ClosedLoopError as error:
        st.error(literal(str(error)))


def _models(shared: Services, cube: Cube) -> list[str]:
    queues = list(shared.route.queue().queues())
    answered = (
        [str(value) for value in cube.values("model")] if "model" in cube.declaration.names else []
    )
    return sorted(dict.fromkeys((*answered, *queues)))

"""The Defence page: what many ask at once, hottest first, and what is done about it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import streamlit as st

from closedloop.core.errors import ClosedLoopError, NotFound
from closedloop.core.identity import User
from closedloop.defence.issues.issue import IssueState
from closedloop.defence.recent_traffic import RecentTraffic
from closedloop.ui.app.defence_acts import IssueActs
from closedloop.ui.app.defence_board import issue_board, read_act
from closedloop.ui.app.defence_desk import Desk, desk
from closedloop.ui.app.defence_detail import SNOOZES, show_issue, snoozed_until, time_zone
from closedloop.ui.app.defence_rules import show_rules
from closedloop.ui.app.defence_watch import WatchState, watch_state
from closedloop.ui.app.markdown_text import literal
from closedloop.ui.app.services import Services, current_user, services

_BOARD = "defence_board"
_SNOOZE_KEYS = ("snooze15", "snooze60", "snooze9")  # in the order of SNOOZES
_ISSUE = "issue"  # in the page's address
_REFRESH_S = 2
_WATCH_TTL_S = 4
_TENANTS_TTL_S = 15
_TENANT = "defence_tenant"
_EVERY = "Every tenant"
_CLOSED = (IssueState.SNOOZED, IssueState.RESOLVED, IssueState.MERGED)
_STYLE = Path(__file__).parents[1] / "defence.css"


def page() -> None:
    """Show the board, and the chosen issue beside it."""
    user = current_user()
    if user is None:
        return
    shared, here = services(), desk()
    here.stale = False
    linked = st.query_params.get(_ISSUE, "")
    if here.chosen is None and linked.isdecimal():
        here.chosen = int(linked)
    acts = IssueActs(
        book=shared.issues,
        rules=shared.rules,
        identities=shared.identities,
        desk=here,
        who=user.name,
    )
    st.html(_STYLE)
    with st.container(horizontal=True, vertical_alignment="center", key="defence_top"):
        st.title("Defence", anchor=False, width="content")
        with st.container(key="defence_said"):  # beside the title: nothing below it moves
            _show_notice(here, acts)
        view = st.segmented_control(
            "Show",
            ["Issues", "Rules"],
            default="Issues",
            required=True,
            key="defence_view",
            label_visibility="collapsed",
        )
    try:
        if view == "Rules":
            show_rules(shared, acts)
            return
        with st.container(key="defence_panes", horizontal=True, gap="medium"):
            with st.container(key="defence_left"):
                _board(shared, here, acts)
            with st.container(key="defence_right", gap="small"):
                _chosen(shared, here, acts, user)
    except ClosedLoopError as error:
        st.error(literal(str(error)), icon=":material/error:")


@st.fragment(run_every=_REFRESH_S)
def _board(shared: Services, here: Desk, acts: IssueActs) -> None:
    # Only this part is drawn again: what is typed beside it, and an open dialog, stay.
    if here.stale:
        st.rerun()
    try:
        _show_board(shared, here, acts)
    except ClosedLoopError as error:  # the store is away for a moment: the next look tells
        st.warning(literal(str(error)), icon=":material/error:")


def _show_board(shared: Services, here: Desk, acts: IssueActs) -> None:
    tenant, states = _filters(shared)
    found = shared.board.get(tenant, states)
    if here.chosen is None and found.issues:
        here.choose(found.issues[0].id)
        st.rerun()
    if not found.issues:
        _explain_nothing(shared, tenant, states)
    issue_board(
        found.rows,
        chosen=here.chosen,
        chosen_revision=here.shown[1] if here.shown is not None else 0,
        me=acts.who,
        key=_BOARD,
        on_act=partial(_heard, here, acts),
    )
    _say_watch()


def _filters(shared: Services) -> tuple[str | None, tuple[IssueState, ...]]:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        live = shared.board.get(None, (IssueState.OPEN, IssueState.SNOOZED))
        kept: str | None = st.session_state.get(_TENANT)
        names = {*_tenants(), *(one.tenant for one in live.issues), kept or _EVERY} - {_EVERY}
        tenant = st.selectbox(
            "Tenant",
            [_EVERY, *sorted(names)],
            key=_TENANT,
            label_visibility="collapsed",
            width=190,
        )
        closed = st.toggle(
            "Closed ones, too",
            key="defence_closed",
            help="Snoozed issues, and those resolved or merged in the last week",
        )
    states = (IssueState.OPEN, *_CLOSED) if closed else (IssueState.OPEN,)
    return None if tenant == _EVERY else tenant, states


@st.cache_data(ttl=_TENANTS_TTL_S, show_spinner=False)
def _tenants() -> list[str]:
    """Return the tenants whose texts are watched."""
    return RecentTraffic(services().settings.defence_folder / "recent").tenants()


def _heard(here: Desk, acts: IssueActs) -> None:
    act = read_act(st.session_state[_BOARD].act)
    if act is None:
        return
    if act.kind == "choose":
        here.choose(act.issue)
    elif act.kind == "assign":
        acts.assign(act.issue, act.revision, acts.who)
    elif act.kind == "reopen":
        acts.reopen(act.issue, act.revision)
    elif act.kind == "undo":
        acts.undo(act.issue)
    else:
        _, minutes, said = SNOOZES[_SNOOZE_KEYS.index(act.kind)]
        acts.snooze(act.issue, act.revision, snoozed_until(minutes, time_zone()), said)


def _chosen(shared: Services, here: Desk, acts: IssueActs, user: User) -> None:
    if here.chosen is None:
        st.caption("An issue that is chosen on the board is shown here.")
        return
    try:
        issue = shared.issues.get(here.chosen)
    except NotFound:
        here.chosen = None
        raise
    st.query_params[_ISSUE] = str(issue.id)
    show_issue(shared, here, acts, user, issue, str(shared.settings.defence_folder / "recent"))


def _show_notice(here: Desk, acts: IssueActs) -> None:
    notice, here.notice = here.notice, None
    if notice is None:
        return
    with st.container(horizontal=True, vertical_alignment="center", key="defence_notice"):
        if notice.problem:
            st.warning(literal(notice.said), icon=":material/error:")
        else:
            st.success(literal(notice.said), icon=":material/check:")
        if notice.undo is not None:
            st.button(
                "Undo",
                icon=":material/undo:",
                key="defence_notice_undo",
                on_click=acts.undo,
                args=(notice.undo,),
            )
        if notice.tasks:
            from closedloop.ui.app.views import annotate

            st.page_link(
                st.Page(annotate.page, title="Annotate", url_path="annotate"),
                label="Go to Annotate",
                icon=":material/label:",
            )


def _explain_nothing(shared: Services, tenant: str | None, states: tuple[IssueState, ...]) -> None:
    if shared.issues.sequence():  # there were some
        where = f" of {literal(tenant)}" if tenant else ""
        more = "" if len(states) > 1 else " Closed ones are shown by the switch above."
        st.info(f"No issue{where} is open.{more}", icon=":material/shield:")
        return
    st.info(
        "Nothing rises beyond what is usual. An issue appears here by itself when many people "
        "ask the same new thing.",
        icon=":material/shield:",
    )


def _say_watch() -> None:
    state = _watch()
    if state.running:
        st.caption(literal(state.sentence))
    else:
        st.warning(
            f"{literal(state.sentence)} {literal(state.remedy)}", icon=":material/visibility_off:"
        )


@st.cache_data(ttl=_WATCH_TTL_S, show_spinner=False)
def _watch() -> WatchState:
    return watch_state(services().store)

"""The chosen issue beside the board: its figures, its texts, and what can be done about it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st

from closedloop.core.errors import ClosedLoopError
from closedloop.core.identity import User
from closedloop.defence.issues.issue import Issue, IssueAct, IssueState
from closedloop.ui.app.defence_acts import (
    RULE_ADDED,
    IssueActs,
    can_reopen,
    last_to_take_back,
)
from closedloop.ui.app.defence_desk import Desk
from closedloop.ui.app.defence_dialogs import (
    assign_dialog,
    merge_dialog,
    rename_dialog,
    repair_dialog,
    resolve_dialog,
    send_dialog,
    split_dialog,
)
from closedloop.ui.app.defence_repairs import Repairs
from closedloop.ui.app.defence_rule_form import rule_form
from closedloop.ui.app.defence_words import (
    act_in_words,
    counted,
    feedback,
    growth,
    headline,
    moment,
    novelty,
    state_in_words,
    texts_as_html,
    tomorrow_morning,
)
from closedloop.ui.app.markdown_text import literal
from closedloop.ui.app.services import Services, is_engineer

# What it is called, minutes (None: until tomorrow at nine), how it is told.
SNOOZES: tuple[tuple[str, int | None, str], ...] = (
    ("15 minutes", 15, "for 15 minutes"),
    ("1 hour", 60, "for an hour"),
    ("Until tomorrow, 9:00", None, "until tomorrow, 9:00"),
)
_SNOOZE = "defence_snooze"
_REFRESH_S = 2
_TEXTS_SHOWN = 4
_HISTORY = 12
_REPAIR_REFRESH_S = 4


def show_issue(
    shared: Services, here: Desk, acts: IssueActs, user: User, issue: Issue, folder: str
) -> None:
    """Show an issue and its acts.

    Parameters
    ----------
    folder : str
        Of the recent traffic.
    """
    zone = time_zone()
    history = acts.book.history(issue.id)
    here.shown = (issue.id, issue.revision)
    _head(shared, here, acts, issue.id, zone)
    _acts_bar(here, acts, issue, history, zone, folder)
    _texts(issue)
    if issue.state is not IssueState.MERGED:
        with st.container(border=True, key="defence_rule"):
            st.markdown("**Keyword rule**")
            added = [str(act.details["rule"]) for act in history if act.what == RULE_ADDED]
            rule_form(here, acts, issue, folder, intents=_intents(shared, issue), added=added)
        _teach(shared, acts, user, issue)
    _history(history, zone)


def time_zone() -> tzinfo:
    """Return the zone of the person's browser."""
    try:
        return ZoneInfo(st.context.timezone or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


@st.fragment(run_every=_REFRESH_S)
def _head(shared: Services, here: Desk, acts: IssueActs, issue_id: int, zone: tzinfo) -> None:
    try:
        issue = shared.board.issue(issue_id)
    except ClosedLoopError as error:
        st.error(literal(str(error)))
        return
    sighting = issue.sighting
    with st.container(gap="xxsmall", key="defence_head"):
        st.subheader(literal(headline(issue)), anchor=False)
        facts = [
            f"**{growth(sighting)}**",
            f"{sighting.texts:,} text{'s' * (sighting.texts != 1)} since "
            f"{moment(sighting.began_at, zone)}",
            feedback(sighting),
            novelty(sighting),
            literal(counted(sighting.channels, nothing="no channel")),
            literal(issue.tenant),
        ]
        st.markdown(" · ".join(facts))
        said = [state_in_words(issue, zone)]
        if issue.standing.assigned_to:
            said.append(f"assigned to {issue.standing.assigned_to}")
        stands = "; ".join(part for part in said if part)
        if stands:
            st.caption(literal(stands[0].upper() + stands[1:]))
    if here.shown is not None and here.shown != (issue.id, issue.revision):
        last = acts.book.history(issue_id)[0]
        with st.container(horizontal=True, vertical_alignment="center", key="defence_changed"):
            st.warning(
                literal(f"{last.who or 'The stream'} {act_in_words(last, zone)}."),
                icon=":material/group:",
            )
            if st.button("Show it", key="defence_look"):
                st.rerun()


def _acts_bar(
    here: Desk,
    acts: IssueActs,
    issue: Issue,
    history: list[IssueAct],
    zone: tzinfo,
    folder: str,
) -> None:
    seen, is_open = issue.revision, issue.state is not IssueState.MERGED
    mine = issue.standing.assigned_to == acts.who
    last = last_to_take_back(history)
    with st.container(horizontal=True, gap="small", key="defence_acts"):
        st.button(
            "Mine" if mine else "Assign to me",
            icon=":material/person:",
            key="defence_mine",
            disabled=mine or not is_open,
            help="A",
            on_click=acts.assign,
            args=(issue.id, seen, acts.who),
        )
        if can_reopen(issue):
            st.button(
                "Reopen",
                icon=":material/undo:",
                key="defence_reopen",
                help="O",
                on_click=acts.reopen,
                args=(issue.id, seen),
            )
        st.menu_button(
            "Snooze",
            [name for name, *_ in SNOOZES],
            icon=":material/snooze:",
            key=_SNOOZE,
            disabled=not is_open,
            on_click=_snooze,
            args=(acts, issue.id, seen, zone),
        )
        if st.button(
            "Resolve",
            icon=":material/task_alt:",
            key="defence_resolve",
            disabled=not is_open or issue.state is IssueState.RESOLVED,
            help="X",
        ):
            resolve_dialog(acts, issue)
        st.button(
            "Undo",
            icon=":material/history:",
            key="defence_undo",
            disabled=last is None,
            help=f"U: takes back “{last.what}”" if last else "Nothing to take back",
            on_click=acts.undo,
            args=(issue.id,),
        )
        chosen = st.menu_button(
            "More",
            ["Rename", "Assign to …", "Merge", "Split"],
            icon=":material/more_horiz:",
            key="defence_more",
            disabled=not is_open,
        )
    if chosen == "Rename":
        rename_dialog(acts, issue)
    elif chosen == "Assign to …":
        assign_dialog(acts, issue)
    elif chosen == "Merge":
        merge_dialog(acts, issue)
    elif chosen == "Split":
        split_dialog(acts, issue, folder)


def _snooze(acts: IssueActs, issue_id: int, seen: int, zone: tzinfo) -> None:
    chosen = st.session_state.get(_SNOOZE)
    for name, minutes, said in SNOOZES:
        if name == chosen:
            acts.snooze(issue_id, seen, snoozed_until(minutes, zone), said)


def snoozed_until(minutes: int | None, zone: tzinfo) -> float:
    """Return the end of a snooze, in Unix seconds; without minutes, tomorrow at nine."""
    if minutes is None:
        return tomorrow_morning(datetime.now(zone))
    return time.time() + 60 * minutes


def _texts(issue: Issue) -> None:
    sighting = issue.sighting
    if not sighting.typical:
        st.caption("Its texts come with the stream’s next report.")
        return
    st.html(texts_as_html(sighting.typical[:_TEXTS_SHOWN], sighting.terms))
    if len(sighting.typical) > _TEXTS_SHOWN:
        with st.expander(f"{len(sighting.typical) - _TEXTS_SHOWN} more"):
            st.html(texts_as_html(sighting.typical[_TEXTS_SHOWN:], sighting.terms))


def _teach(shared: Services, acts: IssueActs, user: User, issue: Issue) -> None:
    with st.container(border=True, key="defence_teach"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown("**Teach the models**", width="stretch")
            if st.button(
                "Send to annotation", icon=":material/send:", key="defence_send", help="N"
            ):
                send_dialog(shared, acts, issue)
        answers = _shares(issue.sighting.intents)
        if answers:
            st.caption(literal(f"Answered today: {answers}"))
        repairs = shared.repairs
        states = {model: repairs.state(model) for model in issue.sighting.models if model}
        going_on = any(state is not None and state.running for state in states.values())
        if not states:
            st.caption("No model has answered these texts.")
        _models(repairs, issue, going_on)
        if states and is_engineer(user):
            with st.container(horizontal=True, gap="small"):
                for model in states:
                    if st.button(
                        f"Repair {model}",
                        icon=":material/build:",
                        key=f"defence_repair_{model}",
                        disabled=going_on,
                    ):
                        repair_dialog(acts, issue, repairs, model)
        elif states:
            st.caption("A repair of a model is started by an engineer.")


def _models(repairs: Repairs, issue: Issue, going_on: bool) -> None:
    # Only while something goes on there is something to look at.
    st.fragment(_model_lines, run_every=_REPAIR_REFRESH_S if going_on else None)(repairs, issue)


def _model_lines(repairs: Repairs, issue: Issue) -> None:
    total = sum(issue.sighting.models.values()) or 1
    for model, count in issue.sighting.models.items():
        if not model:
            continue
        state = repairs.state(model)
        said = f"**{literal(model)}** answered {count / total:.0%} of them."
        if state is not None:
            colour = "red" if state.failed else "blue" if state.running else "gray"
            said += f"  \n:{colour}[{literal(state.sentence)}]"
        st.markdown(said)


def _intents(shared: Services, issue: Issue) -> list[str]:
    """Return what the models can answer; what they answered to these texts first."""
    served = (shared.served_labels.of(model) for model in issue.sighting.models if model)
    answered = [name for name in issue.sighting.intents if name]
    return list(dict.fromkeys([*answered, *(name for names in served for name in names)]))


def _history(history: list[IssueAct], zone: tzinfo) -> None:
    with st.expander("History", icon=":material/history:", key="defence_history"):
        for act in history[:_HISTORY]:
            who = act.who or "The stream"
            st.caption(literal(f"{moment(act.at, zone)}  {who} {act_in_words(act, zone)}"))
        if len(history) > _HISTORY:
            st.caption(f"and {len(history) - _HISTORY} more before")


def _shares(counts: Mapping[str, int]) -> str:
    total = sum(counts.values()) or 1
    first = sorted(counts.items(), key=lambda one: -one[1])[:3]
    return ", ".join(f"{name or 'nothing'} {count / total:.0%}" for name, count in first)

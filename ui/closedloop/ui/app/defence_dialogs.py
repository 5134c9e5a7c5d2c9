"""What needs a question first: assign, rename, merge, split, resolve, send, repair.

A dialog stays open where its act was refused, with what was typed into it.
"""

from __future__ import annotations

import streamlit as st

from closedloop.core.errors import ClosedLoopError
from closedloop.data.lake import Lake
from closedloop.defence.issue_samples import send_samples
from closedloop.defence.issues.issue import Issue, IssueState
from closedloop.ui.app.defence_acts import REPAIR, SENT, IssueActs
from closedloop.ui.app.defence_desk import Notice
from closedloop.ui.app.defence_repairs import Repairs
from closedloop.ui.app.defence_traffic import groups, last_hour
from closedloop.ui.app.defence_words import headline
from closedloop.ui.app.markdown_text import literal
from closedloop.ui.app.services import Services, current_user, is_engineer

_REASONS = (
    "A rule answers it",
    "The cause is mended",
    "No problem: usual questions",
    "The models answer it well",
)
_MOST_SAMPLES = 200
_MOST_GROUPS = 40
_GROUPS_HEIGHT = 400  # pixels: the button below stays in sight


@st.dialog("Assign", icon=":material/person_add:")
def assign_dialog(acts: IssueActs, issue: Issue) -> None:
    """Give the issue to a person, or to nobody."""
    nobody = "(nobody)"
    names = [user.name for user in acts.identities.users() if not user.disabled]
    now = issue.standing.assigned_to
    options = [nobody, *names]
    to = st.selectbox(
        "To", options, index=options.index(now) if now in names else 0, key="defence_assign_to"
    )
    if st.button("Assign", type="primary", key="defence_assign_now"):
        acts.assign(issue.id, issue.revision, "" if to == nobody else to)
        _end(acts)


@st.dialog("Rename", icon=":material/edit:")
def rename_dialog(acts: IssueActs, issue: Issue) -> None:
    """Call the issue by other words."""
    title = st.text_input(
        "What it is about", value=issue.standing.title, max_chars=200, key="defence_rename_to"
    )
    st.caption(literal(f"Left empty, it is called by its keywords: {_keywords(issue)}"))
    if st.button("Rename", type="primary", key="defence_rename_now"):
        acts.rename(issue.id, issue.revision, title)
        _end(acts)


@st.dialog("Resolve", icon=":material/task_alt:")
def resolve_dialog(acts: IssueActs, issue: Issue) -> None:
    """Close the issue with a reason."""
    st.caption("It leaves the board, and comes back where it rises anew.")
    reason = st.selectbox(
        "Why",
        _REASONS,
        index=0,
        accept_new_options=True,
        key="defence_resolve_reason",
        help="Choose a reason, or type one.",
    )
    if st.button("Resolve", type="primary", key="defence_resolve_now"):
        acts.resolve(issue.id, issue.revision, reason or "")
        _end(acts)


@st.dialog("Merge into another issue", icon=":material/merge:")
def merge_dialog(acts: IssueActs, issue: Issue) -> None:
    """Let the issue count with another one."""
    others = [
        other
        for other in acts.book.board(
            tenant=issue.tenant, states=(IssueState.OPEN, IssueState.SNOOZED)
        )
        if other.id != issue.id
    ]
    if not others:
        st.info(f"There is no other issue of {literal(issue.tenant)}.", icon=":material/inbox:")
        return
    titles = {other.id: f"{headline(other)}  ·  {other.sighting.texts:,} texts" for other in others}
    into = st.selectbox(
        f"“{literal(headline(issue))}” counts with",
        list(titles),
        format_func=titles.__getitem__,
        key="defence_merge_into",
    )
    for one in next(other for other in others if other.id == into).sighting.typical[:3]:
        st.caption(literal(one.text))
    if st.button("Merge", type="primary", key="defence_merge_now"):
        acts.merge(issue.id, issue.revision, int(into))
        _end(acts)


@st.dialog("Split", icon=":material/call_split:", width="medium")
def split_dialog(acts: IssueActs, issue: Issue, folder: str) -> None:
    """Make some of the issue's groups of near-equal texts an issue of their own."""
    found = groups(issue, last_hour(folder, issue.tenant))
    if len(found) < 2:
        st.info(
            "The last hour has one kind of text of this issue only; there is nothing to split.",
            icon=":material/inbox:",
        )
        return
    st.caption("Choose what is something else. It becomes an issue of its own.")
    chosen = []
    with st.container(height=_GROUPS_HEIGHT, gap="xsmall"):
        for group in found[:_MOST_GROUPS]:
            said = f"{literal(group.typical)}  :gray[· {group.texts:,} texts]"
            if st.checkbox(said, key=f"defence_split_{issue.id}_{group.micro}"):
                chosen.append(group.micro)
    if len(found) > _MOST_GROUPS:
        st.caption(f"The {len(found) - _MOST_GROUPS} smallest groups stay.")
    if st.button("Split off", type="primary", key="defence_split_now", disabled=not chosen):
        acts.split(issue.id, issue.revision, chosen)
        _end(acts)


@st.dialog("Send to annotation", icon=":material/send:")
def send_dialog(shared: Services, acts: IssueActs, issue: Issue) -> None:
    """Queue the issue's texts for labelling."""
    models = affected_models(shared, issue)
    model = st.selectbox(
        "Model that the labels are for",
        models,
        index=0 if models else None,
        accept_new_options=True,
        placeholder=f"{issue.tenant}.intent.main",
        key="defence_send_model",
    )
    left, right = st.columns(2)
    there = len(issue.sighting.samples or issue.sighting.typical)
    most = left.number_input(
        "Texts at most",
        min_value=1,
        max_value=_MOST_SAMPLES,
        value=min(100, _MOST_SAMPLES),
        key="defence_send_most",
    )
    votes = right.number_input(
        "People a text", min_value=1, max_value=9, value=1, key="defence_send_votes"
    )
    st.caption(f"{there} texts of it are kept; equal ones are asked once, before other tasks.")
    if st.button("Send", type="primary", icon=":material/send:", key="defence_send_now"):
        try:
            done = send_samples(
                issue,
                Lake(shared.settings.lake_url),
                shared.route.queue(),
                model=model or "",
                most=int(most),
                votes_needed=int(votes),
            )
        except ClosedLoopError as error:
            st.error(literal(str(error)))
            return
        said = f"{done.sent:,} texts to {model}"
        known = f"; {done.known:,} were known already" if done.known else ""
        notice = Notice(said=f"Sent {said}{known}.", tasks=bool(done.sent))
        acts.note(issue.id, SENT, said, notice)
        _end(acts)


@st.dialog("Repair", icon=":material/build:")
def repair_dialog(acts: IssueActs, issue: Issue, repairs: Repairs, model: str) -> None:
    """Start a repair of a model."""
    st.markdown(
        f"A repair of **{literal(model)}** collects what users disliked, asks for labels on "
        "Annotate, trains, compares and releases. It runs on its own; how far it is, is shown here."
    )
    if st.button("Start the repair", type="primary", key="defence_repair_now"):
        user = current_user()
        if user is None or not is_engineer(user):
            return
        try:
            repairs.start(model)
        except ClosedLoopError as error:
            st.error(literal(str(error)))
            return
        acts.note(issue.id, REPAIR, model, Notice(said=f"A repair of {model} is starting."))
        _end(acts)


def affected_models(shared: Services, issue: Issue) -> list[str]:
    """Return the tenant's models, those first that answered most of the issue's texts."""
    answered = sorted(issue.sighting.models.items(), key=lambda one: -one[1])
    ours = f"{issue.tenant}."
    queues = [name for name in shared.route.queue().queues() if name.startswith(ours)]
    return list(dict.fromkeys([name for name, _ in answered if name.startswith(ours)] + queues))


def _keywords(issue: Issue) -> str:
    return " · ".join(issue.sighting.terms[:4])


def _end(acts: IssueActs) -> None:
    notice = acts.desk.notice
    if notice is not None and notice.problem:
        # Drawn anew, the page would close the dialog.
        acts.desk.notice, acts.desk.stale = None, False
        st.error(literal(notice.said))
        return
    st.rerun()

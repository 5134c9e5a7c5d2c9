"""The Annotate page: one task at a time, by keyboard."""

from __future__ import annotations

import time

import streamlit as st

from closedloop.core.errors import ClosedLoopError, EngineError
from closedloop.core.identity import User
from closedloop.samples.annotation import AnnotationQueue
from closedloop.samples.annotation_task import LeasedTask, PastVote, QueueCounts
from closedloop.ui.app.labels import known_labels
from closedloop.ui.app.markdown_text import literal
from closedloop.ui.app.services import Services, current_user, services
from closedloop.ui.app.task_card import Act, proposed_labels, read_act, task_card

_CARD = "task_card"
_QUEUE = "annotate_queue"  # the chosen one
_NOTICE = "annotate_notice"  # what the last act led to, shown once
_HELD = "annotate_lease"  # token of the task on the screen, given back on leaving
_HISTORY_LENGTH = 8
_LOOK_AGAIN_S = 3  # how often an idle page looks for new tasks
_RENEW_BELOW_S = 60.0  # a task shown anew with less than this left gets its full time again


def page() -> None:
    """Choose a queue and label its tasks."""
    user = current_user()
    if user is None:
        return
    st.title("Annotate", anchor=False)
    _work(services(), user)


@st.fragment
def _work(shared: Services, user: User) -> None:
    try:
        queue = shared.route.queue()
        counts = queue.queues()
        if not counts:
            _explain_no_queue()
            return
        name = _choose_queue(counts)
        task = _next_task(queue, user, name)
        now = queue.counts(name)
        _show_progress(now)
        left, right = st.columns([2.7, 1], gap="medium")
        history = queue.history(user.name, limit=_HISTORY_LENGTH)
        with left:
            _show_notice()
            if task is None:
                _explain_nothing_left(name, now)
            else:
                labels = _labels(shared, queue, name, task)
                task_card(task, labels, can_undo=bool(history), key=_CARD, on_act=_on_act)
        with right:
            _show_history(history)
    except EngineError as error:
        shared.route.lost(error)
        st.warning(literal(str(error)))
        st.button("Try again", icon=":material/refresh:")


def release_held_task(shared: Services) -> None:
    """Give back the task on the screen, so that a colleague need not wait for its lease."""
    token = st.session_state.pop(_HELD, None)
    if token is not None:
        shared.route.queue().release(token)


def _next_task(queue: AnnotationQueue, user: User, name: str) -> LeasedTask | None:
    leased = queue.lease(user.name, queue=name)
    if not leased:
        st.session_state.pop(_HELD, None)
        return None
    [task] = leased
    st.session_state[_HELD] = task.token
    if task.expires_at - time.time() < _RENEW_BELOW_S:
        queue.renew(task.token)
        [task] = queue.lease(user.name, queue=name)
    return task


def _on_act() -> None:
    user = current_user()
    act = read_act(st.session_state[_CARD].act)
    if user is not None and act is not None:
        _answer(user, act)


def _answer(user: User, act: Act) -> None:
    shared = services()
    try:
        try:
            _do(shared.route.queue(), user, act)
        except EngineError as error:
            shared.route.lost(error)
            if act.kind == "undo":
                raise  # "the last answer" may be another one by now; all else counts once
            _do(shared.route.queue(), user, act)
    except ClosedLoopError as error:
        st.session_state[_NOTICE] = str(error)


def _do(queue: AnnotationQueue, user: User, act: Act) -> None:
    if act.kind == "label":
        queue.submit([(act.token, act.label)])
    elif act.kind == "skip":
        queue.skip(act.token)
    elif act.kind == "renew":
        queue.renew(act.token)
    elif act.kind == "undo":
        _undo(queue, user, queue.history(user.name, limit=1)[0])


def _undo(queue: AnnotationQueue, user: User, past: PastVote) -> None:
    task = queue.undo(user.name, past.token)
    st.session_state[_QUEUE] = task.queue
    was = "the skip" if past.label is None else f"“{past.label}”"
    st.session_state[_NOTICE] = f"Taken back: {was}. The task is yours again."


def _undo_from_history(token: str) -> None:
    user = current_user()
    if user is None:
        return
    queue = services().route.queue()
    past = next((p for p in queue.history(user.name, limit=200) if p.token == token), None)
    try:
        if past is not None:
            _undo(queue, user, past)
    except ClosedLoopError as error:
        st.session_state[_NOTICE] = str(error)


def _labels(shared: Services, queue: AnnotationQueue, name: str, task: LeasedTask) -> list[str]:
    place = f"annotate_labels {name}"
    labels = known_labels(
        st.session_state.get(place, []),
        used=queue.label_names(name),
        served=shared.served_labels.of(name),
        proposed=proposed_labels(task),
    )
    st.session_state[place] = labels
    return labels


def _choose_queue(counts: dict[str, QueueCounts]) -> str:
    names = sorted(counts)
    kept = st.session_state.get(_QUEUE)
    if kept not in names:
        kept = max(names, key=lambda name: counts[name].open)
    if len(names) > 1:
        # No key: its options change with every label, and a keyed box would then jump back to
        # the first; the choice is kept apart.
        kept = st.selectbox(
            "Queue",
            names,
            index=names.index(kept),
            format_func=lambda name: f"{name}  ·  {counts[name].done} of {counts[name].total} done",
        )
    else:
        st.markdown(f"Queue **{literal(kept)}**")
    st.session_state[_QUEUE] = kept
    return kept


def _show_progress(counts: QueueCounts) -> None:
    parts = [f"{counts.done:,} of {counts.total:,} labelled", f"{counts.open:,} open"]
    if counts.leased:
        parts.append(f"{counts.leased:,} in somebody’s hands")
    if counts.set_aside:
        parts.append(f"{counts.set_aside:,} set aside")
    st.progress(counts.done / max(counts.total, 1), text=" · ".join(parts))


def _show_notice() -> None:
    notice = st.session_state.pop(_NOTICE, None)
    if notice:
        st.info(literal(notice), icon=":material/info:")


def _show_history(history: list[PastVote]) -> None:
    st.markdown("**My last answers**")
    if not history:
        st.caption("Nothing yet. Press **?** for the keys.")
    for past in history:
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            with st.container(gap=None):
                st.text(past.label or "skipped")
                st.caption(literal(_shortened(past.text)))
            st.button(
                "",
                key=f"undo_{past.token}",
                icon=":material/undo:",
                help="Take this answer back",
                on_click=_undo_from_history,
                args=(past.token,),
                type="tertiary",
            )


def _explain_no_queue() -> None:
    st.info(
        "There is nothing to label yet. Tasks come from a run: start one with `closedloop demo`, "
        "or `closedloop run cold-start --logs FILE --map text=COLUMN` on your own logs.",
        icon=":material/inbox:",
    )
    _wait_for_change(None, QueueCounts())


def _explain_nothing_left(name: str, counts: QueueCounts) -> None:
    shown = f"**{literal(name)}**"
    if counts.open or counts.leased:
        st.success(
            f"Nothing more for you in {shown} now. {counts.open + counts.leased:,} tasks are in "
            "other hands or wait for another person’s vote; this page goes on by itself when one "
            "comes back.",
            icon=":material/hourglass_empty:",
        )
    else:
        aside = ""
        if counts.set_aside:
            aside = f" {counts.set_aside:,} were skipped too often and set aside."
        st.success(
            f"{shown} is done: {counts.done:,} tasks labelled.{aside} The run goes on with them; "
            "new tasks appear here by themselves.",
            icon=":material/task_alt:",
        )
    _wait_for_change(name, counts)


@st.fragment(run_every=_LOOK_AGAIN_S)
def _wait_for_change(name: str | None, shown: QueueCounts) -> None:
    # Leases that ran out count as open again, so every reason to go on shows in the counts.
    if services().route.queue().counts(name) != shown:
        st.rerun()


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"

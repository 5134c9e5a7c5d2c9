"""The Overview page: where the loop stands, the last runs, and how the engines are."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

import streamlit as st

from closedloop.core.errors import ClosedLoopError
from closedloop.ui.app.health import Health, check_health
from closedloop.ui.app.loop_picture import show_loop
from closedloop.ui.app.markdown_text import literal
from closedloop.ui.app.services import services
from closedloop.ui.app.standing import (
    Station,
    accuracy_after,
    accuracy_before,
    count_votes,
    details_line,
    is_simulated,
    params_line,
    stations,
)
from closedloop.workflows.records import RunRecord

_REFRESH_S = 4
_HEALTH_TTL_S = 8
_STATE_ICON = {
    "done": ":material/check_circle:",
    "running": ":material/progress_activity:",
    "failed": ":material/error:",
}
_STATE_COLOUR: dict[str, Literal["green", "blue", "red"]] = {
    "done": "green",
    "running": "blue",
    "failed": "red",
}


def page() -> None:
    """Show the loop, live."""
    st.title("Overview", anchor=False)
    _live()


@st.fragment(run_every=_REFRESH_S)
def _live() -> None:
    # Only this part is drawn again: scrolling and opened runs keep their place.
    try:
        runs = services().runs.recent(limit=8)
        show_loop(_stations(runs))
    except ClosedLoopError as error:
        st.error(literal(str(error)))
        return
    left, right = st.columns([2.3, 1], gap="large")
    with left:
        _show_runs(runs)
    with right:
        _show_health(_health())


def _show_runs(runs: Sequence[RunRecord]) -> None:
    st.subheader("Last runs", anchor=False)
    if not runs:
        st.info(
            "The loop has not turned yet. `closedloop demo` runs it once on simulated traffic; "
            "`closedloop run cold-start --logs FILE --map text=COLUMN` runs it on your own logs.",
            icon=":material/play_circle:",
        )
        return
    for place, run in enumerate(runs):
        _show_run(run, opened=place == 0)


def _show_run(run: RunRecord, *, opened: bool) -> None:
    with st.container(border=True, key=f"run_{run.id}"):
        title, figure = st.columns([2.2, 1], vertical_alignment="center")
        with title, st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f"**{run.workflow}**", width="content")
            st.badge(
                run.state,
                icon=_STATE_ICON.get(run.state),
                color=_STATE_COLOUR.get(run.state, "gray"),
            )
            if is_simulated(run):
                st.badge("simulated annotators", icon=":material/smart_toy:", color="orange")
        title.caption(f"`{run.model}` · {_when(run.started_at)} · {_duration(run)}")
        with figure:
            _show_accuracy(run)
        if run.error:
            st.error(literal(run.error), icon=":material/error:")
        with st.expander("Stages", expanded=opened, key=f"stages_{run.id}"):
            _show_stages(run)


def _show_accuracy(run: RunRecord) -> None:
    before, after = accuracy_before(run), accuracy_after(run)
    if after is None:
        return
    change = None if before is None else f"{(after - before) * 100:+.1f} points"
    before_it = "" if before is None else f", was {before:.1%}"
    st.metric(f"held-out accuracy{before_it}", f"{after:.1%}", change)


def _show_stages(run: RunRecord) -> None:
    parameters = params_line(run.params)
    if parameters:
        st.caption(literal(parameters))
    if not run.stages:
        st.caption("No stage has begun yet.")
        return
    st.dataframe(
        [
            {
                "stage": stage.name,
                "state": stage.state,
                "rows": stage.rows,
                "seconds": round(stage.seconds, 1),
                "details": details_line(stage.details),
            }
            for stage in run.stages
        ],
        hide_index=True,
        width="stretch",
        column_config={
            "stage": st.column_config.TextColumn(width=130),
            "state": st.column_config.TextColumn(width=70),
            "rows": st.column_config.NumberColumn(format="localized", width=70),
            "seconds": st.column_config.NumberColumn(format="%.1f", width=70),
            "details": st.column_config.TextColumn(width="large"),
        },
    )


def _show_health(found: Sequence[Health]) -> None:
    st.subheader("Engines", anchor=False)
    for health in found:
        icon = ":green[:material/check_circle:]" if health.ok else ":red[:material/error:]"
        with st.container(key=f"health_{health.engine.lower()}", gap=None):
            st.markdown(f"{icon} **{health.engine}**")
            st.caption(literal(health.sentence))
            if health.remedy:
                st.caption(f"→ {literal(health.remedy)}")


@st.cache_data(ttl=_HEALTH_TTL_S, show_spinner=False)
def _health() -> list[Health]:
    shared = services()
    return check_health(shared.settings, shared.store, shared.route, shared.runs.recent(limit=8))


def _stations(runs: Sequence[RunRecord]) -> list[Station]:
    shared = services()
    events, turns, models = _sizes()
    return stations(
        runs,
        events=events,
        lake_rows=turns,
        queues=shared.route.queue().queues(),
        votes=count_votes(shared.store),
        models=models,
    )


@st.cache_data(ttl=_HEALTH_TTL_S, show_spinner=False)
def _sizes() -> tuple[int, int, int]:
    """Return how many events, lake turns and served models there are."""
    from closedloop.data.event_log.opening import open_event_log
    from closedloop.data.lake import Lake

    shared = services()
    log = open_event_log(shared.settings.event_log_url)
    try:
        events = log.size()
    finally:
        log.close()
    served = {run.model for run in shared.runs.recent(limit=200) if run.state == "done"}
    return events, Lake(shared.settings.lake_url).count("turns"), len(served)


def _when(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _duration(run: RunRecord) -> str:
    seconds = int((run.ended_at or time.time()) - run.started_at)
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min {seconds % 60} s"

"""The Explore page: multi-dimensional questions, down to the dialogues behind a figure."""

from __future__ import annotations

from datetime import date

import streamlit as st

from closedloop.core.errors import ClosedLoopError, NotFound
from closedloop.data.cube.cube import Cube
from closedloop.data.cube.filters import EVERYTHING, And, Filter
from closedloop.data.cube.query import MEASURES
from closedloop.ui.app.data_grid import GridAct
from closedloop.ui.app.explore_chart import chart
from closedloop.ui.app.explore_cube import opened_cube, suggestions
from closedloop.ui.app.explore_draft import Kind, kinds
from closedloop.ui.app.explore_filter import filter_form
from closedloop.ui.app.explore_filter_acts import load
from closedloop.ui.app.explore_pivot import Pivot, pivot
from closedloop.ui.app.explore_rows import close_rows, show_rows
from closedloop.ui.app.explore_slices import slice_bar
from closedloop.ui.app.explore_table import show_table, token_of
from closedloop.ui.app.explore_view import MAX_GROUPS, TOPS, View, from_params
from closedloop.ui.app.markdown_text import literal
from closedloop.ui.app.services import current_user, is_engineer, services
from closedloop.ui.filter_text import in_words

_VIEW = "explore_view"
_ANSWER = "explore_answer"  # the last table, so that opening a cell asks nothing again
_CELL = "explore_cell"
_PROBLEMS = "explore_link_problems"
_ROWS_ONLY = "(rows only)"
_STALE_TTL_S = 30


def page() -> None:
    """Ask the cube, and show what it answers."""
    user = current_user()
    if user is None or not is_engineer(user):
        return
    st.title("Explore", anchor=False)
    try:
        cube = opened_cube()
        days = cube.days
    except NotFound:
        days = ()
    except ClosedLoopError as error:
        st.error(literal(str(error)))
        return
    if not days:
        _explain_no_cube()
        return
    try:
        _explore(cube, days)
    except ClosedLoopError as error:
        st.error(literal(str(error)), icon=":material/error:")


def _explore(cube: Cube, days: tuple[str, ...]) -> None:
    fields = kinds(cube.declaration)
    view = _remembered(cube, days, fields)
    _say_state(cube, days)
    view = _controls(view, cube, days)
    version = cube.lake_version
    where = filter_form(fields, lambda field: suggestions(field, version))
    view = view.with_(where=where)
    st.session_state[_VIEW] = view
    if dict(st.query_params) != view.to_params():
        st.query_params.from_dict(view.to_params())
    slice_bar(services(), cube, view, fields)
    token = token_of(view, version)
    table = _answered(cube, view, token)
    _results(cube, view, table, token)


def _remembered(cube: Cube, days: tuple[str, ...], fields: dict[str, Kind]) -> View:
    """Return the session's view, or the one of the page's address."""
    if _VIEW not in st.session_state:
        view, problems = from_params(
            st.query_params.to_dict(), days=days, dimensions=cube.declaration.names
        )
        if view.where != EVERYTHING:
            try:
                load(view.where, fields)
            except ClosedLoopError as error:
                problems.append(str(error))
        st.session_state[_VIEW] = view
        st.session_state[_PROBLEMS] = problems
    problems = st.session_state.pop(_PROBLEMS, [])
    if problems:
        st.warning(
            "The link could not be read in full: " + literal("; ".join(problems)),
            icon=":material/link_off:",
        )
    view = st.session_state[_VIEW]
    # A refresh may have dropped the days of an old view.
    first, last = (min(max(day, days[0]), days[-1]) for day in view.period)
    return view.with_(first=first, last=last)


def _say_state(cube: Cube, days: tuple[str, ...]) -> None:
    said = f"{cube.rows:,} interactions from {days[0]} to {days[-1]} (UTC)"
    if _newest_version() != cube.lake_version:
        said += ". The lake has moved on since: `closedloop cube refresh` brings it in"
    st.caption(said + ".")


@st.cache_data(ttl=_STALE_TTL_S, show_spinner=False)
def _newest_version() -> int:
    return opened_cube().newest_lake_version


def _controls(view: View, cube: Cube, days: tuple[str, ...]) -> View:
    names = list(cube.declaration.names)
    first, last, by, measures = st.columns([1, 1, 2.2, 2.8], gap="small")
    with first:
        from_day = _day("From", "first", view.first, days)
    with last:
        to_day = _day("To", "last", view.last, days)
    chosen_by = by.multiselect(
        "Group by", names, key=_preset("by", list(view.by)), max_selections=MAX_GROUPS
    )
    chosen = measures.multiselect(
        "Measures",
        list(MEASURES),
        key=_preset("measures", list(view.measures)),
        format_func=lambda name: name,
        help="The first one orders the rows and is drawn. "
        + "; ".join(f"`{name}`: {said}" for name, said in MEASURES.items()),
    )
    _compose_across(view, chosen_by)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        across = st.selectbox(
            "Columns",
            [_ROWS_ONLY, *chosen_by],
            key="explore_across",
            help="A dimension whose values become columns, of the first measure.",
            width=180,
        )
        top = st.selectbox("Top", TOPS, key=_preset("top", view.top), width=100)
        compare = st.toggle(
            "Compare with the period before",
            key=_preset("compare", view.compare),
            help=f"From {view.before[0]} to {view.before[1]}",
        )
        fast = st.toggle(
            "Fast: sketches may answer",
            key=_preset("fast", not view.exact),
            help="Distinct users and latency quantiles may come from sketches, within 1.5 %.",
        )
    if from_day > to_day:
        st.warning("The period ends before it begins; the page shows its last day.")
        from_day = to_day
    return view.with_(
        first=from_day,
        last=to_day,
        by=tuple(chosen_by),
        across="" if across == _ROWS_ONLY else across,
        measures=tuple(chosen) or ("turns",),
        order=_order(view, chosen_by, chosen),
        top=top,
        compare=compare,
        exact=not fast,
    )


def _day(label: str, name: str, value: str, days: tuple[str, ...]) -> str:
    chosen = st.date_input(
        label,
        min_value=date.fromisoformat(days[0]),
        max_value=date.fromisoformat(days[-1]),
        key=_preset(name, date.fromisoformat(value)),
        format="YYYY-MM-DD",
    )
    return chosen.isoformat() if chosen else value


def _compose_across(view: View, chosen_by: list[str]) -> None:
    # Its options are the groups: a choice that is no group any more would be an error.
    kept = st.session_state.get("explore_across", view.across)
    st.session_state["explore_across"] = kept if kept in chosen_by else _ROWS_ONLY


def _order(view: View, by: list[str], measures: list[str]) -> str:
    known = view.order.removeprefix("-") in (*by, *measures)
    return view.order if known else ""


def _preset(name: str, value: object) -> str:
    """Return a widget's key, with its value set where the widget is new or was away."""
    key = f"explore_{name}"
    st.session_state.setdefault(key, value)
    return key


def _answered(cube: Cube, view: View, token: str) -> Pivot:
    kept: tuple[str, Pivot] | None = st.session_state.get(_ANSWER)
    if kept is not None and kept[0] == token:
        return kept[1]
    with st.spinner("Asking the cube …"):
        table = pivot(cube, view)
    st.session_state[_ANSWER] = (token, table)
    return table


def _results(cube: Cube, view: View, table: Pivot, token: str) -> None:
    _say_source(table)
    picture = chart(table, view)
    wide = len(table.columns) * (1.35 if view.compare else 1) + len(table.headings) > 7
    if wide or picture is None:
        left = right = st.container()
    else:
        left, right = st.columns([1.25, 1], gap="medium")
    cell = st.session_state.get(_CELL)
    opened = cell[1:] if cell is not None and cell[0] == token else None
    with left:
        show_table(
            table,
            view,
            token=token,
            opened=opened,
            on_act=lambda act: _acted(view, token, act),
        )
        _say_more(table, view, cube.days)
    if picture is not None:
        right.plotly_chart(picture, key="explore_chart", config={"displayModeBar": False})
    if opened is None:
        return
    where, said = _behind(table, view, opened)
    show_rows(cube, where, said, f"{token}-{opened[0]}-{opened[1]}")


def _acted(view: View, token: str, act: GridAct) -> None:
    if act.order:
        st.session_state[_VIEW] = view.with_(order=act.order)
    else:
        st.session_state[_CELL] = (token, act.row, act.column)
        close_rows()


def _behind(table: Pivot, view: View, opened: tuple[int, int]) -> tuple[Filter, str]:
    """Return what a cell selects, and that in words."""
    row, place = table.rows[opened[0]], opened[1] - len(table.headings)
    column = table.columns[place].where if place >= 0 else EVERYTHING
    where = view.in_period(view.period, row.where, column)
    parts = [part for part in (row.where, column) if part != EVERYTHING]
    if row.kind == "others":
        said = "everything that is not in the top"
        if column != EVERYTHING:
            said += f", {in_words(column)}"
    else:
        said = in_words(And(all_of=tuple(parts))) if parts else "everything that the filter selects"
    return where, f"{said}, {view.first} to {view.last}"


def _say_source(table: Pivot) -> None:
    plan = table.plan
    several = "" if table.queries == 1 else f", {table.queries} questions in all"
    errors = "".join(f" · {name} ±{error:.1%}" for name, error in table.errors.items())
    with st.expander(
        f"Answered by {plan.label} in {table.seconds * 1000:,.1f} ms{several}{errors}",
        icon=":material/bolt:",
        key="explore_plan",
    ):
        st.caption(
            f"{plan.days} days looked at. The rows came from this source:"
            if plan.days != 1
            else "One day looked at. The rows came from this source:"
        )
        st.code(str(plan), language=None)
        if table.errors:
            st.caption("± is half of the 95 % interval, as a share of the value.")


def _say_more(table: Pivot, view: View, days: tuple[str, ...]) -> None:
    said = ["Choose a figure (click, or arrow keys and Enter) to read the dialogues behind it."]
    if table.more_columns:
        said.append(f"Only {len(table.columns) - 1} values of {view.across} are shown as columns.")
    if view.compare:
        said.append(f"Compared with {view.before[0]} to {view.before[1]}.")
        if view.before[0] < days[0]:
            said.append(f"The cube begins on {days[0]}: the period before is not whole.")
    st.caption(literal(" ".join(said)))


def _explain_no_cube() -> None:
    st.info(
        "There is no cube yet. It is built over interactions, which the ETL makes of events:",
        icon=":material/deployed_code:",
    )
    st.code(
        "closedloop ingest FILE --map text=COLUMN\nclosedloop etl run\nclosedloop cube refresh",
        language="bash",
    )
    st.button("Look again", icon=":material/refresh:", key="explore_look_again")

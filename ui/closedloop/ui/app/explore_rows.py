"""What is behind a cell of the Explore page: its interactions, and the dialogue around one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import streamlit as st

from closedloop.data.cube.cube import Cube
from closedloop.data.cube.filters import And, Filter, In, Range
from closedloop.data.cube.query import Query
from closedloop.ui.app.data_grid import GridCell, GridColumn, GridRow, data_grid, read_act
from closedloop.ui.app.markdown_text import literal

_GRID = "explore_rows_grid"
_PAGE = "explore_rows_page"
_OPEN = "explore_rows_open"  # the interaction whose dialogue is shown
_PER_PAGE = 15
_DIALOGUE_TURNS = 100
_SIGNS = {
    "rephrased": "said again",
    "handover": "asked for a human",
    "abandoned": "gave up",
    "low_confidence": "unsure",
}
_COLUMNS = ("when (UTC)", "text", "answer", "confidence", "signs", "channel", "tenant")


def close_rows() -> None:
    """Forget the page and the open dialogue: another cell was chosen."""
    st.session_state.pop(_PAGE, None)
    st.session_state.pop(_OPEN, None)


@st.fragment
def show_rows(cube: Cube, where: Filter, said: str, token: str) -> None:
    """Show the interactions of a cell, the latest first, and the dialogue of the chosen one.

    Parameters
    ----------
    said : str
        The cell in words.
    token : str
        Changes with the cell.
    """
    page = st.session_state.get(_PAGE, 0)
    with st.spinner("Reading the dialogues …"):
        turns = cube.query(Query(where=where)).rows["turns"].item()
        rows = cube.interactions(where, limit=_PER_PAGE, offset=page * _PER_PAGE).to_dicts()
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.subheader("Dialogues", anchor=False, width="content")
        st.markdown(
            f"{turns:,} {'turn' if turns == 1 else 'turns'}: {literal(said)}", width="stretch"
        )
        _pager(page, turns)
    if not rows:
        st.info("No turn is behind this cell.", icon=":material/search_off:")
        return
    place = f"{token}-{page}"

    def heard() -> None:
        act = read_act(
            st.session_state[_GRID].act, token=place, columns=len(_COLUMNS), rows=len(rows)
        )
        if act is not None:
            st.session_state[_OPEN] = rows[act.row]["event_id"]

    opened = st.session_state.get(_OPEN)
    data_grid(
        [
            GridColumn(title=name, number=name == "confidence", wraps=name == "text")
            for name in _COLUMNS
        ],
        [_row(row, chosen=row["event_id"] == opened) for row in rows],
        label="Turns behind the cell",
        token=place,
        key=_GRID,
        on_act=heard,
    )
    chosen = next((row for row in rows if row["event_id"] == opened), None)
    if chosen is None:
        st.caption("Choose a turn to read its whole dialogue.")
    else:
        _show_dialogue(cube, chosen)


def dialogue_filter(row: Mapping[str, Any]) -> Filter:
    """Return the filter of an interaction's whole dialogue.

    A dialogue may run over midnight, and no further: only the days around are read.
    """
    at: datetime = row["ts"]
    first, last = ((at + timedelta(days=days)).strftime("%Y-%m-%d") for days in (-1, 1))
    return And(
        all_of=(
            Range(field="day", low=first, high=last),
            In(field="tenant", values=(row["tenant"],)),
            In(field="dialogue_id", values=(row["dialogue_id"],)),
        )
    )


def _pager(page: int, turns: int) -> None:
    last = max(0, (turns - 1) // _PER_PAGE)
    first_row = page * _PER_PAGE + 1
    st.caption(
        f"{min(first_row, turns):,}–{min(first_row + _PER_PAGE - 1, turns):,}", width="content"
    )
    for name, icon, to in (
        ("Newer", "chevron_left", page - 1),
        ("Older", "chevron_right", page + 1),
    ):
        st.button(
            name,
            icon=f":material/{icon}:",
            key=f"explore_rows_{name}",
            disabled=not 0 <= to <= last,
            on_click=_turn_to,
            args=(to,),
        )


def _turn_to(page: int) -> None:
    st.session_state[_PAGE] = page
    st.session_state.pop(_OPEN, None)


def _show_dialogue(cube: Cube, chosen: Mapping[str, Any]) -> None:
    if chosen["dialogue_id"] is None:
        turns = [chosen]
    else:
        found = cube.interactions(dialogue_filter(chosen), limit=_DIALOGUE_TURNS).to_dicts()
        turns = sorted(found, key=lambda row: (row["ts"], row["turn"] or 0))
    with st.container(border=True, key="explore_dialogue", gap="small"):
        st.markdown(
            f"**Dialogue {literal(str(chosen['dialogue_id'] or '(without id)'))}** · "
            f"{_counted(len(turns))} · {literal(str(chosen['tenant']))} · "
            f"{literal(str(chosen['channel'] or 'no channel'))}"
        )
        for row in turns:
            here = row["event_id"] == chosen["event_id"]
            with st.container(gap=None):
                arrow = ":material/arrow_right:" if here else ":material/person:"
                st.markdown(f"{arrow} {literal(str(row['text'] or ''))}")
                st.caption(literal(_said_of(row)))


def _said_of(row: Mapping[str, Any]) -> str:
    answer = row["intent"] or "no answer"
    sure = "" if row["confidence"] is None else f" ({row['confidence']:.2f})"
    by = f", {row['model']} version {row['model_version']}" if row["model"] else ""
    signs = _signs(row)
    return f"{row['ts']:%Y-%m-%d %H:%M:%S} · answered {answer}{sure}{by}" + (
        f" · {signs}" if signs else ""
    )


def _row(row: Mapping[str, Any], *, chosen: bool) -> GridRow:
    confidence = "–" if row["confidence"] is None else f"{row['confidence']:.2f}"
    texts = (
        f"{row['ts']:%Y-%m-%d %H:%M}",
        str(row["text"] or ""),
        str(row["intent"] or "–"),
        confidence,
        _signs(row),
        str(row["channel"] or "–"),
        str(row["tenant"]),
    )
    cells = tuple(GridCell(text=text, leads=True) for text in texts)
    return GridRow(cells=cells, kind="chosen" if chosen else "")


def _counted(turns: int) -> str:
    return "1 turn" if turns == 1 else f"{turns:,} turns"


def _signs(row: Mapping[str, Any]) -> str:
    signs = [said for name, said in _SIGNS.items() if row[name]]
    if row["feedback"]:
        signs.insert(0, f"thumb {row['feedback']}")
    return ", ".join(signs)

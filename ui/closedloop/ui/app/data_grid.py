"""A table in the browser whose cells can be opened by mouse and by keyboard.

Streamlit's own table is a canvas: a screen reader and the Tab key find no cell in it. This one
is an HTML table that arrow keys walk through. It is drawn by ``data_grid.js``; Python hears of
acts only. An act names the token of the table that was on the screen, so that a click on a table
that has changed meanwhile opens nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

_HERE = Path(__file__).parent


@dataclass(frozen=True, kw_only=True, slots=True)
class GridColumn:
    """A column; one with an ``order`` has a heading that can be clicked."""

    title: str
    number: bool = False
    wraps: bool = False  # long text may take several lines
    order: str | None = None  # what a click on the heading asks for
    sorted: str = ""  # ascending, descending
    help: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class GridCell:
    """A cell's text, with a second line below it."""

    text: str
    change: str = ""
    title: str = ""  # of the second line
    shade: float = 0.0  # from 0 to 1
    leads: bool = False  # whether it can be opened
    chosen: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class GridRow:
    """A row; its kind is a class of the style sheet."""

    cells: tuple[GridCell, ...]
    kind: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class GridAct:
    """What somebody did on the table: opened a cell, or asked for an order."""

    row: int = -1
    column: int = -1
    order: str = ""


def data_grid(
    columns: Sequence[GridColumn],
    rows: Sequence[GridRow],
    *,
    label: str,
    token: str,
    key: str,
    on_act: Callable[[], None],
) -> None:
    """Show a table; ``on_act`` runs when `read_act` has something to read.

    Parameters
    ----------
    label : str
        Its name for screen readers.
    token : str
        Changes with what the table shows.
    """
    data = {
        "label": label,
        "token": token,
        "columns": [asdict(column) for column in columns],
        "rows": [asdict(row) for row in rows],
    }
    _component()(key=key, data=data, on_act_change=on_act)


def read_act(value: object, *, token: str, columns: int, rows: int) -> GridAct | None:
    """Return what a browser sent; None where it is of no use or about another table.

    Examples
    --------
    >>> sent = {"kind": "cell", "row": 1, "column": 0, "token": "t"}
    >>> read_act(sent, token="t", columns=2, rows=3)
    GridAct(row=1, column=0, order='')
    >>> read_act(sent, token="another", columns=2, rows=3)
    """
    if not isinstance(value, Mapping) or value.get("token") != token:
        return None
    if value.get("kind") == "order":
        return GridAct(order=str(value.get("order", "")))
    row, column = value.get("row"), value.get("column")
    if not isinstance(row, int | float) or not isinstance(column, int | float):
        return None
    if not (0 <= row < rows and 0 <= column < columns):
        return None
    return GridAct(row=int(row), column=int(column))


@cache
def _component() -> Any:
    read = {part: (_HERE / f"data_grid.{part}").read_text("utf-8") for part in ("css", "js")}
    return st.components.v2.component("closedloop_data_grid", css=read["css"], js=read["js"])

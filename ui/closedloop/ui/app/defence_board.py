"""The board of issues in the browser: what it shows, and what a person does on it.

It is drawn by ``defence_board.js``, so that arrow keys, the keys of the frequent acts and the
ages of issues need no server; Python hears of acts only. An act names the issue and the revision
that were on the screen, so that nobody acts on what he has not seen.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

from closedloop.defence.issues.issue import Issue, IssueState
from closedloop.defence.issues.issue_book import IssueBook
from closedloop.ui.app.defence_words import board_row

_HERE = Path(__file__).parent
_KINDS = ("choose", "assign", "snooze15", "snooze60", "snooze9", "undo", "reopen")
CLOSED_S = 7 * 86_400.0
_MOST_KEPT = 32  # different filters of all sessions


@dataclass(frozen=True, kw_only=True, slots=True)
class BoardAct:
    """What somebody did on the board: chose an issue, or one of the acts that have a key."""

    kind: str
    issue: int
    revision: int


class BoardSnapshots:
    """The board as all sessions see it: read and written out once for each change.

    Parameters
    ----------
    book : IssueBook
    """

    def __init__(self, book: IssueBook) -> None:
        self._book = book
        self._lock = threading.Lock()
        self._kept: dict[tuple[str | None, tuple[IssueState, ...]], Snapshot] = {}
        self._issues: tuple[int, dict[int, Issue]] = (-1, {})  # of a change

    def get(self, tenant: str | None, states: Sequence[IssueState]) -> Snapshot:
        """Return the issues of a tenant (None: of all) in these states, the hottest first.

        Resolved and merged ones are those of the last week.
        """
        key = (tenant, tuple(states))
        sequence = self._book.sequence()
        with self._lock:
            kept = self._kept.get(key)
        if kept is not None and kept.sequence == sequence:
            return kept
        issues = self._book.board(
            tenant=tenant, states=tuple(states), closed_since=time.time() - CLOSED_S
        )
        rows = [board_row(issue) for issue in issues]
        read = Snapshot(sequence=sequence, issues=tuple(issues), rows=rows)
        with self._lock:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            self._kept[key] = read
        return read

    def issue(self, issue_id: int) -> Issue:
        """Return an issue with its samples; raises NotFound where there is none."""
        sequence = self._book.sequence()
        with self._lock:
            at, known = self._issues
            if at == sequence and issue_id in known:
                return known[issue_id]
        found = self._book.get(issue_id)
        with self._lock:
            at, known = self._issues
            self._issues = (sequence, {**(known if at == sequence else {}), issue_id: found})
        return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """The board at a change."""

    sequence: int
    issues: tuple[Issue, ...]
    rows: list[dict[str, Any]]


def issue_board(
    rows: Sequence[Mapping[str, Any]],
    *,
    chosen: int | None,
    chosen_revision: int = 0,
    me: str,
    key: str,
    on_act: Callable[[], None],
) -> None:
    """Show the board; ``on_act`` runs when `read_act` has something to read.

    Parameters
    ----------
    rows : sequence of mapping
        As `board_row` makes them.
    chosen : int, optional
        The issue that is looked at.
    chosen_revision : int
        Its revision as it is looked at, for acts on one that left the board.
    me : str
        Who looks; his own issues are marked.
    """
    data = {"rows": list(rows), "chosen": chosen, "revision": chosen_revision, "me": me}
    _component()(key=key, data=data, on_act_change=on_act)


def read_act(value: object) -> BoardAct | None:
    """Return what a browser sent; None where it is of no use.

    Examples
    --------
    >>> read_act({"kind": "choose", "issue": 3, "revision": 1})
    BoardAct(kind='choose', issue=3, revision=1)
    >>> read_act({"kind": "drop table", "issue": 3, "revision": 1})
    """
    if not isinstance(value, Mapping) or value.get("kind") not in _KINDS:
        return None
    issue, revision = value.get("issue"), value.get("revision")
    if not isinstance(issue, int | float) or not isinstance(revision, int | float):
        return None
    return BoardAct(kind=str(value["kind"]), issue=int(issue), revision=int(revision))


@cache
def _component() -> Any:
    read = {part: (_HERE / f"defence_board.{part}").read_text("utf-8") for part in ("css", "js")}
    return st.components.v2.component("closedloop_defence_board", css=read["css"], js=read["js"])

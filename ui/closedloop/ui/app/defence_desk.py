"""What one person has before him on the Defence page, between two runs of the page."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import streamlit as st

_DESK = "defence_desk"


@dataclass(frozen=True, kw_only=True, slots=True)
class Notice:
    """What the last act led to; shown once."""

    said: str
    problem: bool = False
    # The issue whose last act an "Undo" beside it takes back.
    undo: int | None = None
    # Leads to the tasks that it made.
    tasks: bool = False


@dataclass(slots=True)
class Desk:
    """One object, changed in place.

    Every access to the session's state is a place where the next act of a person may end this
    one; so acts are given the desk, and touch the session no more.
    """

    chosen: int | None = None
    notice: Notice | None = None
    # The page beside the board is to be drawn again.
    stale: bool = False
    # Revision of the chosen issue as the page beside the board shows it.
    shown: tuple[int, int] | None = None
    # Where an own act moved an issue from a revision: (issue, revision before) → after.
    own: dict[tuple[int, int], int] = field(default_factory=dict)
    # What was written into forms, by issue and field: widgets that go forget it.
    drafts: dict[tuple[int, str], Any] = field(default_factory=dict)
    # How often a form was filled anew by issue; its widgets are new ones then.
    fillings: dict[int, int] = field(default_factory=dict)

    def choose(self, issue_id: int | None) -> None:
        """Look at another issue."""
        if issue_id != self.chosen:
            self.chosen, self.shown, self.stale = issue_id, None, True

    def fill(self, issue_id: int, name: str, value: object) -> None:
        """Write something into a form in a person's stead."""
        self.drafts[issue_id, name] = value
        self.fillings[issue_id] = self.fillings.get(issue_id, 0) + 1

    def form_key(self, issue_id: int, name: str) -> str:
        """Return the key of a form's widget."""
        return f"defence_{name}_{issue_id}_{self.fillings.get(issue_id, 0)}"

    def tell(self, notice: Notice) -> None:
        """Show what came of an act."""
        self.notice, self.stale = notice, True

    def revision(self, issue_id: int, seen: int) -> int:
        """Return the revision to act on for one who saw ``seen``: his own acts are no surprise."""
        while (issue_id, seen) in self.own:
            seen = self.own[issue_id, seen]
        return seen

    def moved(self, issue_id: int, before: int, after: int) -> None:
        """Remember that an own act changed an issue."""
        if after > before:
            self.own[issue_id, before] = after


def desk() -> Desk:
    """Return this session's desk."""
    kept: Desk = st.session_state.setdefault(_DESK, Desk())
    return kept

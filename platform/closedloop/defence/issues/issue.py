"""An issue: something that many ask at once, as the board shows it, and what people did with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from closedloop.defence.issues.sighting import Sighting


class IssueState(StrEnum):
    """Where an issue stands."""

    OPEN = "open"
    SNOOZED = "snoozed"  # back on the board where it still rises after that time
    RESOLVED = "resolved"  # back on the board where it rises anew
    MERGED = "merged"  # its texts count with another issue's


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """What people decide of an issue; acts change it, and can be taken back."""

    state: IssueState = IssueState.OPEN
    title: str = ""  # empty: its terms
    assigned_to: str = ""
    snoozed_until: float | None = None  # Unix seconds
    reason: str = ""  # why it is resolved
    merged_into: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Issue:
    """An issue as of now."""

    id: int
    tenant: str
    standing: Standing
    opened_at: float  # Unix seconds
    changed_at: float  # by a person, or by opening
    # Grows with each act; a person's act names the one that he looked at.
    revision: int
    sighting: Sighting

    @property
    def state(self) -> IssueState:
        """Where it stands."""
        return self.standing.state

    @property
    def title(self) -> str:
        """What it is called: a person's words, else its strongest terms."""
        return self.standing.title or " · ".join(self.sighting.terms[:4]) or f"issue {self.id}"


@dataclass(frozen=True, kw_only=True, slots=True)
class IssueAct:
    """Something that was done with an issue; `who` is empty for the stream itself."""

    id: int
    issue_id: int
    at: float  # Unix seconds
    who: str
    # opened, reopened, joined: the stream; snoozed, assigned, renamed, resolved, merged, split,
    # undone: people; anything else: a note of what was done because of it.
    what: str
    details: Mapping[str, Any]

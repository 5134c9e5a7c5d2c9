"""An alert: what one receiver is told of one issue, and how far that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from closedloop.defence.issues.issue import Issue

_MOST_SUBJECT_CHARS = 150


class AlertKind(StrEnum):
    """Why an alert is sent."""

    OPENED = "opened"  # the issue came onto the board
    REOPENED = "reopened"  # it rises again after somebody had closed it
    ESCALATED = "escalated"  # ten times as many texts a minute as when it was told, or a hundred
    TEST = "test"  # somebody wants to see whether alerts arrive


class AlertState(StrEnum):
    """How far an alert is."""

    WAITING = "waiting"
    SENT = "sent"
    FAILED = "failed"  # given up; the alert says why


@dataclass(frozen=True, kw_only=True, slots=True)
class Alert:
    """What one receiver is told of one issue."""

    id: str  # UUID, the same in each attempt: receivers know by it what they have had already
    issue_id: int
    kind: AlertKind
    # Which of its openings, and of its escalations.
    occasion: str
    sink: str
    tenant: str
    content: Mapping[str, Any]  # what is told, as JSON
    state: AlertState
    attempts: int
    due_at: float  # of the next attempt, Unix seconds
    problem: str | None  # of the last attempt
    created_at: float
    ended_at: float | None

    def to_json(self) -> dict[str, Any]:
        """Return what is sent, ready for JSON."""
        return {"id": self.id, "kind": self.kind.value, "tenant": self.tenant, **self.content}

    @property
    def subject(self) -> str:
        """What is told, in one line."""
        issue = self.content.get("issue")
        if issue is None:
            return "Closedloop: a test of alerts"
        rate, expected = issue["rate_per_min"], issue["expected_per_min"]
        said = f"[{self.tenant}] {self.kind.value}: {issue['title']}"
        said = " ".join(said.split())[:_MOST_SUBJECT_CHARS]  # a line feed would begin a header
        return f"{said} ({rate:.0f} texts a minute, {expected:.1f} expected)"

    @property
    def body(self) -> str:
        """What is told, for a person to read."""
        issue = self.content.get("issue")
        if issue is None:
            return "This is a test. Nothing has happened."
        share = issue["bad_share"]
        lines = [
            self.subject,
            "",
            f"Began:     {_time(issue['began_at'])}",
            f"Texts:     {issue['texts']:,} since then",
            f"Terms:     {', '.join(issue['terms'])}",
            f"Channels:  {_counts(issue['channels'])}",
            f"Models:    {_counts(issue['models'])}",
            f"Feedback:  {'none' if share is None else f'{share:.0%} thumbs down'}",
        ]
        texts = self.content["texts"]
        if texts:
            lines += ["", "What people say (personal data is masked):", *(f"- {t}" for t in texts)]
        if self.content["link"]:
            lines += ["", self.content["link"]]
        return "\n".join(lines)


def content_of(issue: Issue, *, texts: int, link: str = "") -> dict[str, Any]:
    """Return what is told of an issue.

    Parameters
    ----------
    texts : int
        How many of its typical texts, which are masked.
    link : str
        Address of the board.
    """
    seen = issue.sighting
    return {
        "issue": {
            "id": issue.id,
            "title": issue.title,
            "opened_at": issue.opened_at,
            "began_at": seen.began_at,
            "texts": seen.texts,
            "rate_per_min": seen.rate_per_min,
            "expected_per_min": seen.expected_per_min,
            "surprise": seen.surprise,
            "bad_share": seen.bad_share,
            "novelty": seen.novelty,
            "terms": list(seen.terms),
            "channels": dict(seen.channels),
            "models": dict(seen.models),
        },
        "texts": [typical.text for typical in seen.typical[:texts]],
        "link": link,
    }


def _time(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"


def _counts(counts: Mapping[str, int]) -> str:
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:5]
    return ", ".join(f"{name or '(none)'} {count:,}" for name, count in most) or "unknown"

"""What goes through the annotation queue: tasks, leased tasks, labels, and how a queue stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class NewTask:
    """A sample to be labelled."""

    sample_id: str  # the turn's event id; one task a sample and queue
    text: str
    reason: str = ""  # why the platform asks for this one
    suggestion: str | None = None  # what the champion would answer
    priority: float = 0.0  # higher is asked for first
    details: dict[str, Any] = field(default_factory=dict)  # cluster, keywords, dialogue …


@dataclass(frozen=True, kw_only=True, slots=True)
class LeasedTask:
    """A task in an annotator's hands until ``expires_at`` (Unix seconds)."""

    token: str
    task_id: int
    queue: str
    sample_id: str
    text: str
    reason: str
    suggestion: str | None
    details: dict[str, Any]
    expires_at: float


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueCounts:
    """How a queue stands, in tasks; the four states exclude each other."""

    open: int = 0  # waiting for an annotator
    leased: int = 0  # in somebody's hands
    done: int = 0
    set_aside: int = 0  # skipped too often

    @property
    def total(self) -> int:
        """All tasks of the queue."""
        return self.open + self.leased + self.done + self.set_aside


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledSample:
    """A finished task with the label that its votes agree on."""

    sample_id: str
    text: str
    label: str
    votes: int
    agreement: float  # share of votes for the label, in (0, 1]
    simulated: bool  # whether any vote came from simulated annotators


@dataclass(frozen=True, kw_only=True, slots=True)
class PastVote:
    """One of an annotator's own answers, for the history and for undo."""

    token: str
    task_id: int
    text: str
    label: str | None  # None: skipped
    submitted_at: float

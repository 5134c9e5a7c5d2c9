"""What alerts are sent through: one method, and one way to fail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from closedloop.core.errors import EngineError
from closedloop.defence.alerts.alert import Alert
from closedloop.defence.issues.issue import Issue


class NotDelivered(EngineError):
    """A receiver did not take an alert.

    Parameters
    ----------
    is_final : bool
        Trying again would change nothing.
    retry_after_s : float
        The least time that the receiver asks to be left alone.
    """

    def __init__(
        self,
        message: str,
        *,
        remedy: str = "",
        is_final: bool = False,
        retry_after_s: float = 0.0,
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.is_final = is_final
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (self.message, self.remedy, self.is_final, self.retry_after_s)


def _rebuild(message: str, remedy: str, is_final: bool, retry_after_s: float) -> NotDelivered:
    return NotDelivered(message, remedy=remedy, is_final=is_final, retry_after_s=retry_after_s)


class Sink(Protocol):
    """A way out of the platform."""

    @property
    def address(self) -> str:
        """Where alerts go, without a secret: for people to see."""

    def send(self, alert: Alert) -> None:
        """Send an alert; raises NotDelivered."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Receiver:
    """Who is told, of what, and how."""

    name: str
    sink: Sink
    tenants: tuple[str, ...] = ()  # none: every one's
    least_surprise: float = 0.0  # −log10 of the probability under the baseline
    least_texts: int = 0  # since the issue began
    texts: int = 3  # typical texts that are sent along; they are masked

    def wants(self, issue: Issue) -> bool:
        """Tell whether it is told of an issue."""
        return (
            (not self.tenants or issue.tenant in self.tenants)
            and issue.sighting.surprise >= self.least_surprise
            and issue.sighting.texts >= self.least_texts
        )

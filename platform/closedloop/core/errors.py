"""What can go wrong, as one tree.

::

    ClosedLoopError                exit  HTTP
    ├── InputError                    2   422   the caller's data or arguments; final
    │   ├── LogFileError              2   422   a file of dialogue logs cannot be read
    │   └── TooFewLabels              2   422   not enough labels or classes to train
    ├── NotFound                      3   404   a model, run, task or user that does not exist
    ├── NotAllowed                    4   401   missing, wrong or expired credentials
    │   └── OutOfScope                4   403   valid credentials that do not reach so far
    ├── Conflict                      5   409   lost lease, taken port, a run already going
    ├── ReleaseRefused                6   409   the challenger is worse than the champion
    ├── Overloaded                    7   429   retry after a moment; retryable
    ├── EngineError                   8   503   Ray, Spark, the store or the lake failed; retryable
    └── Tampered                      9   500   a record that only grows was changed

An error says what was wrong with which input (``message``) and what to do about it
(``remedy``). Both travel with the exception through pickle, because Ray moves exceptions
between processes.
"""

from __future__ import annotations

from typing import ClassVar


class ClosedLoopError(Exception):
    """The root of every error that closedloop raises on purpose.

    Parameters
    ----------
    message : str
        What was wrong, naming the input.
    remedy : str
        What the reader can do about it, as an instruction.
    """

    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.message, self.remedy)


def _rebuild(kind: type[ClosedLoopError], message: str, remedy: str) -> ClosedLoopError:
    return kind(message, remedy=remedy)


class InputError(ClosedLoopError):
    """The caller's data or arguments are wrong; trying again changes nothing."""

    exit_code = 2
    http_status = 422


class LogFileError(InputError):
    """A file of dialogue logs cannot be read at all."""


class TooFewLabels(InputError):
    """There are not enough labels, or not enough classes, to train or evaluate a model."""


class NotFound(ClosedLoopError):
    """The named model, run, task or user does not exist."""

    exit_code = 3
    http_status = 404


class NotAllowed(ClosedLoopError):
    """The credentials are missing, wrong, expired or without the needed role."""

    exit_code = 4
    http_status = 401


class OutOfScope(NotAllowed):
    """The credentials are valid, and what is asked is not among what they may do."""

    http_status = 403


class Conflict(ClosedLoopError):
    """Somebody else holds what this call needs: a lease, a port, a running workflow."""

    exit_code = 5
    http_status = 409


class ReleaseRefused(ClosedLoopError):
    """Joint evaluation found the challenger worse than the champion."""

    exit_code = 6
    http_status = 409


class Overloaded(ClosedLoopError):
    """There is more work than the platform takes on; the same call works a moment later.

    Parameters
    ----------
    retry_after_s : float
        How long the moment is, in seconds.
    """

    exit_code = 7
    http_status = 429
    retryable = True

    def __init__(self, message: str, *, remedy: str = "", retry_after_s: float = 1.0) -> None:
        super().__init__(message, remedy=remedy)
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild_overloaded, (type(self), self.message, self.remedy, self.retry_after_s)


def _rebuild_overloaded(
    kind: type[Overloaded], message: str, remedy: str, retry_after_s: float
) -> Overloaded:
    return kind(message, remedy=remedy, retry_after_s=retry_after_s)


class EngineError(ClosedLoopError):
    """Ray, Spark, the metadata store, the event log or the lake failed."""

    exit_code = 8
    http_status = 503
    retryable = True


class Tampered(ClosedLoopError):
    """A record that may only grow, such as the audit trail, was changed or lost a part."""

    exit_code = 9


def last_line(error: BaseException) -> str:
    """Return the last line of an error's text: what an error of another process was in the end."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def first_line(error: BaseException) -> str:
    """Return what an engine's error says in one line; theirs may run to pages."""
    return (str(error).splitlines() or [type(error).__name__])[0]

"""Errors as a client reads them: one body for all, its code, status and headers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from closedloop.core.errors import (
    ClosedLoopError,
    Conflict,
    InputError,
    NotAllowed,
    NotFound,
    Overloaded,
)
from closedloop.serve.admission.deadline import TimedOut
from closedloop.serve.stamp import IdempotencyMismatch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NO_OBJECT = "Input should be an object"
_RETRY_AFTER_S = 1.0
_CODES: tuple[tuple[type[ClosedLoopError], str], ...] = (
    (IdempotencyMismatch, "idempotency_mismatch"),
    (InputError, "invalid_request"),
    (NotFound, "not_found"),
    (NotAllowed, "not_allowed"),
    (Conflict, "conflict"),
    (Overloaded, "overloaded"),
    (TimedOut, "timeout"),
)


class TooLarge(InputError):
    """A body is larger than the limit."""

    http_status = 413


def error_body(
    code: str, message: str, remedy: str, fields: list[dict[str, str]] | None = None
) -> dict[str, Any]:
    """Return the body of an answer that is not 2xx."""
    error: dict[str, Any] = {"code": code, "message": message, "remedy": remedy}
    if fields is not None:
        error["fields"] = fields
    return {"error": error}


def invalid_body(problems: Sequence[Mapping[str, Any]], *, what: str = "request") -> dict[str, Any]:
    """Say which fields of a body are wrong and how, without sending their content back.

    Parameters
    ----------
    problems : sequence of mapping
        As pydantic tells them: ``loc`` from the body's root, ``msg``.
    what : str
        What is wrong, in a person's word.
    """
    fields = [
        {
            "field": printable(".".join(str(part) for part in problem["loc"]) or "body"),
            "problem": str(problem["msg"]).removeprefix("Value error, "),
        }
        for problem in problems
    ]
    return error_body(
        "invalid_request",
        f"The {what} is wrong at {fields[0]['field']}: {fields[0]['problem']}.",
        "Correct the fields listed; /docs describes the body.",
        fields,
    )


def printable(text: str) -> str:
    """Return text that any client can show: at most 200 characters, no lone surrogate."""
    return text[:200].encode("utf-8", "replace").decode()


def error_answer(error: ClosedLoopError) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Return the status, body and headers that tell a client of an error."""
    if isinstance(error, TooLarge):
        code = "too_large"
    else:
        code = next((name for kind, name in _CODES if isinstance(error, kind)), "unavailable")
    status = error.http_status if error.http_status != 500 else 503
    headers = {}
    if status in (429, 503):
        wait_s = error.retry_after_s if isinstance(error, Overloaded) else _RETRY_AFTER_S
        headers["retry-after"] = str(max(1, math.ceil(wait_s)))
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    return status, error_body(code, error.message, error.remedy), headers

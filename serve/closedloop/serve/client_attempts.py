"""When a call is tried again, and what is raised when it is not. No I/O.

::

    ApiError                     a ClosedLoopError with ``status`` and ``code``
    ├── ApiInputError    413 422   also an InputError
    ├── ApiNotFound      404       also a NotFound
    ├── ApiNotAllowed    401 403   also a NotAllowed
    ├── ApiConflict      409       also a Conflict
    ├── ApiOverloaded    429       also an Overloaded
    └── ApiUnavailable   the rest  also an EngineError

Tried again are connections that fail, 429, 502, 503, 504, and a 404 or 500 that is not the
service's own: a proxy's word for a replica that died, or that it has not heard of any yet. Pauses
grow to 2 s and are drawn from zero to their length (full jitter), so that clients that were refused
together do not return together. What bounds a call is its deadline: 30 s, which is longer than a
replica, HAProxy or Serve's own proxy take to come back.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from closedloop.core.errors import (
    ClosedLoopError,
    Conflict,
    EngineError,
    InputError,
    NotAllowed,
    NotFound,
    Overloaded,
)
from closedloop.serve.client_calls import Call, T

_BACKOFF_S = 0.1
_MAX_BACKOFF_S = 2.0
_MAX_RETRY_AFTER_S = 20.0
_AGAIN = frozenset({429, 502, 503, 504})
_AGAIN_OF_PROXY = frozenset({404, 500})


class ApiError(ClosedLoopError):
    """A call that got no answer.

    Parameters
    ----------
    message, remedy : str
        In the service's own words, where it gave any.
    code : str
        The service's code; ``unreachable`` without an answer, ``unknown`` for one not its own.
    status : int or None
        Of HTTP; None without an answer.
    """

    def __init__(
        self, message: str, *, remedy: str = "", code: str = "unknown", status: int | None = None
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.code = code
        self.status = status

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.message, self.remedy, self.code, self.status)


def _rebuild(
    kind: type[ApiError], message: str, remedy: str, code: str, status: int | None
) -> ApiError:
    return kind(message, remedy=remedy, code=code, status=status)


class ApiInputError(ApiError, InputError):
    """The service refused what was sent; trying again changes nothing."""


class ApiNotFound(ApiError, NotFound):
    """There is no such model or prediction for this key."""


class ApiNotAllowed(ApiError, NotAllowed):
    """The key is missing or not valid."""


class ApiConflict(ApiError, Conflict):
    """The service is in a state that does not allow the call."""


class ApiOverloaded(ApiError, Overloaded):
    """The service is busy, still after the last attempt."""


class ApiUnavailable(ApiError, EngineError):
    """The service is away or failed, still after the last attempt."""


_KINDS: dict[int, type[ApiError]] = {
    401: ApiNotAllowed,
    403: ApiNotAllowed,
    404: ApiNotFound,
    409: ApiConflict,
    413: ApiInputError,
    422: ApiInputError,
    429: ApiOverloaded,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """An attempt that failed."""

    error: ApiError
    again: bool
    least_s: float = 0.0  # the service's wish


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How long a client tries.

    Parameters
    ----------
    timeout_s : float
        For each wait of one attempt: to connect, to send, for the next bytes.
    attempts : int or None
        At most; None for as many as the deadline allows.
    deadline_s : float
        For all attempts and the pauses between them.
    """

    timeout_s: float = 10.0
    attempts: int | None = None
    deadline_s: float = 30.0


class Attempts:
    """The attempts of one call."""

    def __init__(
        self,
        patience: Patience,
        *,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._patience = patience
        self._clock = clock
        self._draw = draw
        self._ends_at = clock() + patience.deadline_s
        self._made = 0

    @property
    def left_s(self) -> float:
        """Seconds to the deadline."""
        return max(0.001, self._ends_at - self._clock())

    def request(self, call: Call[Any]) -> dict[str, Any]:
        """Begin an attempt; return httpx's arguments for it."""
        self._made += 1
        return {
            "method": call.method,
            "url": call.path,
            "content": call.body,
            "headers": call.headers,
            "timeout": min(self._patience.timeout_s, self.left_s),
        }

    def pause_s(self, failure: Failure) -> float:
        """Return how long to wait before the next attempt.

        Raises
        ------
        ApiError
            That of the failure: there will be no other attempt.
        """
        if not failure.again or self._made == self._patience.attempts:
            raise failure.error
        longest_s = min(_MAX_BACKOFF_S, _BACKOFF_S * 2 ** min(self._made, 10))
        pause_s = failure.least_s + self._draw(0, longest_s)
        if pause_s >= self._ends_at - self._clock():
            raise failure.error
        return pause_s


def read(call: Call[T], response: httpx.Response) -> T:
    """Read a 2xx answer.

    Raises
    ------
    ApiUnavailable
        It is no answer of closedloop's API.
    """
    try:
        return call.read(response.text)
    except (ValueError, KeyError, TypeError) as fault:
        raise ApiUnavailable(
            f"{response.url} answered, but not as closedloop's API does.",
            remedy="Check the address, and that client and service have the same version.",
            status=response.status_code,
        ) from fault


def refusal(response: httpx.Response) -> Failure:
    """Return the failure that an answer other than 2xx tells."""
    status = response.status_code
    kind = _KINDS.get(status, ApiUnavailable)
    try:
        told = response.json()["error"]
        error = kind(told["message"], remedy=told["remedy"], code=told["code"], status=status)
        ours = True
    except (ValueError, KeyError, TypeError):
        # A proxy's words, or Ray Serve's own while a replica is replaced.
        error = kind(
            f"The service answered {status} {response.reason_phrase}.",
            remedy="Check that the address is that of closedloop's API, then try again.",
            status=status,
        )
        ours = False
    again = status in _AGAIN or (status in _AGAIN_OF_PROXY and not ours)
    return Failure(error=error, again=again, least_s=_retry_after_s(response))


def no_answer(base_url: object, fault: Exception) -> Failure:
    """Return the failure of a connection."""
    if isinstance(fault, (httpx.InvalidURL, httpx.UnsupportedProtocol)):
        wrong = ApiInputError(
            f"{base_url} is no address of a service: {fault}",
            remedy="Write it as http://HOST:PORT.",
            code="unreachable",
        )
        return Failure(error=wrong, again=False)
    error = ApiUnavailable(
        f"The service at {base_url} did not answer: {fault or type(fault).__name__}",
        remedy="Check the address and that 'closedloop up' runs there.",
        code="unreachable",
    )
    return Failure(error=error, again=True)


def _retry_after_s(response: httpx.Response) -> float:
    told = response.headers.get("retry-after", "0")
    try:
        seconds = float(told)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(told) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return 0.0
    return min(_MAX_RETRY_AFTER_S, max(0.0, seconds))

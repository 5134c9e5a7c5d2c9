"""How long a request may take."""

from __future__ import annotations

import asyncio
from types import TracebackType

from closedloop.core.errors import EngineError


class TimedOut(EngineError):
    """A request took too long; what it was to change may have been changed."""

    http_status = 504


class Deadline:
    """Async context manager that gives up what is awaited inside after some time.

    Parameters
    ----------
    seconds : float or None
        None gives it any time.

    Raises
    ------
    TimedOut
        The time is over.
    """

    __slots__ = ("_limit", "_seconds")

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._limit = asyncio.timeout(seconds)

    async def __aenter__(self) -> None:
        await self._limit.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self._limit.__aexit__(kind, error, trace)
        except TimeoutError:  # its own; any other passes by
            raise TimedOut(
                f"The request was not answered within {self._seconds:g} s.",
                remedy="Send it again after a moment, with fewer texts or events in one request.",
            ) from None

"""How long a request may take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from closedloop.core.errors import EngineError


class TimedOut(EngineError):
    """A request took too long; what it was to change may have been changed."""

    http_status = 504


@asynccontextmanager
async def deadline(seconds: float | None) -> AsyncIterator[None]:
    """Give up what is awaited inside after some time; None gives it any time.

    Raises
    ------
    TimedOut
        The time is over.
    """
    try:
        async with asyncio.timeout(seconds) as limit:
            yield
    except TimeoutError:
        if seconds is None or not limit.expired():
            raise
        raise TimedOut(
            f"The request was not answered within {seconds:g} s.",
            remedy="Send it again after a moment, with fewer texts or events in one request.",
        ) from None

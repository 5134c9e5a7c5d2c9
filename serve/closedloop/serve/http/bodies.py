"""Bodies of requests that are refused: read to their end, so that the refusal arrives.

A server that closes a connection on unread bytes resets it, and the client loses the answer that
was on its way.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Receive

_MAX_BYTES = 64 * 1_048_576  # who sends more is cut off
_MAX_S = 10.0


async def drain(receive: Receive) -> None:
    """Read what a client still sends and forget it, within limits of bytes and time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_MAX_S):
            left = _MAX_BYTES
            while left > 0:
                message = await receive()
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
                left -= len(message.get("body", b""))

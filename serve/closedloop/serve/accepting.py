"""Takes many new connections a turn of the event loop, where libuv takes one.

Since version 1.45 libuv, which is uvloop's core, accepts one connection each time its loop turns.
The loop of a replica that answers sixty requests a turn turns some fifteen times a second: of
several hundred clients that come at once, a few dozen would be answered again and again, and the
others wait for many seconds to be heard at all. So a server listens on its socket with several
handles, and each accepts one.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

HANDLES = 32


@contextmanager
def accept_many(loop: asyncio.AbstractEventLoop, *, handles: int = HANDLES) -> Iterator[None]:
    """Give each server that the loop makes of a socket so many handles, until the end."""
    create = loop.create_server
    others: list[asyncio.AbstractServer] = []

    async def create_server(
        protocol: Any, *where: Any, sock: socket.socket | None = None, **more: Any
    ) -> asyncio.Server:
        server = await create(protocol, *where, sock=sock, **more)
        for _ in range(handles - 1 if sock is not None else 0):
            others.append(await create(protocol, sock=sock.dup(), **more))  # type: ignore[union-attr]
        return server

    # Ray Serve makes the replica's server itself, and hands out neither it nor its protocol.
    loop.create_server = create_server  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        loop.create_server = create  # type: ignore[method-assign]
        for server in others:
            server.close()

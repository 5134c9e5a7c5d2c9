"""How many connections a turn of uvloop's event loop takes."""

import asyncio
import socket

import pytest

from closedloop.serve.accepting import accept_many

uvloop = pytest.importorskip("uvloop")

CLIENTS = 20
TURNS = 5


class Counting(asyncio.Protocol):
    """Counts who came."""

    def __init__(self, came):
        self._came = came

    def connection_made(self, transport):
        self._came.append(transport)

    def connection_lost(self, fault):
        self._came.pop()


@pytest.fixture
def loop():
    loop = uvloop.new_event_loop()
    yield loop
    loop.close()


def listening():
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(CLIENTS)
    return sock


async def came_in_few_turns(loop, sock):
    """Return how many of those who wait at the door are in after few turns of the loop."""
    came = []
    server = await loop.create_server(lambda: Counting(came), sock=sock)
    # The kernel takes them all at once; no turn of the loop passes.
    clients = [socket.create_connection(sock.getsockname()) for _ in range(CLIENTS)]
    for _ in range(TURNS):
        await asyncio.sleep(0)
    found = len(came)
    for client in clients:
        client.close()
    while came:
        await asyncio.sleep(0)
    server.close()
    return found


def test_all_who_come_at_once_are_heard_within_few_turns(loop):
    with accept_many(loop):
        assert loop.run_until_complete(came_in_few_turns(loop, listening())) == CLIENTS


def test_afterwards_the_loop_is_as_it_was(loop):
    """It also says what `accept_many` is for: with one handle, most of them wait."""
    sock = listening()
    with accept_many(loop):
        loop.run_until_complete(came_in_few_turns(loop, sock.dup()))
    assert loop.run_until_complete(came_in_few_turns(loop, sock)) <= TURNS + 1

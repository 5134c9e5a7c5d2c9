"""Answers to calls with an idempotency key, kept for whoever sends the same call again."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from closedloop.serve.stamp import IdempotencyMismatch

if TYPE_CHECKING:
    from starlette.types import Message, Send

_ENTRY_BYTES = 500  # about what an entry takes besides its answer


@dataclass(kw_only=True, slots=True)
class Recorded:
    """An answer as it went over the wire."""

    start: Message = field(default_factory=dict)
    body: bytes = b""

    async def record(self, message: Message) -> None:
        """Take a message of ASGI in the place of a client."""
        if message["type"] == "http.response.start":
            self.start = message
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")

    async def send_to(self, send: Send) -> None:
        """Give the answer to a client."""
        await send(self.start)
        await send({"type": "http.response.body", "body": self.body})

    @property
    def succeeded(self) -> bool:
        """Whether the call had an effect: what was refused may be tried again."""
        return 200 <= self.start.get("status", 500) < 300


@dataclass(kw_only=True, slots=True, eq=False)
class _Entry:
    digest: str
    ends_at: float
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    answer: Recorded | None = None

    @property
    def size_bytes(self) -> int:
        return _ENTRY_BYTES + (len(self.answer.body) if self.answer else 0)


class Replays:
    """One replica's memory of answers, bounded by bytes and by age.

    Parameters
    ----------
    max_bytes : int
        Of all answers; the oldest go first.
    keep_s : float
        How long an answer is kept.
    """

    def __init__(
        self,
        *,
        max_bytes: int = 32 << 20,
        keep_s: float = 3_600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_bytes = max_bytes
        self._keep_s = keep_s
        self._clock = clock
        self._entries: OrderedDict[tuple[str, ...], _Entry] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        """Return how many calls are remembered."""
        return len(self._entries)

    async def once(
        self, name: tuple[str, ...], digest: str, answer: Callable[[], Awaitable[Recorded]]
    ) -> Recorded:
        """Return the answer that a call had, or answer it.

        A call that comes while its first attempt is being answered waits for that.

        Parameters
        ----------
        name : tuple of str
            Names the call: API key and idempotency key.
        digest : str
            Of the request.
        answer : callable
            Answers it.

        Raises
        ------
        IdempotencyMismatch
            The key was used for another request.
        """
        self._forget()
        while (entry := self._entries.get(name)) is not None:
            if entry.digest != digest:
                raise IdempotencyMismatch
            if entry.answer is not None:
                return entry.answer
            await entry.answered.wait()  # after a failure, one of those who waited tries
        entry = _Entry(digest=digest, ends_at=self._clock() + self._keep_s)
        self._entries[name] = entry
        self._bytes += entry.size_bytes
        try:
            answered = await answer()
        except BaseException:
            self._drop(name)
            raise
        else:
            self._drop(name)
            if answered.succeeded:
                entry.answer = answered
                self._entries[name] = entry
                self._bytes += entry.size_bytes
            return answered
        finally:
            entry.answered.set()

    def _drop(self, name: tuple[str, ...]) -> None:
        self._bytes -= self._entries.pop(name).size_bytes

    def _forget(self) -> None:
        """Let go of what is too old, and of the oldest where there is too much."""
        now = self._clock()
        for name in list(self._oldest(now)):
            self._drop(name)

    def _oldest(self, now: float) -> list[tuple[str, ...]]:
        going, left = [], self._bytes
        for name, entry in self._entries.items():
            if entry.ends_at > now and left <= self._max_bytes:
                break
            if entry.answer is not None:  # one that is being answered ends by itself
                going.append(name)
                left -= entry.size_bytes
        return going

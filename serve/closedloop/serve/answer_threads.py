"""Where a request's work is done: at once where it is short, in a thread where it is long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_T = TypeVar("_T")

# Below this, handing work to a thread costs more than it holds the other requests up.
INLINE_CHARACTERS = 2_000


class AnswerThreads:
    """Two threads, so that a batch of long texts does not hold up the one behind it."""

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(2, thread_name_prefix=name)

    async def run(self, texts: Sequence[str], work: Callable[[], _T]) -> _T:
        """Return what ``work`` returns; how long it takes follows from the texts."""
        if sum(map(len, texts)) <= INLINE_CHARACTERS:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        """End the threads once they are done."""
        self._pool.shutdown(wait=True)

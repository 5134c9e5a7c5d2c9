"""Processes that take batches of rows through the door, so that more than one core does it.

A worker has a pipe of its own and one batch at a time. It ends when its pipe does, also where
the process that started it was killed.
"""

from __future__ import annotations

import gc
import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection
from typing import Any, Self

from closedloop.core.errors import EngineError

_COLLECT_OBJECTS = 50_000

Take = Callable[[Any], Any]


class Door:
    """Takes batches through the door in this process.

    Parameters
    ----------
    take : callable
        Takes one batch.
    """

    def __init__(self, take: Take) -> None:
        self._take = take

    def through(self, batches: Iterable[list[Any]]) -> Iterator[tuple[list[Any], list[Any]]]:
        """Yield each batch with what became of it, in order."""
        for batch in batches:
            yield batch, self._take(batch)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class DoorWorkers(Door):
    """Takes batches through the door in other processes, several at a time.

    Parameters
    ----------
    workers : int
        How many processes, at least 1.
    take : callable
        Takes one packed batch and returns the packed outcome; picklable.
    pack, unpack : callable
        Make of a batch, and of an outcome, what travels fast: plain tuples, lists, strings.
    """

    def __init__(
        self,
        workers: int,
        take: Take,
        *,
        pack: Callable[[list[Any]], Any] = lambda batch: batch,
        unpack: Callable[[Any], list[Any]] = lambda made: made,
    ) -> None:
        super().__init__(take)
        self._pack = pack
        self._unpack = unpack
        # A forked copy of a process with threads (Ray, Kafka) may hang; a new one does not.
        context = multiprocessing.get_context("spawn")
        self._free: deque[Connection] = deque()
        self._processes = []
        for _ in range(workers):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, take), daemon=True)
            process.start()
            theirs.close()
            self._free.append(ours)
            self._processes.append(process)
        self._pipes = tuple(self._free)

    def through(self, batches: Iterable[list[Any]]) -> Iterator[tuple[list[Any], list[Any]]]:
        """Yield each batch with what became of it, in order.

        Raises
        ------
        EngineError
            A worker died.
        """
        busy: deque[tuple[Connection, list[Any]]] = deque()
        try:
            for batch in batches:
                if not self._free:
                    yield self._settle(busy)
                pipe = self._free.popleft()
                pipe.send(self._pack(batch))
                busy.append((pipe, batch))
            while busy:
                yield self._settle(busy)
        except (EOFError, OSError) as error:
            raise EngineError(
                "A process that reads rows has died.",
                remedy="Check the memory of this machine, then load the same file again.",
            ) from error

    def _settle(self, busy: deque[tuple[Connection, list[Any]]]) -> tuple[list[Any], list[Any]]:
        pipe, batch = busy.popleft()
        made = pipe.recv()
        self._free.append(pipe)
        if isinstance(made, Exception):
            raise made
        return batch, self._unpack(made)

    def __exit__(self, *_: object) -> None:
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join()


def _work(pipe: Connection, take: Take) -> None:
    """Serve one pipe until its other end is closed."""
    gc.set_threshold(_COLLECT_OBJECTS)
    while True:
        try:
            batch = pipe.recv()
        except (EOFError, OSError, KeyboardInterrupt):
            return
        try:
            made: Any = take(batch)
        except Exception as error:
            made = error
        try:
            pipe.send(made)
        except OSError:
            return

"""Threads in which the versions of a trial are asked, each with a time limit.

A question always comes to an outcome: the version's, or that it took too long, or that there was
no place. Python cannot end a thread that hangs, so it is given up: its pool is replaced, and the
version is known to hang until it comes back. Whoever asks does not ask it again before that, so
that a version never costs more than one thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from closedloop.serve.model_host import Model
from closedloop.serve.trials.counts import TrialKey
from closedloop.serve.trials.outcome import Outcome, Side, ask_safely

# A request may hold a megabyte of text; up to this the limit is as it was set, then it grows.
_USUAL_CHARACTERS = 100_000
_BUSY = Outcome(problem="not asked: the replica was busy")
_ENDED = Outcome(problem="not asked: the replica ended")


@dataclass(frozen=True, slots=True)
class Asked:
    """One of the two versions of a trial."""

    key: TrialKey
    side: Side


def _pending() -> Future[Outcome]:
    future: Future[Outcome] = Future()
    future.set_running_or_notify_cancel()  # a client that goes away does not cancel it
    return future


@dataclass(kw_only=True, slots=True, eq=False)
class Question:
    """Masked texts for one version; the outcome always comes."""

    asked: Asked
    model: Model
    texts: Sequence[str]
    limit_s: float
    asked_at: float
    began_at: float | None = None  # in its thread
    outcome: Future[Outcome] = field(default_factory=_pending)


class TrialThreads:
    """A few threads, and a bounded number of questions before them.

    Parameters
    ----------
    name : str
        Of the threads.
    threads : int
        How many questions are answered at a time.
    places : int
        How many may wait or be answered; more are told that the replica is busy.
    limit_s : float
        How long a version may take for a request of up to 100,000 characters; in proportion
        for a longer one.
    """

    def __init__(
        self,
        name: str,
        *,
        threads: int,
        places: int,
        limit_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._threads = threads
        self._places = places
        self._limit_s = limit_s
        self._clock = clock
        self._changing = threading.Lock()
        self._open: set[Question] = set()  # without an outcome
        self._hanging: set[Question] = set()  # out of time, and still in their threads
        self._closed = False
        self._pool = self._new_pool()

    def ask(
        self, asked: Asked, model: Model, texts: Sequence[str], *, instead: Outcome | None = None
    ) -> Question:
        """Have a version asked in a thread, unless its outcome is known already (``instead``)."""
        question = Question(
            asked=asked,
            model=model,
            texts=texts,
            limit_s=self._limit_s * max(1, sum(map(len, texts)) / _USUAL_CHARACTERS),
            asked_at=self._clock(),
        )
        with self._changing:
            if instead is None and self._closed:
                instead = _ENDED
            elif instead is None and len(self._open) >= self._places:
                instead = _BUSY
            if instead is None:
                self._open.add(question)
                self._pool.submit(self._work, question)
        if instead is not None:
            question.outcome.set_result(instead)
        return question

    def hangs(self, asked: Asked) -> bool:
        """Tell whether a version has not come back from a question that ran out of time."""
        if not self._hanging:
            return False
        with self._changing:
            return any(question.asked == asked for question in self._hanging)

    def give_up(self, question: Question) -> None:
        """End a question that is out of time, unless its outcome has come."""
        lost = None
        outcome = _BUSY
        with self._changing:
            if question not in self._open:
                return
            self._open.remove(question)
            if question.began_at is not None:
                outcome = Outcome(problem=f"no answer within {question.limit_s:g} s", error=True)
                self._hanging.add(question)
                lost, self._pool = self._pool, self._new_pool()
        if lost is not None:
            lost.shutdown(wait=False)  # its other questions may still be answered
        question.outcome.set_result(outcome)

    def sweep(self) -> None:
        """Give up what is out of time; called now and then, as nobody may wait for an outcome."""
        now = self._clock()
        with self._changing:
            waiting = list(self._open)
        for question in waiting:
            since = question.asked_at if question.began_at is None else question.began_at
            if now - since > question.limit_s:
                self.give_up(question)

    def close(self) -> None:
        """End every question; a thread that hangs is left to the end of the process."""
        with self._changing:
            self._closed = True
            waiting = list(self._open)
            self._open.clear()
        self._pool.shutdown(wait=False, cancel_futures=True)
        for question in waiting:
            question.outcome.set_result(_ENDED)

    def _work(self, question: Question) -> None:
        with self._changing:
            if question not in self._open:
                return
            question.began_at = self._clock()
        outcome = ask_safely(question.model, question.texts)
        with self._changing:
            self._hanging.discard(question)
            in_time = question in self._open
            self._open.discard(question)
        if in_time:
            question.outcome.set_result(outcome)

    def _new_pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._threads, thread_name_prefix=self._name)

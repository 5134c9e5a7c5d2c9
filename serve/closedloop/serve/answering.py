"""Asks models so that none of them, and no tenant, holds up another.

A few texts are answered on the event loop where the model's time is bounded by the texts' length
and nothing is held against it (`breaker`); everything else in threads that tenants share fairly
(`fair_pool`).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from closedloop.core.errors import Overloaded
from closedloop.models.model_version import Champion
from closedloop.models.prediction import Prediction
from closedloop.serve.admission.breaker import BreakerLimits, Breakers, Standing
from closedloop.serve.admission.deadline import TimedOut
from closedloop.serve.admission.fair_pool import FairPool, Job
from closedloop.serve.answer_threads import INLINE_CHARACTERS
from closedloop.serve.model_host import Model

T = TypeVar("T")
# A tenant's batches and slow models have two of them at most.
_THREADS = 3
_THREADS_PER_TENANT = 2
_APART = 8  # requests at a time to a model that answers apart


class Asked(NamedTuple):
    """What asking a model gave: masked texts and their answers, or what it raised."""

    masked: list[str]
    answers: Sequence[Prediction] = ()
    seconds: float = 0.0  # that the model took
    error: Exception | None = None


class Answering:
    """One replica's way to its models; for one thread, the event loop's.

    Parameters
    ----------
    mask : callable
        Replaces personal data in a text.
    limits : BreakerLimits, optional
        When a model is answered apart or refused.
    """

    def __init__(self, mask: Callable[[str], str], *, limits: BreakerLimits | None = None) -> None:
        self._mask = mask
        self._breakers = Breakers(limits)
        self._threads = FairPool(threads=_THREADS, per_tenant=_THREADS_PER_TENANT, name="answer")
        self._apart: Counter[str] = Counter()

    def problem(self, champion: Champion) -> str | None:
        """Return why a model is refused or answers apart, None where nothing is wrong."""
        return self._breakers.problem(champion)

    def close(self) -> None:
        """End the threads."""
        self._threads.close()

    async def run(self, tenant: str, work: Callable[[], T]) -> T:
        """Do a tenant's work in one of the threads."""
        done: T = await asyncio.wrap_future(self._threads.submit(tenant, work).future)
        return done

    async def ask(self, champion: Champion, model: Model, texts: Sequence[str]) -> Asked:
        """Have texts answered where the model may be asked, and judge it by that.

        Raises
        ------
        EngineError
            The model fails too often, and is not asked for a while.
        TimedOut
            It hangs.
        Overloaded
            It is slow, and too many wait for it.
        Exception
            Whatever it raises itself.
        """
        characters = sum(map(len, texts))
        standing = self._breakers.standing(champion)
        if (
            standing is Standing.TRUSTED  # a model that does not say so may take any time
            and characters <= INLINE_CHARACTERS
            and getattr(model, "linear_time", False)
        ):
            asked = self._answer(model, texts)
        elif standing is Standing.TRUSTED:
            asked = await self._ask_in_thread(champion, model, texts, characters)
        else:
            asked = await self._ask_apart(champion, model, texts, characters)
        if asked.error is not None:
            self._breakers.failed(champion)
            raise asked.error
        self._breakers.answered(champion, seconds=asked.seconds, characters=characters)
        return asked

    async def _ask_apart(
        self, champion: Champion, model: Model, texts: Sequence[str], characters: int
    ) -> Asked:
        name = str(champion.ref)
        if self._apart[name] >= _APART:
            raise Overloaded(
                f"{name!r} answers slowly, and {_APART} requests wait for it.",
                remedy="Send the request again after the seconds named in Retry-After.",
            )
        self._apart[name] += 1
        try:
            return await self._ask_in_thread(champion, model, texts, characters)
        finally:
            self._apart[name] -= 1

    async def _ask_in_thread(
        self, champion: Champion, model: Model, texts: Sequence[str], characters: int
    ) -> Asked:
        job = self._threads.submit(champion.ref.tenant, lambda: self._answer(model, texts))
        hang_s = self._breakers.hang_s(characters)
        answer = asyncio.wrap_future(job.future)
        try:
            while True:
                # The time in the queue is not the model's.
                wait_s = max(0.001, hang_s - self._threads.running_s(job))
                done, _ = await asyncio.wait({answer}, timeout=wait_s)
                if done:
                    return answer.result()
                if self._threads.running_s(job) >= hang_s:
                    self._give_up(champion, job)
                    raise TimedOut(
                        f"Version {champion.version} of {str(champion.ref)!r} has not answered"
                        f" within {hang_s:g} s.",
                        remedy="Send fewer texts, or release a version that answers.",
                    )
        except asyncio.CancelledError:
            job.future.cancel()
            self._breakers.gone(champion)
            raise

    def _give_up(self, champion: Champion, job: Job) -> None:
        self._breakers.hung(champion, job.future)
        self._threads.write_off(job)

    def _answer(self, model: Model, texts: Sequence[str]) -> Asked:
        masked = [self._mask(text) for text in texts]
        started = time.perf_counter()
        try:
            answers = model.predict_many(masked)
        except Exception as error:  # whatever a model raises is told of it, and to the client
            return Asked(masked=masked, error=error)
        return Asked(masked=masked, answers=answers, seconds=time.perf_counter() - started)

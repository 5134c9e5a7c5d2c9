"""Answers texts: mask, score, log each answer as an event.

Texts are masked before the model sees them, because that is what it was trained on, and so
that nothing behind the door ever holds personal data.

A few texts are answered on the event loop where the model's time is bounded by the texts' length
and nothing is held against it (`breaker`); everything else in threads that tenants share fairly
(`fair_pool`).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from closedloop.core.errors import EngineError, NotFound, Overloaded
from closedloop.core.identity import ApiKey
from closedloop.data.event import Event
from closedloop.models.prediction import Prediction
from closedloop.models.registry import Champion
from closedloop.serve.answer_events import prediction_events
from closedloop.serve.answer_threads import INLINE_CHARACTERS
from closedloop.serve.breaker import BreakerLimits, Breakers, Standing
from closedloop.serve.deadline import TimedOut
from closedloop.serve.event_writer import EventWriter
from closedloop.serve.fair_pool import FairPool, Job
from closedloop.serve.messages import PredictRequest
from closedloop.serve.model_host import Model, ModelHost, Served
from closedloop.serve.stamp import MAX_TOP, NEW, Stamp, runners_up
from closedloop.serve.trial_desk import TrialDesk

T = TypeVar("T")
# A tenant's batches and slow models have two of them at most.
_THREADS = 3
_THREADS_PER_TENANT = 2
_APART = 8  # requests at a time to a model that answers apart


class _Asked(NamedTuple):
    """What asking a model gave: masked texts and their answers, or what it raised."""

    masked: list[str]
    answers: Sequence[Prediction] = ()
    seconds: float = 0.0  # that the model took
    error: Exception | None = None


class Predictor:
    """One replica's models, asked.

    Parameters
    ----------
    host : ModelHost
        The models.
    writer : EventWriter
        Where predictions go.
    mask : callable
        Replaces personal data in a text.
    pseudonym : callable
        Takes (user id, tenant) and returns what is stored for the user.
    trials : TrialDesk, optional
        Answers the requests of models that have a version on trial; by default one of its own.
    limits : BreakerLimits, optional
        When a model is answered apart or refused.
    logged : callable, optional
        Looks an event up by its id; without it, a call that is repeated is answered anew.
    """

    def __init__(
        self,
        *,
        host: ModelHost,
        writer: EventWriter,
        mask: Callable[[str], str],
        pseudonym: Callable[[str, str], str],
        trials: TrialDesk | None = None,
        limits: BreakerLimits | None = None,
        logged: Callable[[str], Event | None] = lambda _: None,
    ) -> None:
        self.host = host
        self._logged = logged
        self._trials = trials or TrialDesk(writer=writer, mask=mask, pseudonym=pseudonym)
        self._writer = writer
        self._mask = mask
        self._pseudonym = pseudonym
        self._breakers = Breakers(limits)
        self._answering = FairPool(threads=_THREADS, per_tenant=_THREADS_PER_TENANT, name="answer")
        self._apart: Counter[str] = Counter()

    async def predict(
        self, key: ApiKey, model: str, request: PredictRequest, stamp: Stamp = NEW
    ) -> dict[str, Any]:
        """Answer texts and log each answer; returns the body of a `PredictResponse`.

        Raises
        ------
        IdempotencyMismatch
            The stamp's key was used for another request.
        NotFound
            There is no such model, or the key does not reach it.
        EngineError
            Its champion could not be loaded, or fails too often.
        TimedOut
            The model hangs.
        Overloaded
            The event log, or the model, does not keep up.
        """
        started = time.perf_counter()
        served = await self.served(key, model)
        texts = request.all_texts
        earlier = stamp.as_logged()
        if earlier:
            told = await asyncio.to_thread(self._told_before, model, earlier, len(texts))
            if told is not None:
                return told
        self._writer.check_room(len(texts))
        on_trial = served.trial
        if on_trial is not None:
            return await self._trials.predict(served, on_trial, request, _out, stamp)
        asked = await self._ask(served, texts)
        masked, answers = asked.masked, asked.answers
        latency_ms = (time.perf_counter() - started) * 1000
        ids = [stamp.event_id(index) for index in range(len(answers))]
        champion = served.champion
        self._writer.offer(
            prediction_events(
                champion,
                request,
                zip(ids, masked, answers, strict=True),
                pseudonym=self._pseudonym,
                latency_ms=latency_ms,
                stamp=stamp,
            )
        )
        return {
            "request_id": stamp.request_id(),
            "model": model,
            "version": champion.version,
            "predictions": [_out(i, answer) for i, answer in zip(ids, answers, strict=True)],
        }

    async def in_fair_thread(self, tenant: str, work: Callable[[], T]) -> T:
        """Do a tenant's work in the threads that tenants share."""
        done: T = await asyncio.wrap_future(self._answering.submit(tenant, work).future)
        return done

    def close(self) -> None:
        """End the threads."""
        self._answering.close()
        self._trials.close()

    async def served(self, key: ApiKey, model: str) -> Served:
        """Return what answers for a model; raises as `predict`."""
        reached = key.reaches(model.partition(".")[0])
        served = None
        if reached:
            served = self.host.get(model) or await self.host.fetch(model)
        if served is not None:
            return served
        if reached and self.host.names(model):
            raise EngineError(
                f"The champion of {model!r} could not be loaded.",
                remedy="See GET /v1/models for the reason, and release a version that loads.",
            )
        raise no_such_model(model)

    def _told_before(
        self, model: str, stamps: Sequence[Stamp], texts: int
    ) -> dict[str, Any] | None:
        """Return the answer that an earlier attempt left in the log, None where there is none."""
        for stamp in stamps:
            events = self._logged_events(stamp, texts)
            if events:
                return {
                    "request_id": stamp.request_id(),
                    "model": model,
                    "version": events[0].model_version,
                    "predictions": [
                        _out(event.event_id, _logged_answer(event)) for event in events
                    ],
                }
        return None

    def _logged_events(self, stamp: Stamp, texts: int) -> list[Event]:
        found = []
        for index in range(texts):
            try:
                event = self._logged(stamp.event_id(index))
            except EngineError:
                event = None  # answered anew: its events have the same ids
            if event is None:
                return []
            stamp.check(event)
            found.append(event)
        return found

    def problem(self, champion: Champion) -> str | None:
        """Return why a model is refused or answers apart, None where nothing is wrong."""
        return self._breakers.problem(champion)

    async def _ask(self, served: Served, texts: Sequence[str]) -> _Asked:
        """Have texts answered where the model may be asked, and judge it by that."""
        champion, model = served.champion, served.model
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
    ) -> _Asked:
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
    ) -> _Asked:
        job = self._answering.submit(champion.ref.tenant, lambda: self._answer(model, texts))
        hang_s = self._breakers.hang_s(characters)
        answer = asyncio.wrap_future(job.future)
        try:
            while True:
                # The time in the queue is not the model's.
                wait_s = max(0.001, hang_s - self._answering.running_s(job))
                done, _ = await asyncio.wait({answer}, timeout=wait_s)
                if done:
                    return answer.result()
                if self._answering.running_s(job) >= hang_s:
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
        self._answering.write_off(job)

    def _answer(self, model: Model, texts: Sequence[str]) -> _Asked:
        masked = [self._mask(text) for text in texts]
        started = time.perf_counter()
        try:
            answers = model.predict_many(masked)
        except Exception as error:  # whatever a model raises is told of it, and to the client
            return _Asked(masked=masked, error=error)
        return _Asked(masked=masked, answers=answers, seconds=time.perf_counter() - started)


def no_such_model(model: str) -> NotFound:
    """Return the same words for a model that is not there and one that is another tenant's."""
    return NotFound(
        f"There is no model {model[:200]!r}.", remedy="See GET /v1/models for those you reach."
    )


def _logged_answer(event: Event) -> Prediction:
    label, confidence = event.prediction or "", event.confidence or 0.0
    return Prediction(
        label=label, confidence=confidence, top=((label, confidence), *runners_up(event))
    )


def _out(prediction_id: str, answer: Prediction) -> dict[str, Any]:
    return {
        "prediction_id": prediction_id,
        "label": answer.label,
        "confidence": answer.confidence,
        "top": [{"label": label, "confidence": share} for label, share in answer.top[:MAX_TOP]],
    }

"""Answers texts: mask, score, log each answer as an event.

Texts are masked before the model sees them, because that is what it was trained on, and so
that nothing behind the door ever holds personal data.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from closedloop.core.errors import EngineError, NotFound
from closedloop.core.identity import ApiKey
from closedloop.data.event import Event
from closedloop.models.model_version import Champion
from closedloop.models.prediction import Prediction
from closedloop.serve.admission.breaker import BreakerLimits
from closedloop.serve.answer_events import prediction_events
from closedloop.serve.answering import Answering
from closedloop.serve.event_writer import EventWriter
from closedloop.serve.http.messages import PredictRequest
from closedloop.serve.model_host import ModelHost, Served
from closedloop.serve.rulings import Rules, Rulings, logged_rule, no_rules, overrule
from closedloop.serve.stamp import MAX_TOP, NEW, Stamp, runners_up
from closedloop.serve.trials.desk import TrialDesk
from closedloop.serve.trials.outcome import Outcome

T = TypeVar("T")


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
    rules : callable, optional
        Returns the keyword rules that apply now.
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
        rules: Rules = no_rules,
    ) -> None:
        self.host = host
        self._logged = logged
        self._rules = rules
        self._trials = trials or TrialDesk(writer=writer, mask=mask, pseudonym=pseudonym)
        self._writer = writer
        self._pseudonym = pseudonym
        self._answering = Answering(mask, limits=limits)

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

            async def ask_champion() -> Outcome:
                asked = await self._answering.ask(served.champion, served.model, texts)
                return Outcome(answers=asked.answers, latency_ms=asked.seconds * 1000)

            return await self._trials.predict(served, on_trial, request, ask_champion, _out, stamp)
        asked = await self._answering.ask(served.champion, served.model, texts)
        masked, answers = asked.masked, asked.answers
        latency_ms = (time.perf_counter() - started) * 1000
        ids = [stamp.event_id(index) for index in range(len(answers))]
        champion = served.champion
        events = prediction_events(
            champion,
            request,
            zip(ids, masked, answers, strict=True),
            pseudonym=self._pseudonym,
            latency_ms=latency_ms,
            stamp=stamp,
        )
        rulings = Rulings(
            self._rules(), masked, tenant=champion.ref.tenant, channel=request.channel
        )
        self._writer.offer(rulings.noted(events))
        return {
            "request_id": stamp.request_id(),
            "model": model,
            "version": champion.version,
            "predictions": rulings.answers(
                [_out(i, answer) for i, answer in zip(ids, answers, strict=True)]
            ),
        }

    async def in_fair_thread(self, tenant: str, work: Callable[[], T]) -> T:
        """Do a tenant's work in the threads that answer, which tenants share."""
        return await self._answering.run(tenant, work)

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
                    "predictions": [_logged_out(event) for event in events],
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
        return self._answering.problem(champion)


def no_such_model(model: str) -> NotFound:
    """Return the same words for a model that is not there and one that is another tenant's."""
    return NotFound(
        f"There is no model {model[:200]!r}.", remedy="See GET /v1/models for those you reach."
    )


def _logged_out(event: Event) -> dict[str, Any]:
    label, confidence = event.prediction or "", event.confidence or 0.0
    answer = Prediction(
        label=label, confidence=confidence, top=((label, confidence), *runners_up(event))
    )
    told, rule = _out(event.event_id, answer), logged_rule(event)
    if rule is not None:
        overrule(told, rule)
    return told


def _out(prediction_id: str, answer: Prediction) -> dict[str, Any]:
    return {
        "prediction_id": prediction_id,
        "label": answer.label,
        "confidence": answer.confidence,
        "top": [{"label": label, "confidence": share} for label, share in answer.top[:MAX_TOP]],
        "rule": None,
    }

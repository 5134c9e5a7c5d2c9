"""Answers texts: mask, score, log each answer as an event.

Texts are masked before the model sees them, because that is what it was trained on, and so
that nothing behind the door ever holds personal data.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

from closedloop.core.errors import EngineError, NotFound
from closedloop.core.identity import ApiKey
from closedloop.data.event import new_event_id
from closedloop.models.prediction import Prediction
from closedloop.serve.answer_events import prediction_events
from closedloop.serve.answer_threads import AnswerThreads
from closedloop.serve.event_writer import EventWriter
from closedloop.serve.messages import PredictRequest
from closedloop.serve.model_host import ModelHost, Served
from closedloop.serve.trial_desk import TrialDesk

_MAX_TOP = 5


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
    """

    def __init__(
        self,
        *,
        host: ModelHost,
        writer: EventWriter,
        mask: Callable[[str], str],
        pseudonym: Callable[[str, str], str],
        trials: TrialDesk | None = None,
    ) -> None:
        self.host = host
        self._trials = trials or TrialDesk(writer=writer, mask=mask, pseudonym=pseudonym)
        self._writer = writer
        self._mask = mask
        self._pseudonym = pseudonym
        self._answering = AnswerThreads("answer")

    async def predict(self, key: ApiKey, model: str, request: PredictRequest) -> dict[str, Any]:
        """Answer texts and log each answer; returns the body of a `PredictResponse`.

        Raises
        ------
        NotFound
            There is no such model, or the key does not reach it.
        EngineError
            Its champion could not be loaded.
        Overloaded
            The event log does not keep up.
        """
        started = time.perf_counter()
        served = await self.served(key, model)
        texts = request.all_texts
        self._writer.check_room(len(texts))
        on_trial = served.trial
        if on_trial is not None:
            return await self._trials.predict(served, on_trial, request, _out)
        masked, answers = await self._answering.run(texts, lambda: self._answer(served, texts))
        latency_ms = (time.perf_counter() - started) * 1000
        ids = [new_event_id() for _ in answers]
        champion = served.champion
        self._writer.offer(
            prediction_events(
                champion,
                request,
                zip(ids, masked, answers, strict=True),
                pseudonym=self._pseudonym,
                latency_ms=latency_ms,
            )
        )
        return {
            "request_id": str(uuid4()),
            "model": model,
            "version": champion.version,
            "predictions": [_out(i, answer) for i, answer in zip(ids, answers, strict=True)],
        }

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
        # The same words for a model that is not there and one that is another tenant's.
        raise NotFound(
            f"There is no model {model[:200]!r}.", remedy="See GET /v1/models for those you reach."
        )

    def _answer(
        self, served: Served, texts: Sequence[str]
    ) -> tuple[list[str], Sequence[Prediction]]:
        masked = [self._mask(text) for text in texts]
        return masked, served.model.predict_many(masked)


def _out(prediction_id: str, answer: Prediction) -> dict[str, Any]:
    return {
        "prediction_id": prediction_id,
        "label": answer.label,
        "confidence": answer.confidence,
        "top": [{"label": label, "confidence": share} for label, share in answer.top[:_MAX_TOP]],
    }

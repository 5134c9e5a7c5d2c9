"""Takes users' words on answers: finds the prediction, stores the feedback."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from closedloop.core.api_key import Action, ApiKey
from closedloop.core.errors import NotFound
from closedloop.data.event import Event, Kind
from closedloop.data.event_log.protocol import EventLog
from closedloop.serve.answer_events import feedback_event
from closedloop.serve.event_writer import EventWriter
from closedloop.serve.http.messages import FeedbackRequest, FeedbackResponse
from closedloop.serve.stamp import NEW, Stamp, may_wait_in_a_buffer

# A prediction that another replica answered a moment ago may still be in its buffer, or wait
# for the answer of the version on trial.
_SETTLE_S = 3.0
_SETTLE_PAUSE_S = 0.05
_FLUSH_S = 2.0


class FeedbackDesk:
    """One replica's place for feedback.

    Parameters
    ----------
    log : EventLog
        Where predictions are looked up.
    writer : EventWriter
        Where feedback goes.
    mask : callable
        Replaces personal data in a comment.
    archive : callable
        Looks up a prediction that the log has no more, by its id.
    """

    def __init__(
        self,
        *,
        log: EventLog,
        writer: EventWriter,
        mask: Callable[[str], str],
        archive: Callable[[str], Event | None],
    ) -> None:
        self._log = log
        self._writer = writer
        self._mask = mask
        self._archive = archive

    async def take(
        self, key: ApiKey, request: FeedbackRequest, stamp: Stamp = NEW
    ) -> FeedbackResponse:
        """Store feedback; it is on disk when this returns.

        Raises
        ------
        NotFound
            There is no such prediction, or the key does not reach it.
        OutOfScope
            The key may not send feedback, or not on this model.
        IdempotencyMismatch
            The stamp's key was used for another request.
        EngineError
            The event log did not take it.
        Overloaded
            The event log does not keep up.
        """
        key.require(Action.FEEDBACK)
        prediction = await self._prediction(request.prediction_id)
        if prediction is None or not key.reaches(prediction.tenant):
            raise NotFound(
                f"There is no prediction {request.prediction_id}.",
                remedy="Send the prediction_id that the predict call returned.",
            )
        # A client's own event may name any model, such as one that closedloop does not have.
        if not key.names(prediction.model or ""):
            key.require(Action.FEEDBACK, prediction.model or "")
        return FeedbackResponse(
            feedback_id=await self._stored(prediction, request, stamp),
            prediction_id=prediction.event_id,
            model=prediction.model or "",
            version=prediction.model_version or 0,
        )

    async def _stored(self, prediction: Event, request: FeedbackRequest, stamp: Stamp) -> str:
        """Store feedback once, whatever attempts there are; return its id."""
        for earlier in stamp.as_logged():
            if await self._is_there(earlier):
                return earlier.event_id(0)
        comment = self._mask(request.comment) if request.comment else None
        event = feedback_event(prediction, request.feedback, comment=comment, stamp=stamp)
        (place,) = await asyncio.wrap_future(self._writer.store([event]))
        if place is None:  # another replica was faster
            await self._is_there(stamp)
        return event.event_id

    async def _is_there(self, stamp: Stamp) -> bool:
        found = await asyncio.to_thread(self._log.get, stamp.event_id(0))
        if found is not None:
            stamp.check(found)
        return found is not None

    async def _prediction(self, event_id: str) -> Event | None:
        """Look a prediction up, waiting for the buffers that may still hold it."""
        found = await asyncio.to_thread(self._log.get, event_id)
        if found is None and self._writer.waiting:
            await asyncio.to_thread(self._writer.flush, _FLUSH_S)
            found = await asyncio.to_thread(self._log.get, event_id)
        # Another replica's buffer cannot be awaited.
        waited = time.monotonic() + _SETTLE_S
        while (
            found is None
            and may_wait_in_a_buffer(event_id, settle_s=_SETTLE_S)
            and time.monotonic() < waited
        ):
            await asyncio.sleep(_SETTLE_PAUSE_S)
            found = await asyncio.to_thread(self._log.get, event_id)
        if found is None:
            found = await asyncio.to_thread(self._archive, event_id)
        return found if found is not None and found.kind is Kind.PREDICTION else None

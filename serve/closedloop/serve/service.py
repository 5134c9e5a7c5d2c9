"""What the API does, without HTTP: admit, predict, take feedback and events, report."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from closedloop.core.api_key import Action, ApiKey
from closedloop.core.errors import NotFound, Overloaded
from closedloop.data.event import Event, Kind
from closedloop.data.event_log.protocol import EventLog
from closedloop.data.log_file import Refused
from closedloop.serve.access import KeyRing, Quotas
from closedloop.serve.answer_events import feedback_event
from closedloop.serve.event_intake import EventIntake
from closedloop.serve.event_messages import EventOutcome, EventsRequest, EventsResponse
from closedloop.serve.event_writer import EventWriter
from closedloop.serve.fair_share import FairShare
from closedloop.serve.load_shedding import LoadShedder
from closedloop.serve.messages import (
    FeedbackRequest,
    FeedbackResponse,
    HealthResponse,
    ModelOut,
    ModelsResponse,
    PredictRequest,
)
from closedloop.serve.model_host import ModelHost, Served
from closedloop.serve.options import ServingOptions
from closedloop.serve.predictor import Predictor
from closedloop.serve.replica_scaling import LoadMeter
from closedloop.serve.trial_desk import TrialDesk

# A prediction that another replica answered a moment ago may still be in its buffer, or wait
# for the answer of the version on trial.
_SETTLE_S = 3.0
_SETTLE_PAUSE_S = 0.05
_PACE_S = 0.05
_FLUSH_S = 2.0
_MAX_BURIALS = 8


@dataclass(slots=True)
class Slot:
    """A request's place in a replica, and the tenant that it counts for once that is known."""

    tenant: str | None = None


class Service:
    """One replica's work.

    Parameters
    ----------
    host : ModelHost
        The models.
    keys : KeyRing
        The clients.
    log : EventLog
        Where feedback goes and predictions are looked up.
    writer : EventWriter
        Where predictions go.
    mask : callable
        Replaces personal data in a text.
    pseudonym : callable
        Takes (user id, tenant) and returns what is stored for the user.
    archive : callable, optional
        Looks up a prediction that the log has no more, by its id.
    bury : callable, optional
        Keeps refused events, given (them, source, tenant); without it they are only refused.
    """

    def __init__(
        self,
        *,
        host: ModelHost,
        keys: KeyRing,
        log: EventLog,
        writer: EventWriter,
        mask: Callable[[str], str],
        pseudonym: Callable[[str, str], str],
        options: ServingOptions,
        archive: Callable[[str], Event | None] = lambda _: None,
        bury: Callable[[Sequence[Refused], str, str], object] = lambda *_: None,
    ) -> None:
        self.host = host
        self.trials = TrialDesk(
            writer=writer,
            mask=mask,
            pseudonym=pseudonym,
            answer_s=options.trial_answer_s,
            backlog=options.trial_backlog,
        )
        self.predictor = Predictor(
            host=host,
            writer=writer,
            mask=mask,
            pseudonym=pseudonym,
            trials=self.trials,
            limits=options.breaker,
        )
        self.watcher_answers = False
        self._keys = keys
        self._log = log
        self._writer = writer
        self._mask = mask
        self._options = options
        self._quotas = Quotas(options)
        self._in_flight = 0
        self._shares = FairShare(options.max_in_flight)
        self._load = LoadMeter()
        self._shedder = LoadShedder(
            budget_s=options.turn_budget_s,
            call_soon=lambda end: asyncio.get_running_loop().call_soon(end),
        )
        self._archive = archive
        self._intake = EventIntake(mask=mask, pseudonym=pseudonym)
        self._bury = bury
        # One commit to the lake at a time; what waits for it is bounded below.
        self._burying = ThreadPoolExecutor(1, thread_name_prefix="bury")
        self._burials = 0

    @property
    def request_timeout_s(self) -> float:
        """How long a request may take."""
        return self._options.request_timeout_s

    @contextmanager
    def slot(self) -> Iterator[Slot]:
        """Take one of the replica's places for the time of a request; `admit` says for whom.

        Raises
        ------
        Overloaded
            All are taken.
        """
        if self._in_flight >= self._options.max_in_flight:
            raise Overloaded(
                f"{self._in_flight} requests are being answered, which is the limit.",
                remedy="Send the request again after the seconds named in Retry-After.",
            )
        self._in_flight += 1
        slot = Slot()
        try:
            yield slot
        finally:
            self._in_flight -= 1
            if slot.tenant is not None:
                self._shares.give_back(slot.tenant)
                self._load.leave()

    async def admit(self, authorization: str, slot: Slot) -> ApiKey:
        """Return the key of a request that may go on, and count the place as its tenant's.

        Raises
        ------
        NotAllowed
            The key is missing or not valid.
        Overloaded
            The key, or its tenant, sends more than its rate, or the tenant's share of a busy
            replica is used up.
        """
        key = await self._keys.verify(authorization)
        self._quotas.take(key)
        if not self._shedder.admits(key.tenant) or not self._shares.take(key.tenant):
            raise Overloaded(
                f"The service is busy, and the tenant {key.tenant!r} has its share of it.",
                remedy="Send the request again after the seconds named in Retry-After.",
            )
        slot.tenant = key.tenant
        self._load.enter(waited_s=self._shedder.turn_s)
        return key

    async def pace(self, key: ApiKey) -> None:
        """Wait until a key's rate has room for one more request's work."""
        while True:
            try:
                self._quotas.take(key)
            except Overloaded as error:
                await asyncio.sleep(error.retry_after_s or _PACE_S)
            else:
                return

    async def served(self, key: ApiKey, model: str) -> Served:
        """Return what answers for a model; raises as `predict`."""
        self._require_predict(key, model)
        return await self.predictor.served(key, model)

    async def predict(self, key: ApiKey, model: str, request: PredictRequest) -> dict[str, Any]:
        """Answer texts; see `Predictor.predict`.

        Raises
        ------
        OutOfScope
            The key may not predict, or not with this model of its tenant.
        """
        self._require_predict(key, model)
        return await self.predictor.predict(key, model, request)

    @staticmethod
    def _require_predict(key: ApiKey, model: str) -> None:
        # A model of another tenant is told by the predictor: it looks like none.
        if key.reaches(model.partition(".")[0]):
            key.require(Action.PREDICT, model)

    async def feedback(self, key: ApiKey, request: FeedbackRequest) -> FeedbackResponse:
        """Store feedback; it is on disk when this returns.

        Raises
        ------
        NotFound
            There is no such prediction, or the key does not reach it.
        OutOfScope
            The key may not send feedback, or not on this model.
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
        comment = self._mask(request.comment) if request.comment else None
        event = feedback_event(prediction, request.feedback, comment=comment)
        await asyncio.wrap_future(self._writer.store([event]))
        return FeedbackResponse(
            feedback_id=event.event_id,
            prediction_id=prediction.event_id,
            model=prediction.model or "",
            version=prediction.model_version or 0,
        )

    async def events(self, key: ApiKey, request: EventsRequest) -> EventsResponse:
        """Store a batch of events; what is accepted is on disk when this returns.

        Raises
        ------
        OutOfScope
            The key may not send events.
        Overloaded
            The event log, or the dead letters, do not keep up; nothing was stored.
        EngineError
            The event log or the lake failed; sending the same event ids again is safe.
        """
        key.require(Action.EVENTS)
        self._writer.check_room(len(request.events))
        if self._burials >= _MAX_BURIALS:
            raise Overloaded(
                "Events are refused faster than they can be kept as dead letters.",
                remedy="Correct what the answers complain about, and send again after a second.",
            )
        taken = await asyncio.to_thread(self._intake.take, key, request.events)
        outcomes = taken.outcomes
        if taken.events:
            places = await asyncio.wrap_future(self._writer.store(taken.events))
            outcomes += [
                EventOutcome(
                    index=index,
                    status="duplicate" if place is None else "accepted",
                    event_id=event.event_id,
                )
                for index, event, place in zip(taken.indexes, taken.events, places, strict=True)
            ]
        if taken.refused:
            await self._keep_refused(key, taken.refused)
        counted = Counter(outcome.status for outcome in outcomes)
        return EventsResponse(
            accepted=counted["accepted"],
            duplicates=counted["duplicate"],
            refused=counted["refused"],
            events=sorted(outcomes, key=lambda outcome: outcome.index),
        )

    async def _keep_refused(self, key: ApiKey, refused: Sequence[Refused]) -> None:
        tenant = "default" if key.tenant == "*" else key.tenant
        self._burials += 1
        try:
            await asyncio.get_running_loop().run_in_executor(
                self._burying, self._bury, refused, f"api {key.client}", tenant
            )
        finally:
            self._burials -= 1

    def load(self) -> float:
        """Return how many requests there were here on average since the last time."""
        return self._load.take()

    def models(self, key: ApiKey) -> ModelsResponse:
        """Return the models that a key reaches.

        Raises
        ------
        OutOfScope
            The key may not read.
        """
        key.require(Action.READ)
        return ModelsResponse(
            models=[
                ModelOut(
                    model=str(state.champion.ref),
                    champion=state.champion.version,
                    serving=state.serving,
                    problem=state.problem or self.predictor.problem(state.champion),
                )
                for state in self.host.states()
                if key.allows(Action.READ, str(state.champion.ref))
            ]
        )

    def health(self) -> HealthResponse:
        """Return how this replica stands."""
        states = self.host.states()
        failed = sum(state.problem is not None for state in states)
        apart = sum(self.predictor.problem(state.champion) is not None for state in states)
        problems = []
        if failed:
            problems.append(f"{failed} champions could not be loaded; see GET /v1/models.")
        if apart:
            problems.append(f"{apart} models are slow or fail; see GET /v1/models.")
        if self.host.ready and not self.watcher_answers:
            problems.append("The catalog watcher does not answer; the models held go on serving.")
        if self._writer.problem:
            problems.append("The event log does not take events; they are kept in memory.")
        settled: Literal["ok", "degraded"] = "degraded" if problems else "ok"
        return HealthResponse(
            status=settled if self.host.ready else "starting",
            models_serving=sum(state.serving is not None for state in states),
            models_failed=failed,
            in_flight=self._in_flight,
            events_waiting=self._writer.waiting,
            problems=problems,
        )

    def close(self) -> None:
        """Write what waits and end the threads."""
        self.predictor.close()
        self.host.close()
        self._burying.shutdown(wait=True)
        self._writer.close()
        self._log.close()

    async def _prediction(self, event_id: str) -> Event | None:
        """Look a prediction up, waiting for the buffers that may still hold it."""
        found = await asyncio.to_thread(self._log.get, event_id)
        if found is None and self._writer.waiting:
            await asyncio.to_thread(self._writer.flush, _FLUSH_S)
            found = await asyncio.to_thread(self._log.get, event_id)
        # Another replica's buffer cannot be awaited, but a UUIDv7 tells how old its event is.
        while found is None and _age_s(event_id) < _SETTLE_S:
            await asyncio.sleep(_SETTLE_PAUSE_S)
            found = await asyncio.to_thread(self._log.get, event_id)
        if found is None:
            found = await asyncio.to_thread(self._archive, event_id)
        return found if found is not None and found.kind is Kind.PREDICTION else None


def _age_s(event_id: str) -> float:
    """Return how long ago the id was made; infinity for one that was not made here."""
    age_s = time.time() - (UUID(event_id).int >> 80) / 1000
    return age_s if age_s > -_SETTLE_S else math.inf

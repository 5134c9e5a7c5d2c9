"""What the API does, without HTTP: admit, predict, take feedback and events, report."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from closedloop.core.api_key import Action, ApiKey
from closedloop.core.errors import Overloaded
from closedloop.data.event import Event
from closedloop.data.event_log.protocol import EventLog
from closedloop.data.log_file import Refused
from closedloop.serve.admission.access import KeyRing, Quotas
from closedloop.serve.admission.fair_share import FairShare
from closedloop.serve.admission.load_shedding import LoadShedder
from closedloop.serve.admission.replica_scaling import LoadMeter
from closedloop.serve.event_desk import EventDesk
from closedloop.serve.event_writer import EventWriter
from closedloop.serve.explainer import Explainer
from closedloop.serve.feedback_desk import FeedbackDesk
from closedloop.serve.figures import Figures
from closedloop.serve.http.event_messages import EventsRequest, EventsResponse
from closedloop.serve.http.explain_messages import ExplainRequest, ExplainResponse
from closedloop.serve.http.messages import (
    FeedbackRequest,
    FeedbackResponse,
    HealthResponse,
    ModelOut,
    ModelsResponse,
    PredictRequest,
)
from closedloop.serve.http.turn_messages import TurnRequest, TurnResponse
from closedloop.serve.model_host import ModelHost, Served
from closedloop.serve.options import ServingOptions
from closedloop.serve.predictor import Predictor
from closedloop.serve.rule_follower import RuleFollower
from closedloop.serve.rule_shadow import RuleShadow
from closedloop.serve.rule_step import RuleStep
from closedloop.serve.stamp import NEW, Stamp
from closedloop.serve.trials.desk import TrialDesk
from closedloop.serve.turns import Turns

_PACE_S = 0.05


@dataclass(slots=True)
class Slot:
    """A request's place in a replica, and the tenant that it counts for once that is known."""

    tenant: str | None = None
    reserved: bool = False  # beyond the places that tenants share


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
    rules : RuleFollower, optional
        The keyword rules; without it there are none.
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
        rules: RuleFollower | None = None,
    ) -> None:
        self.host = host
        self.rules = rules or RuleFollower(lambda _: (0, []))
        self.trials = TrialDesk(
            writer=writer,
            mask=mask,
            pseudonym=pseudonym,
            answer_s=options.trial_answer_s,
            backlog=options.trial_backlog,
            rules=lambda: self.rules.rules,
        )
        self.predictor = Predictor(
            host=host,
            writer=writer,
            mask=mask,
            pseudonym=pseudonym,
            trials=self.trials,
            limits=options.breaker,
            logged=log.get,
            rules=lambda: self.rules.rules,
        )
        self.figures = Figures(host=host, writer=writer)
        self.rule_shadow = RuleShadow(host=host, writer=writer, problem=self.predictor.problem)
        self._turns = Turns(
            host=host,
            predictor=self.predictor,
            rule_step=RuleStep(
                rules=lambda: self.rules.rules,
                writer=writer,
                mask=mask,
                pseudonym=pseudonym,
                shadow=self.rule_shadow,
            ),
        )
        self._explainer = Explainer(mask=mask, run=self.predictor.in_fair_thread)
        self._feedback = FeedbackDesk(log=log, writer=writer, mask=mask, archive=archive)
        self.watcher_answers = False
        self._keys = keys
        self._log = log
        self._writer = writer
        self._options = options
        self._quotas = Quotas(options)
        self._shares = FairShare(options.max_in_flight)
        self._load = LoadMeter()
        self._shedder = LoadShedder(
            budget_s=options.turn_budget_s,
            call_soon=lambda end: asyncio.get_running_loop().call_soon(end),
        )
        self._events = EventDesk(writer=writer, mask=mask, pseudonym=pseudonym, bury=bury)

    @property
    def request_timeout_s(self) -> float:
        """How long a request may take."""
        return self._options.request_timeout_s

    @contextmanager
    def slot(self, *, more: int = 0) -> Iterator[Slot]:
        """Take one of the replica's places for the time of a request; `admit` says for whom.

        Parameters
        ----------
        more : int
            Places that others may not take.

        Raises
        ------
        Overloaded
            All are taken.
        """
        if self.figures.in_flight >= self._options.max_in_flight + more:
            self.figures.refused("overloaded")
            raise Overloaded(
                f"{self.figures.in_flight} requests are being answered, which is the limit.",
                remedy="Send the request again after the seconds named in Retry-After.",
            )
        self.figures.in_flight += 1
        slot = Slot(reserved=more > 0)
        try:
            yield slot
        finally:
            self.figures.in_flight -= 1
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
        try:
            self._quotas.take(key)
        except Overloaded:
            self.figures.refused("quota")
            raise
        if slot.reserved:
            return key
        if not self._shedder.admits(key.tenant) or not self._shares.take(key.tenant):
            self.figures.refused("overloaded")
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

    async def predict(
        self, key: ApiKey, model: str, request: PredictRequest, stamp: Stamp = NEW
    ) -> dict[str, Any]:
        """Answer texts; see `Predictor.predict`.

        Raises
        ------
        OutOfScope
            The key may not predict, or not with this model of its tenant.
        """
        self._require_predict(key, model)
        return await self.predictor.predict(key, model, request, stamp)

    async def turn(self, key: ApiKey, request: TurnRequest, stamp: Stamp = NEW) -> TurnResponse:
        """Answer a dialogue turn; see `Turns.answer`."""
        return await self._turns.answer(key, request, stamp)

    async def explain(self, key: ApiKey, model: str, request: ExplainRequest) -> ExplainResponse:
        """Say which terms speak for and against a label; see `Explainer.explain`.

        Raises
        ------
        OutOfScope, NotFound, EngineError
            As `served`.
        """
        return await self._explainer.explain(await self.served(key, model), request)

    def metrics(self, key: ApiKey) -> bytes:
        """Return this replica's figures in Prometheus' text format.

        Raises
        ------
        OutOfScope
            The key may not read metrics.
        """
        key.require(Action.METRICS)
        return self.figures.text()

    @staticmethod
    def _require_predict(key: ApiKey, model: str) -> None:
        # A model of another tenant is told by the predictor: it looks like none.
        if key.reaches(model.partition(".")[0]):
            key.require(Action.PREDICT, model)

    async def feedback(
        self, key: ApiKey, request: FeedbackRequest, stamp: Stamp = NEW
    ) -> FeedbackResponse:
        """Store feedback; see `FeedbackDesk.take`."""
        return await self._feedback.take(key, request, stamp)

    async def events(self, key: ApiKey, request: EventsRequest) -> EventsResponse:
        """Store a batch of events; see `EventDesk.take`."""
        return await self._events.take(key, request)

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
        if self.rules.problem:
            problems.append("The rules are not read anew; the ones that are known apply.")
        if self._writer.problem:
            problems.append("The event log does not take events; they are kept in memory.")
        settled: Literal["ok", "degraded"] = "degraded" if problems else "ok"
        return HealthResponse(
            status=settled if self.host.ready else "starting",
            models_serving=sum(state.serving is not None for state in states),
            models_failed=failed,
            in_flight=self.figures.in_flight,
            events_waiting=self._writer.waiting,
            problems=problems,
        )

    def close(self) -> None:
        """Write what waits and end the threads."""
        self.predictor.close()
        self.rule_shadow.close()
        self.host.close()
        self._events.close()
        self._writer.close()
        self._log.close()

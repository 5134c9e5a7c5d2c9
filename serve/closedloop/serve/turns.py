"""Answers a dialogue turn: a chain of steps, each of which may decide it.

Route, then rules, then models, then fallback. Another step has its place in `Turns.steps`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from closedloop.core.api_key import ALL, Action, ApiKey
from closedloop.core.errors import ClosedLoopError, InputError, NotFound, Overloaded
from closedloop.defence.stream_texts import TURN_FIRST
from closedloop.models.prediction import Prediction
from closedloop.serve.http.messages import PredictRequest
from closedloop.serve.http.turn_messages import (
    DEFAULT_ROUTE,
    MAX_MODELS,
    TurnCandidateOut,
    TurnRequest,
    TurnResponse,
    TurnStepOut,
)
from closedloop.serve.model_host import ModelHost
from closedloop.serve.predictor import Predictor, no_such_model
from closedloop.serve.stamp import NEW, Stamp

logger = logging.getLogger(__name__)


@dataclass(kw_only=True, slots=True)
class OpenTurn:
    """A turn on its way through the steps; each adds what it found."""

    key: ApiKey
    request: TurnRequest
    stamp: Stamp
    tenant: str = ""
    models: Sequence[str] = ()
    candidates: list[TurnCandidateOut] = field(default_factory=list)
    taken: list[TurnStepOut] = field(default_factory=list)

    def note(
        self,
        step: Literal["route", "rule", "model", "fallback"],
        outcome: str,
        model: str | None = None,
    ) -> None:
        """Add a step to what the answer tells of them."""
        self.taken.append(TurnStepOut(step=step, outcome=outcome, model=model))


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """Who decided a turn, and the answer that is given, where there is one."""

    by: Literal["rule", "model", "fallback"]
    answer: TurnCandidateOut | None = None  # of a model
    told: Mapping[str, Any] = field(default_factory=dict)  # of the answer, by a rule


class Step(Protocol):
    """One step of a turn."""

    async def take(self, turn: OpenTurn) -> Decision | None:
        """Decide the turn, or add to it and leave it to the next step."""


class Route:
    """Chooses the models that are asked."""

    def __init__(self, host: ModelHost) -> None:
        self._host = host

    async def take(self, turn: OpenTurn) -> Decision | None:
        """Name the models; raises as `Turns.answer`."""
        request, key = turn.request, turn.key
        if request.models is not None:
            turn.models = list(dict.fromkeys(request.models))
            for model in turn.models:
                if key.reaches(model.partition(".")[0]):
                    key.require(Action.PREDICT, model)
                    if self._host.names(model):
                        continue
                raise no_such_model(model)
            turn.note("route", f"{len(turn.models)} models named by the request")
            turn.tenant = turn.models[0].partition(".")[0]
            return None
        tenant = request.tenant or key.tenant
        if tenant == ALL:
            raise InputError(
                "This key reaches all tenants, so that a turn must name its own.",
                remedy="Add 'tenant' to the turn, or name 'models'.",
            )
        route = request.route or DEFAULT_ROUTE
        there = self._host.routed(tenant, route) if key.reaches(tenant) else ()
        if not there:
            raise NotFound(
                f"The route {route!r} of the tenant {tenant!r} has no model.",
                remedy="See GET /v1/models for those you reach.",
            )
        reached = [model for model in there if key.allows(Action.PREDICT, model)]
        if not reached:
            key.require(Action.PREDICT, there[0])
        turn.tenant = tenant
        turn.models = reached[:MAX_MODELS]
        turn.note("route", f"{len(turn.models)} of {len(reached)} models of {tenant}.{route}")
        return None


class Models:
    """Asks the models in turn until one is sure enough; each answer is logged."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    async def take(self, turn: OpenTurn) -> Decision | None:
        """Ask; a model that fails is passed over, unless none answers."""
        failure: Exception | None = None
        for model in turn.models:
            try:
                found = await self._ask(turn, model)
            except Exception as error:  # one model's fault is not the turn's
                if isinstance(error, ClosedLoopError):
                    if not _is_the_models(error):
                        raise
                    turn.note("model", "did not answer", model)
                else:
                    logger.exception("the model %s failed in a turn", model)
                    turn.note("model", "failed", model)
                failure = error
            else:
                turn.candidates.append(found)
                if found.confidence >= turn.request.min_confidence:
                    turn.note("model", "answered", model)
                    return Decision(by="model", answer=found)
                turn.note("model", "not sure enough", model)
        if not turn.candidates and failure is not None:
            raise failure
        return None

    async def _ask(self, turn: OpenTurn, model: str) -> TurnCandidateOut:
        least = turn.request.min_confidence
        # What reads the events counts the text once, as that of the first model.
        again = {TURN_FIRST: turn.candidates[0].prediction_id} if turn.candidates else {}

        def marks(answer: Prediction) -> dict[str, str]:
            return again | {"turn_answer": "given" if answer.confidence >= least else "passed over"}

        told = await self._predictor.predict(
            turn.key, model, _of(turn.request), turn.stamp.part(model, marks)
        )
        (answer,) = told["predictions"]
        return TurnCandidateOut(
            model=model,
            version=told["version"],
            label=answer["label"],
            confidence=answer["confidence"],
            prediction_id=answer["prediction_id"],
        )


class Fallback:
    """Says that no model was sure enough."""

    async def take(self, turn: OpenTurn) -> Decision | None:
        """Decide the turn."""
        turn.note("fallback", f"no answer reached {turn.request.min_confidence:g}")
        return Decision(by="fallback")


class Turns:
    """One replica's dialogue turns.

    Parameters
    ----------
    host : ModelHost
        Knows which models there are.
    predictor : Predictor
        Asks them and logs what they answer.
    rule_step : Step
        Decides before a model is asked, where a rule says so.
    """

    def __init__(self, *, host: ModelHost, predictor: Predictor, rule_step: Step) -> None:
        self.steps: Sequence[Step] = (Route(host), rule_step, Models(predictor), Fallback())

    async def answer(self, key: ApiKey, request: TurnRequest, stamp: Stamp = NEW) -> TurnResponse:
        """Take a turn through the steps.

        Raises
        ------
        InputError
            The key reaches all tenants and the turn names none.
        OutOfScope
            The key may not predict, or not with these models of its tenant.
        NotFound
            There is no such model, or no model of the route, or the key does not reach it.
        IdempotencyMismatch
            The stamp's key was used for another request.
        EngineError
            No model answered, because none could be loaded.
        Overloaded
            No model answered, because the event log does not keep up.
        """
        key.require(Action.PREDICT)
        turn = OpenTurn(key=key, request=request, stamp=stamp)
        for step in self.steps:
            decision = await step.take(turn)
            if decision is not None:
                return _response(turn, decision)
        raise AssertionError("the last step decides")


def _is_the_models(error: ClosedLoopError) -> bool:
    """Tell whether another model may do better; else something is wrong with the request."""
    return error.http_status >= 500 or isinstance(error, NotFound | Overloaded)


def _of(request: TurnRequest) -> PredictRequest:
    return PredictRequest.model_construct(
        text=request.text,
        texts=None,
        dialogue_id=request.dialogue_id,
        user_id=request.user_id,
        channel=request.channel,
        turn=request.turn,
    )


def _response(turn: OpenTurn, decision: Decision) -> TurnResponse:
    given: dict[str, Any] = dict.fromkeys(TurnCandidateOut.model_fields)
    if decision.answer is not None:
        given = decision.answer.model_dump()
    given |= decision.told
    return TurnResponse(
        request_id=turn.stamp.request_id(),
        decided_by=decision.by,
        fallback=decision.by == "fallback",
        **given,
        candidates=sorted(turn.candidates, key=lambda each: -each.confidence),
        steps=turn.taken,
    )

"""The routes that ask for a key."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Request, Response, Security
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from pydantic_core import from_json

from closedloop.core.errors import ClosedLoopError
from closedloop.core.identity import ApiKey
from closedloop.serve.figures import MEDIA_TYPE as METRICS_MEDIA_TYPE
from closedloop.serve.http.bodies import drain
from closedloop.serve.http.described import (
    METRICS_ANSWER,
    STREAM_ANSWER,
    STREAM_BODY,
    IdempotencyKey,
    documented,
)
from closedloop.serve.http.event_messages import EventsRequest, EventsResponse
from closedloop.serve.http.explain_messages import ExplainRequest, ExplainResponse
from closedloop.serve.http.messages import (
    FeedbackRequest,
    FeedbackResponse,
    ModelsResponse,
    PredictRequest,
    PredictResponse,
)
from closedloop.serve.http.prediction_stream import PredictionStream
from closedloop.serve.http.refusals import invalid_body
from closedloop.serve.http.turn_messages import TurnRequest, TurnResponse
from closedloop.serve.stamp import Stamp

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from closedloop.serve.service import Service

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
_ModelName = Annotated[
    str, Path(description="tenant.algorithm.name", examples=["retail.intent.desk"])
]
# Shows the key in OpenAPI; `Edge` has checked it before a route runs.
_KEY = Security(HTTPBearer(auto_error=False, description="A key from 'closedloop keys add'."))


class JsonRequest(Request):
    """Reads JSON as `Edge` does: neither lone surrogates nor NaN, and the same words for it."""

    async def json(self) -> Any:
        """Return the body, decoded."""
        try:
            return from_json(await self.body())
        except ValueError as error:
            problem = {"loc": (), "msg": f"Invalid JSON: {error}"}
            raise HTTPException(422, invalid_body([problem])) from error


class JsonRoute(APIRoute):
    """A route whose body is read by `JsonRequest`."""

    def get_route_handler(self) -> Handler:
        """Return what answers a request."""
        handle = super().get_route_handler()

        async def handler(request: Request) -> Response:
            return await handle(JsonRequest(request.scope, request.receive))

        return handler


class ASGIResponse(Response):
    """An answer that reads and writes the connection itself."""

    def __init__(self, application: ASGIApp) -> None:
        super().__init__()
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the connection on."""
        await self._application(scope, receive, send)


def guarded_routes(service: Service) -> APIRouter:
    """Return the routes behind `Edge`, which has checked the key and read the body."""
    router = APIRouter(route_class=JsonRoute)
    # An event that is no Unicode costs only itself: its batch is read by the lenient parser.
    batches = APIRouter()

    @router.post(
        "/v1/models/{model}:predict",
        summary="Classify one text or several",
        responses=documented(401, 403, 404, 413, 422, 429, 500, 503),
        dependencies=[_KEY],
    )
    async def predict(
        model: _ModelName,
        body: PredictRequest,
        request: Request,
        _: IdempotencyKey = None,
    ) -> PredictResponse:
        # `Edge` answers before this; here for the description, and for odd spellings of the path.
        answer = await service.predict(_key(request), model, body, _stamp(request))
        return PredictResponse(**answer)

    @router.post(
        "/v1/models/{model}:predict_stream",
        summary="Classify a stream of texts, line by line",
        description=(
            "JSON Lines in, JSON Lines out, in order and while the body still comes; it may be"
            " larger than the limit of other bodies. A line that is wrong gets a line with an"
            " error, and the rest goes on. Read the answer while you send: who does not read is"
            " not read either. Up to 64 lines in a row with the same dialogue fields count as"
            " one request; a stream is slowed down, not refused, beyond the key's rate."
        ),
        response_class=Response,
        responses={200: STREAM_ANSWER, **documented(401, 404, 413, 422, 429, 500, 503)},
        openapi_extra={"requestBody": STREAM_BODY},
        dependencies=[_KEY],
    )
    async def predict_stream(model: _ModelName, request: Request) -> ASGIResponse:
        try:
            await service.served(_key(request), model)
        except ClosedLoopError:
            await drain(request.receive)
            raise
        return ASGIResponse(PredictionStream(service, _key(request), model))

    @router.post(
        "/v1/models/{model}:explain",
        summary="Say which terms speak for and against a label",
        responses=documented(401, 403, 404, 409, 413, 422, 429, 500, 503),
        dependencies=[_KEY],
    )
    async def explain(model: _ModelName, body: ExplainRequest, request: Request) -> ExplainResponse:
        return await service.explain(_key(request), model, body)

    @router.post(
        "/v1/turn",
        summary="Answer a dialogue turn by whichever model is sure enough",
        description=(
            "The models of a route, or those named, are asked in order, and the first answer that"
            " reaches 'min_confidence' is given; where none does, the answer is the fallback."
            " Every model that was asked leaves a prediction. A turn counts as one request."
        ),
        responses=documented(401, 403, 404, 413, 422, 429, 500, 503),
        dependencies=[_KEY],
    )
    async def turn(body: TurnRequest, request: Request, _: IdempotencyKey = None) -> TurnResponse:
        return await service.turn(_key(request), body, _stamp(request))

    @router.post(
        "/v1/feedback",
        status_code=201,
        summary="Say whether an answer was right",
        responses=documented(401, 403, 404, 413, 422, 429, 500, 503),
        dependencies=[_KEY],
    )
    async def feedback(
        body: FeedbackRequest, request: Request, _: IdempotencyKey = None
    ) -> FeedbackResponse:
        return await service.feedback(_key(request), body, _stamp(request))

    @batches.post(
        "/v1/events",
        summary="Store events; what is accepted is on disk",
        description=(
            "Up to 1,000 events, each checked by itself: the answer says which were accepted,"
            " which the log has already and which were refused and why. Refused ones are kept"
            " as dead letters. Give each event an event_id, and sending it again has no effect."
        ),
        responses=documented(401, 403, 413, 422, 429, 500, 503),
        dependencies=[_KEY],
    )
    async def events(body: EventsRequest, request: Request) -> EventsResponse:
        return await service.events(_key(request), body)

    @router.get(
        "/v1/models",
        summary="List the models this key reaches",
        responses=documented(401, 403, 429, 500, 503),
        dependencies=[_KEY],
    )
    async def models(request: Request) -> ModelsResponse:
        return service.models(_key(request))

    @router.get(
        "/metrics",
        summary="This replica's figures, for Prometheus",
        response_class=Response,
        responses={200: METRICS_ANSWER, **documented(401, 403, 429, 500, 503)},
        dependencies=[_KEY],
    )
    async def metrics(request: Request) -> Response:
        return Response(service.metrics(_key(request)), media_type=METRICS_MEDIA_TYPE)

    router.include_router(batches)
    return router


def _key(request: Request) -> ApiKey:
    return request.scope["state"]["key"]


def _stamp(request: Request) -> Stamp:
    return request.scope["state"]["stamp"]

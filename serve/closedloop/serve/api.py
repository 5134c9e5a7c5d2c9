"""The HTTP API: routes, their documentation and the words for a body that is wrong."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from importlib import resources
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, Path, Request, Response, Security
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.security import HTTPBearer
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from closedloop.core.errors import ClosedLoopError
from closedloop.core.identity import ApiKey
from closedloop.serve.bodies import drain
from closedloop.serve.edge import Edge, error_answer, error_body, invalid_body, printable
from closedloop.serve.event_messages import EventsRequest, EventsResponse
from closedloop.serve.messages import (
    ErrorResponse,
    FeedbackRequest,
    FeedbackResponse,
    HealthResponse,
    ModelsResponse,
    PredictRequest,
    PredictResponse,
    StreamAnswer,
    StreamLine,
    StreamProblem,
)
from closedloop.serve.prediction_stream import MEDIA_TYPE as STREAM_MEDIA_TYPE
from closedloop.serve.prediction_stream import PredictionStream

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from closedloop.serve.service import Service

VERSION = "1"
_MEANINGS = {
    401: "The API key is missing or not valid.",
    403: "The API key is valid, and what is asked is not among what it may do.",
    404: "There is no such model or prediction, or the key does not reach it.",
    413: "The body is too large.",
    422: "The body is wrong; 'fields' says where.",
    429: "Too many requests; come back after Retry-After seconds.",
    500: "An error of the service.",
    503: "The model or the event log cannot answer now; come back after Retry-After seconds.",
    504: "The request took too long; what it was to store may have been stored.",
}
_ModelName = Annotated[
    str, Path(description="tenant.algorithm.name", examples=["retail.intent.desk"])
]
# Shows the key in OpenAPI; `Edge` has checked it before a route runs.
_KEY = Security(HTTPBearer(auto_error=False, description="A key from 'closedloop keys add'."))


class ASGIResponse(Response):
    """An answer that reads and writes the connection itself."""

    def __init__(self, application: ASGIApp) -> None:
        super().__init__()
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the connection on."""
        await self._application(scope, receive, send)


def _inline(*models: type[BaseModel]) -> dict[str, Any]:
    """Return a schema of one of these models whose parts are components already."""
    template = "#/components/schemas/{model}"
    schemas = [model.model_json_schema(ref_template=template) for model in models]
    for schema in schemas:
        schema.pop("$defs", None)
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


_STREAM_BODY = {
    "required": True,
    "description": "One JSON object a line.",
    "content": {
        STREAM_MEDIA_TYPE: {
            "schema": _inline(StreamLine),
            "examples": {
                "lines": {
                    "value": '{"id": 1, "text": "Where is my parcel?"}\n{"text": "我要退款"}\n'
                }
            },
        }
    },
}
_STREAM_ANSWER: dict[str, Any] = {
    "description": "One JSON object a line, for each line that is not blank.",
    "content": {STREAM_MEDIA_TYPE: {"schema": _inline(StreamAnswer, StreamProblem)}},
}

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def build_app(
    service: Service, *, max_body_bytes: int = 1_048_576, lifespan: Lifespan | None = None
) -> FastAPI:
    """Return the ASGI application of one replica.

    Parameters
    ----------
    service : Service
        Does the work.
    max_body_bytes : int
        Larger bodies are refused.
    lifespan : callable, optional
        Async context manager around the application's life.
    """
    app = FastAPI(
        title="closedloop",
        version=VERSION,
        description="Ask models, and tell them when they were wrong.",
        lifespan=lifespan,
        docs_url=None,  # the framework's page loads its scripts from the internet
        redoc_url=None,
    )
    app.add_middleware(Edge, service=service, max_body_bytes=max_body_bytes)
    app.add_exception_handler(ClosedLoopError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)

    @app.post(
        "/v1/models/{model}:predict",
        summary="Classify one text or several",
        responses=_documented(401, 403, 404, 413, 422, 429, 500, 503),
        dependencies=[_KEY],
    )
    async def predict(model: _ModelName, body: PredictRequest, request: Request) -> PredictResponse:
        # `Edge` answers before this; here for the documentation, and for odd spellings of the path.
        return PredictResponse(**await service.predict(_key(request), model, body))

    @app.post(
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
        responses={200: _STREAM_ANSWER, **_documented(401, 404, 413, 422, 429, 500, 503)},
        openapi_extra={"requestBody": _STREAM_BODY},
        dependencies=[_KEY],
    )
    async def predict_stream(model: _ModelName, request: Request) -> ASGIResponse:
        try:
            await service.served(_key(request), model)
        except ClosedLoopError:
            await drain(request.receive)
            raise
        return ASGIResponse(PredictionStream(service, _key(request), model))

    @app.post(
        "/v1/feedback",
        status_code=201,
        summary="Say whether an answer was right",
        responses=_documented(401, 403, 404, 413, 422, 429, 500, 503),
        dependencies=[_KEY],
    )
    async def feedback(body: FeedbackRequest, request: Request) -> FeedbackResponse:
        return await service.feedback(_key(request), body)

    @app.post(
        "/v1/events",
        summary="Store events; what is accepted is on disk",
        description=(
            "Up to 1,000 events, each checked by itself: the answer says which were accepted,"
            " which the log has already and which were refused and why. Refused ones are kept"
            " as dead letters. Give each event an event_id, and sending it again has no effect."
        ),
        responses=_documented(401, 403, 413, 422, 429, 500, 503),
        dependencies=[_KEY],
    )
    async def events(body: EventsRequest, request: Request) -> EventsResponse:
        return await service.events(_key(request), body)

    @app.get(
        "/v1/models",
        summary="List the models this key reaches",
        responses=_documented(401, 403, 429, 500, 503),
        dependencies=[_KEY],
    )
    async def models(request: Request) -> ModelsResponse:
        return service.models(_key(request))

    @app.get("/healthz", summary="How this replica stands; needs no key")
    async def healthz() -> HealthResponse:
        return service.health()

    @app.get(
        "/readyz",
        summary="Whether requests may be sent; needs no key",
        responses={503: {"model": HealthResponse, "description": "Models are being loaded."}},
    )
    async def readyz() -> JSONResponse:
        health = service.health()
        return JSONResponse(health.model_dump(), 503 if health.status == "starting" else 200)

    page = resources.files("closedloop.serve").joinpath("docs_page.html").read_text("utf-8")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(page)

    return app


def _key(request: Request) -> ApiKey:
    return request.scope["state"]["key"]


def _documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    told = (*statuses, 504)  # every request has a time limit
    return {s: {"model": ErrorResponse, "description": _MEANINGS[s]} for s in told}


async def _on_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ClosedLoopError)
    status, body, headers = error_answer(error)
    return JSONResponse(body, status, headers)


async def _on_invalid(_: Request, error: Exception) -> JSONResponse:
    """Say which field is wrong and how, without sending its content back."""
    assert isinstance(error, RequestValidationError)
    problems = [{"loc": each["loc"][1:], "msg": each["msg"]} for each in error.errors()]
    return JSONResponse(invalid_body(problems), 422)


async def _on_http(request: Request, error: Exception) -> JSONResponse:
    """Word the framework's own refusals like all others."""
    assert isinstance(error, HTTPException)
    status = error.status_code
    where = f"{request.method} {printable(request.url.path)}"
    if status == 404:
        body = error_body("not_found", f"There is no {where}.", "See /docs for what there is.")
    elif status == 405:
        body = error_body("wrong_method", f"{where} does not exist.", "See /docs for the method.")
    elif status == 400:  # the framework's answer to a body that it cannot read at all
        status = 422
        body = error_body("invalid_request", "The body is not JSON.", "Send a JSON object.")
    else:
        body = error_body("refused", str(error.detail), "See /docs.")
    return JSONResponse(body, status, dict(error.headers or {}))

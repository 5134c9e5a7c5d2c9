"""The HTTP API: one application of all routes, and the words for a body that is wrong."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from importlib import resources
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException

from closedloop.core.errors import ClosedLoopError
from closedloop.serve.http.edge import Edge
from closedloop.serve.http.messages import (
    HealthResponse,
)
from closedloop.serve.http.refusals import (
    NO_OBJECT,
    error_answer,
    error_body,
    invalid_body,
    printable,
)
from closedloop.serve.http.routes import guarded_routes

if TYPE_CHECKING:
    from closedloop.serve.service import Service

VERSION = "1"

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

    app.include_router(guarded_routes(service))

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

    page = resources.files("closedloop.serve.http").joinpath("docs_page.html").read_text("utf-8")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(page)

    return app


async def _on_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ClosedLoopError)
    status, body, headers = error_answer(error)
    return JSONResponse(body, status, headers)


async def _on_invalid(_: Request, error: Exception) -> JSONResponse:
    """Say which field is wrong and how, without sending its content back."""
    assert isinstance(error, RequestValidationError)
    problems = [{"loc": each["loc"][1:], "msg": _words(each)} for each in error.errors()]
    return JSONResponse(invalid_body(problems), 422)


def _words(problem: dict[str, Any]) -> str:
    """Return what is wrong, in the words of a body that is read from JSON directly."""
    no_object = problem["type"] == "missing" and problem["loc"] == ("body",)
    if no_object or problem["type"] == "model_attributes_type":
        return NO_OBJECT
    return str(problem["msg"])


async def _on_http(request: Request, error: Exception) -> JSONResponse:
    """Word the framework's own refusals like all others."""
    assert isinstance(error, HTTPException)
    status = error.status_code
    if isinstance(error.detail, dict):  # in our words already
        return JSONResponse(error.detail, status)
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

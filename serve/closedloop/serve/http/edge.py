"""The outermost layer of the API: nothing behind it runs for a request that may not pass.

In order: is there a place for the request, whose key is it, how large is its body. Health and
readiness alone need no key; what is no route asks for one, too. Whatever is raised behind it
becomes the one error body; a stack trace goes to the log only. A call with an idempotency key
that was answered already is answered from `Replays`.

A prediction is answered here: the framework's way from a body to a function and back costs more
than the answer. Its checks are the same pydantic model, its words the same.
"""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from pydantic import ValidationError
from pydantic_core import to_json

from closedloop.core.api_key import Action
from closedloop.core.errors import (
    ClosedLoopError,
)
from closedloop.serve.admission.access import as_bearer
from closedloop.serve.admission.deadline import Deadline
from closedloop.serve.http.bodies import drain
from closedloop.serve.http.messages import PredictRequest
from closedloop.serve.http.refusals import (
    NO_OBJECT,
    TooLarge,
    error_answer,
    error_body,
    invalid_body,
)
from closedloop.serve.http.replays import Recorded, Replays
from closedloop.serve.stamp import NEW, Stamp, stamp_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from closedloop.core.identity import ApiKey
    from closedloop.serve.service import Service

logger = logging.getLogger(__name__)

_OPEN = frozenset({"/healthz", "/readyz"})
_CALLS = "/v1/"
_DESCRIPTION = frozenset({"/docs", "/openapi.json"})
_READING = frozenset({"GET", "HEAD"})
_MODELS = "/v1/models/"
_PREDICT = ":predict"
_STREAM = ":predict_stream"
_ONCE = frozenset({"/v1/turn", "/v1/feedback"})  # calls that read an idempotency key, as :predict
_METRICS = "/metrics"
_SCRAPES = 2  # places that only they may take: figures matter most where all others are taken
_ASK_PERSON = 'Basic realm="closedloop: any user name, the API key as password", charset="UTF-8"'


class Edge:
    """ASGI middleware that admits requests to the guarded routes and words all failures."""

    def __init__(self, app: ASGIApp, *, service: Service, max_body_bytes: int) -> None:
        self._app = app
        self._service = service
        self._max_body_bytes = max_body_bytes
        self._replays = Replays()
        self._figures = service.figures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            if scope["path"] in _OPEN:
                await self._app(scope, receive, watched)
            else:
                endless = scope["path"].endswith(_STREAM)
                async with Deadline(None if endless else self._service.request_timeout_s):
                    await self._guarded(scope, receive, watched)
        except ClosedLoopError as error:
            if status:  # an answer has begun
                raise
            refused, body, headers = error_answer(error)
            if refused == 401 and _is_page(scope):
                headers["www-authenticate"] = _ASK_PERSON
            await _send_json(watched, refused, body, headers)
        except Exception:
            incident = uuid4().hex
            logger.exception("incident %s: %s %s", incident, scope["method"], scope["path"])
            if status:
                raise
            body = error_body(
                "internal",
                "The request could not be answered because of an error in the service.",
                f"Report incident {incident}; its details are in the service's log.",
            )
            await _send_json(watched, 500, body, {})
        finally:
            key = scope.get("state", {}).get("key")
            taken_s = time.perf_counter() - started
            self._figures.answered(scope["path"], status, taken_s, key and key.tenant)

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        path = scope["path"]
        with self._service.slot(more=_SCRAPES if path == _METRICS else 0) as slot:
            authorization = headers.get(b"authorization", b"").decode("latin-1")
            if _is_page(scope):
                authorization = as_bearer(authorization)
            try:
                key = await self._service.admit(authorization, slot)
                if path in _DESCRIPTION:
                    key.require(Action.READ)
            except ClosedLoopError:
                await drain(receive)
                raise
            scope.setdefault("state", {}).update(key=key, stamp=NEW)
            if path.endswith(_STREAM):  # reads its body itself, as it comes
                await self._app(scope, receive, send)
                return
            body = await self._body(headers, receive)
            told = headers.get(b"idempotency-key")
            if told is not None and scope["method"] == "POST" and _happens_once(path):
                await self._once(told.decode("latin-1"), scope, body, receive, send)
            else:
                await self._answer(scope, body, receive, send, NEW)

    async def _once(
        self, told: str, scope: Scope, body: bytes, receive: Receive, send: Send
    ) -> None:
        key: ApiKey = scope["state"]["key"]
        stamp = stamp_of(key.id, told, scope["path"].encode() + b"\0" + body)
        scope["state"]["stamp"] = stamp

        async def answer() -> Recorded:
            recorded = Recorded()
            await self._answer(scope, body, receive, recorded.record, stamp)
            return recorded

        recorded = await self._replays.once(stamp.names, stamp.digest, answer)
        await recorded.send_to(send)

    async def _answer(
        self, scope: Scope, body: bytes, receive: Receive, send: Send, stamp: Stamp
    ) -> None:
        path = scope["path"]
        if path.endswith(_PREDICT) and scope["method"] == "POST":
            model = path[len(_MODELS) : -len(_PREDICT)]
            if path.startswith(_MODELS) and "/" not in model:
                await self._predict(scope["state"]["key"], model, body, send, stamp)
                return
        await self._app(scope, _replay(body, receive), send)

    async def _predict(
        self, key: ApiKey, model: str, body: bytes, send: Send, stamp: Stamp
    ) -> None:
        try:
            request = PredictRequest.model_validate_json(body)
        except ValidationError as error:
            problems: Sequence[Mapping[str, Any]] = error.errors(include_url=False)
            if not body:
                problems = [{"loc": (), "msg": NO_OBJECT}]
            await _send_json(send, 422, invalid_body(problems), {})
            return
        answer = await self._service.predict(key, model, request, stamp)
        await _send(send, 200, to_json(answer), {})

    async def _body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        """Read the whole body; nothing behind needs to count bytes."""
        declared = headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self._max_body_bytes:
            if b"expect" not in headers:  # else the client waits for a word before it sends
                await drain(receive)
            raise self._too_large()
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] != "http.request":  # the client went away
                return b""
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > self._max_body_bytes:
                if message.get("more_body", False):
                    await drain(receive)
                raise self._too_large()
            if not message.get("more_body", False):
                return b"".join(chunks)

    def _too_large(self) -> TooLarge:
        return TooLarge(
            f"The body is larger than {self._max_body_bytes:,} bytes.",
            remedy="Send fewer or shorter texts in one request.",
        )


def _is_page(scope: Scope) -> bool:
    """Tell whether a browser may be asked for the key; see `as_bearer` for why not everywhere."""
    return scope["method"] in _READING and not scope["path"].startswith(_CALLS)


def _happens_once(path: str) -> bool:
    return path in _ONCE or (path.startswith(_MODELS) and path.endswith(_PREDICT))


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a receive that gives the body that was read, then what comes after it."""
    given = False

    async def replayed() -> Message:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return replayed


async def _send_json(send: Send, status: int, body: dict[str, Any], extra: dict[str, str]) -> None:
    # ASCII: whatever a client sent can be told back
    await _send(send, status, json.dumps(body).encode(), extra)


async def _send(send: Send, status: int, content: bytes, extra: dict[str, str]) -> None:
    headers = {"content-type": "application/json", "content-length": str(len(content)), **extra}
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(k.encode(), v.encode()) for k, v in headers.items()],
        }
    )
    await send({"type": "http.response.body", "body": content})

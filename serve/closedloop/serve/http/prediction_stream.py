"""Texts as JSON Lines in, answers as JSON Lines out, in order and as they come.

A stream may be far larger than a body: what is held of it is a chunk of the connection and one
unfinished line. A line that is wrong costs only itself. Whoever sends faster than their rate, or
than the event log takes, is slowed down by not being read, not refused. The client going away
ends it.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from pydantic import ValidationError
from pydantic_core import to_json

from closedloop.core.errors import ClosedLoopError, Overloaded
from closedloop.serve.http.messages import PredictRequest, StreamLine
from closedloop.serve.http.refusals import error_answer, error_body, invalid_body

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from closedloop.core.identity import ApiKey
    from closedloop.serve.service import Service

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/x-ndjson"
MAX_LINE_BYTES = 131_072  # a longest text, every character of it escaped, and its fields
_GROUP_LINES = 64
_WAIT_FOR_ROOM_S = 10.0
_PAUSE_S = 0.05
_MAX_ID_CHARS = 128


class Lines:
    """Cuts chunks of bytes into lines; holds the one that is not at its end yet.

    Examples
    --------
    >>> lines = Lines()
    >>> list(lines.of(b"one\\ntw")), list(lines.of(b"o\\n\\nthree")), list(lines.rest())
    ([(1, b'one')], [(2, b'two')], [(4, b'three')])
    """

    def __init__(self, *, max_bytes: int = MAX_LINE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._begun: list[bytes] = []
        self._size = 0
        self._number = 1

    def of(self, chunk: bytes) -> Iterator[tuple[int, bytes | None]]:
        """Yield the lines that end in this chunk: number and bytes, None for one too long."""
        *ended, begun = chunk.split(b"\n")
        for end in ended:
            self._add(end)
            yield from self.rest()
            self._number += 1
        self._add(begun)

    def rest(self) -> Iterator[tuple[int, bytes | None]]:
        """Yield the line that has no end, where there is one; blank lines are none."""
        if self._size > self._max_bytes:
            yield self._number, None
        elif line := b"".join(self._begun).strip():
            yield self._number, line
        self._begun, self._size = [], 0

    def _add(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._max_bytes:
            self._begun = []
        else:
            self._begun.append(part)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Read:
    """One line as it was read: what to ask, or what is wrong."""

    number: int
    id: str | int | None = None
    line: StreamLine | None = None
    error: dict[str, Any] | None = None


class PredictionStream:
    """The answer to one stream, as an ASGI application.

    Parameters
    ----------
    service : Service
    key : ApiKey
        Reaches the model, which has been checked.
    model : str
    """

    def __init__(self, service: Service, key: ApiKey, model: str) -> None:
        self._service = service
        self._key = key
        self._model = model

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer chunk by chunk until the body ends or the client is gone."""
        headers = [(b"content-type", MEDIA_TYPE.encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        lines = Lines()
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return
            more = message.get("more_body", False)
            read = [_read(number, line) for number, line in lines.of(message.get("body", b""))]
            if not more:
                read += [_read(number, line) for number, line in lines.rest()]
            async for answered in self._answers(read):
                await send({"type": "http.response.body", "body": answered, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _answers(self, read: Sequence[_Read]) -> AsyncIterator[bytes]:
        for start in range(0, len(read), _GROUP_LINES):
            told: list[bytes] = []
            # Lines of one dialogue turn, or of none, are asked together.
            for _, group in groupby(read[start : start + _GROUP_LINES], key=_context):
                told += [to_json(answer) for answer in await self._group(list(group))]
                await asyncio.sleep(0)  # other requests come between
            yield b"\n".join([*told, b""])

    async def _group(self, group: Sequence[_Read]) -> list[dict[str, Any]]:
        asked = [each.line for each in group if each.line is not None]
        if not asked:
            return [_told(each, {"error": each.error}) for each in group]
        request = PredictRequest.model_construct(
            texts=[line.text for line in asked],
            dialogue_id=asked[0].dialogue_id,
            user_id=asked[0].user_id,
            channel=asked[0].channel,
            turn=asked[0].turn,
        )
        try:
            await self._service.pace(self._key)
            answer = await self._predict(request)
        except ClosedLoopError as error:
            problem = error_answer(error)[1]
        except Exception:
            incident = uuid4().hex
            logger.exception("incident %s: a stream to %s", incident, self._model)
            problem = error_body(
                "internal",
                "The line could not be answered because of an error in the service.",
                f"Report incident {incident}; its details are in the service's log.",
            )
        else:
            version = {"model": answer["model"], "version": answer["version"]}
            return [
                _told(each, version | predicted)
                for each, predicted in zip(group, answer["predictions"], strict=True)
            ]
        return [_told(each, problem) for each in group]

    async def _predict(self, request: PredictRequest) -> dict[str, Any]:
        """Ask, waiting where the event log has no room: the client is not read meanwhile."""
        for _ in range(int(_WAIT_FOR_ROOM_S / _PAUSE_S)):
            try:
                return await self._service.predict(self._key, self._model, request)
            except Overloaded:
                await asyncio.sleep(_PAUSE_S)
        return await self._service.predict(self._key, self._model, request)


def _context(read: _Read) -> tuple[Any, ...]:
    line = read.line
    if line is None:
        return (False,)
    return (True, line.dialogue_id, line.user_id, line.channel, line.turn)


def _read(number: int, sent: bytes | None) -> _Read:
    if sent is None:
        error = error_body(
            "too_large",
            f"The line is longer than {MAX_LINE_BYTES:,} bytes.",
            "Send a shorter text.",
        )
        return _Read(number=number, error=error["error"])
    try:
        line = StreamLine.model_validate_json(sent)
    except ValidationError as wrong:
        error = invalid_body(wrong.errors(include_url=False), what="line")
        return _Read(number=number, id=_id_of(sent), error=error["error"])
    return _Read(number=number, id=line.id, line=line)


def _id_of(sent: bytes) -> str | int | None:
    """Return the id of a line that is wrong elsewhere."""
    try:
        found = json.loads(sent)
        name = found.get("id") if isinstance(found, dict) else None
        if isinstance(name, str) and len(name) <= _MAX_ID_CHARS:
            return name.encode().decode()
        return name if type(name) is int and abs(name) < 2**63 else None
    except (ValueError, RecursionError):
        return None


def _told(read: _Read, answer: dict[str, Any]) -> dict[str, Any]:
    return {"line": read.number, "id": read.id, **answer}

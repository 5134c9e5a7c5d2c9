"""A typed client of the HTTP API, sync and async, on httpx alone.

It comes back by itself when the service is busy or away for a moment; `client_attempts` says
when. Every call that stores something carries an idempotency key over its attempts, so that it
has its effect once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from typing import Any, Literal, Self, Unpack

import httpx

from closedloop.serve import client_calls as calls
from closedloop.serve.client_attempts import Attempts, Patience, no_answer, read, refusal
from closedloop.serve.client_calls import MAX_TEXTS, Call, Dialogue, T, Turn, Windows, batches
from closedloop.serve.client_records import (
    Answer,
    Answers,
    Explanation,
    Health,
    SentEvent,
    ServedModel,
    StreamAnswer,
    TurnAnswer,
)

Line = str | Mapping[str, Any]


class Client:
    """Asks one service; may be shared by threads.

    Every method raises an `ApiError` of `client_attempts`, which is also the `ClosedLoopError`
    of its kind: InputError (the service refused what was sent), NotFound, NotAllowed, Overloaded
    (busy, still after the last attempt) or EngineError (away). It has ``status``, ``code``,
    ``message`` and ``remedy``.

    Parameters
    ----------
    base_url : str
        Where the API listens, ``http://127.0.0.1:8000``.
    key : str
        An API key.
    timeout_s : float
        For each wait of one attempt: to connect, to send, for the next bytes.
    attempts : int or None
        How often a call is tried at most; None for as often as the deadline allows.
    deadline_s : float
        For all attempts of a call together; none begins later. A restart of a replica or of a
        proxy takes up to twenty seconds; give less where nobody waits that long.

    Examples
    --------
    >>> with Client("http://127.0.0.1:8000", key) as client:              # doctest: +SKIP
    ...     answers = client.predict("retail.intent.desk", ["where is my parcel"])
    ...     client.feedback(answers.predictions[0].prediction_id, "down")
    """

    def __init__(
        self,
        base_url: str,
        key: str = "",
        *,
        timeout_s: float = 10.0,
        attempts: int | None = None,
        deadline_s: float = 30.0,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._http = httpx.Client(transport=transport, **_connection(base_url, key))
        self._patience = Patience(timeout_s=timeout_s, attempts=attempts, deadline_s=deadline_s)
        self._sleep = sleep

    def predict(self, model: str, texts: Sequence[str], **about: Unpack[Dialogue]) -> Answers:
        """Ask a model for the labels of up to 256 texts, which share the dialogue fields."""
        return self._do(calls.predict(model, texts, about))

    def predict_many(
        self, model: str, texts: Iterable[str], **about: Unpack[Dialogue]
    ) -> list[Answer]:
        """Ask for the labels of any number of texts, in requests of up to 256.

        A release on the way shows in the answers' versions.
        """
        found: list[Answer] = []
        for batch in batches(texts):
            found += self.predict(model, batch, **about).predictions
        return found

    def predict_stream(
        self, model: str, lines: Iterable[Line], *, window: int = MAX_TEXTS
    ) -> Iterator[StreamAnswer]:
        """Ask for the labels of a stream, in order; it may be endless.

        Lines go in windows, one request each. A window that has to be sent again may leave the
        predictions of its first attempt in the event log.

        Parameters
        ----------
        lines : iterable of str or mapping
            A text, or ``text`` with ``id`` and the dialogue fields.
        window : int
            Lines that are waited for before they are sent; 1 for a live feed.
        """
        windows = Windows(model, lines=window)
        for line in lines:
            if (call := windows.add(line)) is not None:
                yield from self._do(call)
        if (call := windows.rest()) is not None:
            yield from self._do(call)

    def turn(self, text: str, **fields: Unpack[Turn]) -> TurnAnswer:
        """Ask for the answer to a dialogue turn, without naming a model.

        Parameters
        ----------
        tenant : str, optional
            Needed where the key reaches all tenants.
        route : str, optional
            The algorithm whose models are asked, ``intent`` unless given.
        models : sequence of str, optional
            Models to ask instead, in order.
        min_confidence : float, optional
            An answer below it does not win.
        dialogue_id, user_id, channel, turn : optional
            As for `predict`.
        """
        return self._do(calls.turn(text, fields))

    def feedback(
        self, prediction_id: str, feedback: Literal["up", "down"], *, comment: str | None = None
    ) -> str:
        """Say whether an answer was right and return the feedback's id; it is on disk then."""
        return self._do(calls.feedback(prediction_id, feedback, comment))

    def events(self, events: Iterable[Mapping[str, Any]]) -> list[SentEvent]:
        """Store up to 1,000 events; what is accepted is on disk then.

        An event without an ``event_id`` gets one here, so that the attempts of this call store
        it once. Give ids yourself where you may repeat the call.

        Parameters
        ----------
        events : iterable of mapping
            As the API's description names their fields: ``text``, ``ts`` (ISO 8601),
            ``dialogue_id``, ``turn``, ``user_id``, ``channel``, ``attributes``, …

        Returns
        -------
        list of SentEvent
            One for each event, in order; refused ones say why.

        Examples
        --------
        >>> client.events([{"text": "hi", "dialogue_id": "d-1"}])[0].status  # doctest: +SKIP
        'accepted'
        """
        return self._do(calls.events(events))

    def explain(
        self, model: str, text: str, *, label: str | None = None, most: int | None = None
    ) -> Explanation:
        """Ask which terms speak for and against a label, the predicted one unless given."""
        return self._do(calls.explain(model, text, label=label, most=most))

    def models(self) -> list[ServedModel]:
        """Return the models that the key reaches."""
        return self._do(calls.models())

    def health(self) -> Health:
        """Return how the service stands; needs no key."""
        return self._do(calls.health())

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _do(self, call: Call[T]) -> T:
        attempts = Attempts(self._patience)
        while True:
            try:
                response = self._http.request(**attempts.request(call))
            except (httpx.TransportError, httpx.InvalidURL) as fault:
                failure = no_answer(self._http.base_url, fault)
            else:
                if response.is_success:
                    return read(call, response)
                failure = refusal(response)
            self._sleep(attempts.pause_s(failure))


class AsyncClient:
    """`Client` for asyncio: the same calls, parameters, records and errors, awaited.

    Examples
    --------
    >>> async with AsyncClient("http://127.0.0.1:8000", key) as client:   # doctest: +SKIP
    ...     await client.turn("where is my parcel", dialogue_id="d-1", turn=0)
    """

    def __init__(
        self,
        base_url: str,
        key: str = "",
        *,
        timeout_s: float = 10.0,
        attempts: int | None = None,
        deadline_s: float = 30.0,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._http = httpx.AsyncClient(transport=transport, **_connection(base_url, key))
        self._patience = Patience(timeout_s=timeout_s, attempts=attempts, deadline_s=deadline_s)
        self._sleep = sleep

    async def predict(self, model: str, texts: Sequence[str], **about: Unpack[Dialogue]) -> Answers:
        """See `Client.predict`."""
        return await self._do(calls.predict(model, texts, about))

    async def predict_many(
        self, model: str, texts: Iterable[str], **about: Unpack[Dialogue]
    ) -> list[Answer]:
        """See `Client.predict_many`."""
        found: list[Answer] = []
        for batch in batches(texts):
            found += (await self.predict(model, batch, **about)).predictions
        return found

    async def predict_stream(
        self, model: str, lines: Iterable[Line] | AsyncIterable[Line], *, window: int = MAX_TEXTS
    ) -> AsyncIterator[StreamAnswer]:
        """See `Client.predict_stream`; the lines may come from an async iterator."""
        windows = Windows(model, lines=window)
        async for line in _each(lines):
            if (call := windows.add(line)) is not None:
                for answer in await self._do(call):
                    yield answer
        if (call := windows.rest()) is not None:
            for answer in await self._do(call):
                yield answer

    async def turn(self, text: str, **fields: Unpack[Turn]) -> TurnAnswer:
        """See `Client.turn`."""
        return await self._do(calls.turn(text, fields))

    async def feedback(
        self, prediction_id: str, feedback: Literal["up", "down"], *, comment: str | None = None
    ) -> str:
        """See `Client.feedback`."""
        return await self._do(calls.feedback(prediction_id, feedback, comment))

    async def events(self, events: Iterable[Mapping[str, Any]]) -> list[SentEvent]:
        """See `Client.events`."""
        return await self._do(calls.events(events))

    async def explain(
        self, model: str, text: str, *, label: str | None = None, most: int | None = None
    ) -> Explanation:
        """See `Client.explain`."""
        return await self._do(calls.explain(model, text, label=label, most=most))

    async def models(self) -> list[ServedModel]:
        """See `Client.models`."""
        return await self._do(calls.models())

    async def health(self) -> Health:
        """See `Client.health`."""
        return await self._do(calls.health())

    async def close(self) -> None:
        """Give the connections back."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _do(self, call: Call[T]) -> T:
        attempts = Attempts(self._patience)
        while True:
            try:
                async with asyncio.timeout(attempts.left_s):
                    response = await self._http.request(**attempts.request(call))
            except (httpx.TransportError, httpx.InvalidURL, TimeoutError) as fault:
                failure = no_answer(self._http.base_url, fault)
            else:
                if response.is_success:
                    return read(call, response)
                failure = refusal(response)
            await self._sleep(attempts.pause_s(failure))


def _connection(base_url: str, key: str) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    # The service is addressed directly: a proxy of the environment has no part in it.
    return {"base_url": base_url, "headers": headers, "trust_env": False}


async def _each(lines: Iterable[Line] | AsyncIterable[Line]) -> AsyncIterator[Line]:
    if isinstance(lines, AsyncIterable):
        async for line in lines:
            yield line
    else:
        for line in lines:
            yield line

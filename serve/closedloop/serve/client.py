"""A typed client of the HTTP API, on httpx alone.

It comes back by itself when the service is busy or away for a moment (429, 503, a connection
that fails), with exponential backoff and full jitter, so that many clients that were refused
together do not return together.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self
from urllib.parse import quote
from uuid import UUID

import httpx

from closedloop.core.errors import (
    ClosedLoopError,
    Conflict,
    EngineError,
    InputError,
    NotAllowed,
    NotFound,
    Overloaded,
)

_KINDS: dict[int, type[ClosedLoopError]] = {
    401: NotAllowed,
    404: NotFound,
    409: Conflict,
    413: InputError,
    422: InputError,
    429: Overloaded,
}
_BACKOFF_S = 0.1
_MAX_BACKOFF_S = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a model answered for one text."""

    prediction_id: str
    label: str
    confidence: float
    top: tuple[tuple[str, float], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """Answers in the order of the texts, all by one version."""

    model: str
    version: int
    predictions: tuple[Answer, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """How the replica that answered stands: ``ok``, ``degraded`` or ``starting``."""

    status: str
    models_serving: int
    models_failed: int
    problems: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ServedModel:
    """A model that the key reaches."""

    model: str
    champion: int
    serving: int | None
    problem: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SentEvent:
    """What became of an event: ``accepted``, ``duplicate`` or ``refused``."""

    status: str
    event_id: str | None
    reason: str | None
    remedy: str | None


class Client:
    """Asks one service; may be shared by threads.

    Parameters
    ----------
    base_url : str
        Where the API listens, ``http://127.0.0.1:8000``.
    key : str
        An API key.
    timeout_s : float
        For one attempt.
    attempts : int
        How often a call is tried at most.

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
        attempts: int = 5,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        # The service is addressed directly: a proxy of the environment has no part in it.
        self._http = httpx.Client(
            base_url=base_url,
            headers=headers,
            timeout=timeout_s,
            transport=transport,
            trust_env=False,
        )
        self._attempts = attempts
        self._sleep = sleep

    def predict(
        self,
        model: str,
        texts: Sequence[str],
        *,
        dialogue_id: str | None = None,
        user_id: str | None = None,
        channel: str | None = None,
        turn: int | None = None,
    ) -> Answers:
        """Ask a model for the labels of up to 256 texts.

        Raises
        ------
        InputError
            The service refused the texts; trying again changes nothing.
        NotFound
            There is no such model for this key.
        NotAllowed
            The key is missing or not valid.
        Overloaded, EngineError
            The service is busy or away, still after the last attempt.
        """
        context = {
            "dialogue_id": dialogue_id,
            "user_id": user_id,
            "channel": channel,
            "turn": turn,
        }
        body = {"texts": list(texts)} | {k: v for k, v in context.items() if v is not None}
        found = self._call("POST", f"/v1/models/{quote(model, safe='')}:predict", body)
        return Answers(
            model=found["model"],
            version=found["version"],
            predictions=tuple(
                Answer(
                    prediction_id=p["prediction_id"],
                    label=p["label"],
                    confidence=p["confidence"],
                    top=tuple((c["label"], c["confidence"]) for c in p["top"]),
                )
                for p in found["predictions"]
            ),
        )

    def feedback(
        self, prediction_id: str, feedback: Literal["up", "down"], *, comment: str | None = None
    ) -> str:
        """Say whether an answer was right and return the feedback's id; it is on disk then.

        Raises
        ------
        NotFound
            There is no such prediction for this key.
        InputError, NotAllowed, Overloaded, EngineError
            As for `predict`.
        """
        body = {"prediction_id": prediction_id, "feedback": feedback}
        if comment is not None:
            body["comment"] = comment
        return self._call("POST", "/v1/feedback", body)["feedback_id"]

    def send_events(self, events: Sequence[Mapping[str, Any]]) -> list[SentEvent]:
        """Store up to 1,000 events; what is accepted is on disk then.

        An event without an ``event_id`` gets one here, so that the attempts of this call store
        it once. Give ids yourself where you may repeat the call.

        Parameters
        ----------
        events : sequence of mapping
            As the API's description names their fields: ``text``, ``ts`` (ISO 8601),
            ``dialogue_id``, ``turn``, ``user_id``, ``channel``, ``attributes``, …

        Returns
        -------
        list of SentEvent
            One for each event, in order; refused ones say why.

        Raises
        ------
        InputError
            The service refused the whole batch.
        NotAllowed, Overloaded, EngineError
            As for `predict`.

        Examples
        --------
        >>> client.send_events([{"text": "hi", "dialogue_id": "d-1"}])[0].status  # doctest: +SKIP
        'accepted'
        """
        named = [{"event_id": _new_id(), **event} for event in events]
        found = self._call("POST", "/v1/events", {"events": named})
        return [
            SentEvent(
                status=each["status"],
                event_id=each["event_id"],
                reason=each["reason"],
                remedy=each["remedy"],
            )
            for each in found["events"]
        ]

    def models(self) -> list[ServedModel]:
        """Return the models that the key reaches."""
        return [ServedModel(**model) for model in self._call("GET", "/v1/models")["models"]]

    def health(self) -> Health:
        """Return how the service stands; needs no key."""
        found = self._call("GET", "/healthz")
        return Health(
            status=found["status"],
            models_serving=found["models_serving"],
            models_failed=found["models_failed"],
            problems=tuple(found["problems"]),
        )

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        for attempt in range(1, self._attempts + 1):
            least_s = 0.0
            try:
                response = self._http.request(method, path, json=body)
            except httpx.TransportError as fault:
                error: ClosedLoopError = EngineError(
                    f"The service at {self._http.base_url} did not answer: {fault}",
                    remedy="Check the address and that 'closedloop up' runs there.",
                )
            except httpx.InvalidURL as fault:
                raise InputError(
                    f"{self._http.base_url} is no address of a service: {fault}",
                    remedy="Write it as http://HOST:PORT.",
                ) from fault
            else:
                if response.is_success:
                    return response.json()
                error = _error(response)
                least_s = _retry_after_s(response)
            if not error.retryable or attempt == self._attempts:
                raise error
            most_s = min(_MAX_BACKOFF_S, _BACKOFF_S * 2**attempt)
            self._sleep(least_s + random.uniform(0, most_s))
        raise AssertionError("attempts is at least 1")


def _new_id() -> str:
    """Return a UUIDv7; `closedloop.data.event` has one too, but would bring Arrow along."""
    value = int(time.time() * 1000) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76  # version
    return str(UUID(int=value & ~(0x3 << 62) | 0x2 << 62))  # variant


def _error(response: httpx.Response) -> ClosedLoopError:
    kind = _KINDS.get(response.status_code, EngineError)
    try:
        told = response.json()["error"]
        return kind(told["message"], remedy=told["remedy"])
    except (ValueError, KeyError, TypeError):
        # Not our words: a proxy's, or Ray Serve's own while a replica is replaced.
        return kind(
            f"The service answered {response.status_code} {response.reason_phrase}.",
            remedy="Check that the address is that of closedloop's API, then try again.",
        )


def _retry_after_s(response: httpx.Response) -> float:
    try:
        return min(_MAX_BACKOFF_S, max(0.0, float(response.headers.get("retry-after", "0"))))
    except ValueError:
        return 0.0

"""Every call of the API as data: what is sent, and how its answer is read. No I/O.

The two clients send the same calls; whatever differs between them is in `client` alone.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypedDict, TypeVar
from urllib.parse import quote
from uuid import UUID

from closedloop.serve.client_records import (
    Answer,
    Answers,
    Explanation,
    Health,
    LineError,
    Rule,
    SentEvent,
    ServedModel,
    StreamAnswer,
    Term,
    TurnAnswer,
    TurnCandidate,
    TurnStep,
)

T = TypeVar("T")
MAX_TEXTS = 256  # of one request, as the service has it
_MAX_BATCH_BYTES = 500_000  # half of what the service takes unless told otherwise
_JSON_LINES = "application/x-ndjson"


class Dialogue(TypedDict, total=False):
    """Where a text comes from; every field may be left out."""

    dialogue_id: str | None
    user_id: str | None  # stored as a pseudonym only
    channel: str | None
    turn: int | None  # place in the dialogue, from 0


class Turn(Dialogue, total=False):
    """How a turn is to be answered; every field may be left out."""

    tenant: str | None  # needed where the key reaches all tenants
    route: str | None  # the algorithm whose models are asked, ``intent`` unless given
    models: Sequence[str] | None  # asked instead, in order
    min_confidence: float | None  # an answer below it does not win


@dataclass(frozen=True, kw_only=True, slots=True)
class Call(Generic[T]):
    """One call: what to send, and how to read the answer's text."""

    method: Literal["GET", "POST"]
    path: str
    read: Callable[[str], T]
    body: bytes | None = None
    content_type: str = "application/json"
    idempotency_key: str | None = None  # the same for all attempts

    @property
    def headers(self) -> dict[str, str]:
        """The headers that belong to this call."""
        headers = {} if self.body is None else {"content-type": self.content_type}
        if self.idempotency_key is not None:
            headers["idempotency-key"] = self.idempotency_key
        return headers


def predict(model: str, texts: Sequence[str], about: Dialogue) -> Call[Answers]:
    """Ask for the labels of up to 256 texts."""
    named = [texts] if isinstance(texts, str) else list(texts)
    path = _of_model(model, "predict")
    return _post(path, {"texts": named, **_given(about)}, _answers, once=True)


def turn(text: str, fields: Turn) -> Call[TurnAnswer]:
    """Ask for the answer to a dialogue turn."""
    return _post("/v1/turn", {"text": text, **_given(fields)}, _turn_answer, once=True)


def feedback(prediction_id: str, thumb: Literal["up", "down"], comment: str | None) -> Call[str]:
    """Say whether an answer was right; gives the feedback's id."""
    body = {"prediction_id": prediction_id, "feedback": thumb, **_given({"comment": comment})}
    return _post("/v1/feedback", body, lambda found: found["feedback_id"], once=True)


def events(sent: Iterable[Mapping[str, Any]]) -> Call[list[SentEvent]]:
    """Store up to 1,000 events; each has an id, so that attempts store it once."""
    named = [{"event_id": new_id(), **event} for event in sent]
    return _post("/v1/events", {"events": named}, _sent_events, once=True)


def explain(model: str, text: str, *, label: str | None, most: int | None) -> Call[Explanation]:
    """Ask which terms speak for and against a label."""
    body = {"text": text, **_given({"label": label, "most": most})}
    return _post(_of_model(model, "explain"), body, _explanation)


def models() -> Call[list[ServedModel]]:
    """List the models that the key reaches."""
    return Call(method="GET", path="/v1/models", read=_reading(_served_models))


def health() -> Call[Health]:
    """Ask how the service stands."""
    return Call(method="GET", path="/healthz", read=_reading(_health))


def batches(texts: Iterable[str]) -> Iterator[list[str]]:
    """Cut texts into as many as one request takes, by count and by bytes.

    Examples
    --------
    >>> [len(batch) for batch in batches(["x"] * 600)]
    [256, 256, 88]
    """
    batch: list[str] = []
    size = 0
    for text in texts:
        more = len(_json(text)) + 1
        if batch and (len(batch) == MAX_TEXTS or size + more > _MAX_BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(text)
        size += more
    if batch:
        yield batch


class Windows:
    """Cuts a stream of lines into calls, so that each can be tried again and memory is bounded.

    Parameters
    ----------
    model : str
    lines : int
        Of one window.
    """

    def __init__(self, model: str, *, lines: int) -> None:
        self._path = _of_model(model, "predict_stream")
        self._lines = max(1, lines)
        self._waiting: list[bytes] = []
        self._bytes = 0
        self._sent = 0

    def add(self, line: str | Mapping[str, Any]) -> Call[list[StreamAnswer]] | None:
        """Take a line; return the call of a full window, None where there is room."""
        self._waiting.append(_json({"text": line} if isinstance(line, str) else dict(line)))
        self._bytes += len(self._waiting[-1])
        if len(self._waiting) < self._lines and self._bytes < _MAX_BATCH_BYTES:
            return None
        return self.rest()

    def rest(self) -> Call[list[StreamAnswer]] | None:
        """Return the call of the lines that wait, None where none do."""
        if not self._waiting:
            return None
        before = self._sent
        body = b"\n".join(self._waiting)
        self._sent += len(self._waiting)
        self._waiting, self._bytes = [], 0
        return Call(
            method="POST",
            path=self._path,
            read=lambda text: [
                _stream_answer(json.loads(t), before) for t in text.split("\n") if t
            ],
            body=body,
            content_type=_JSON_LINES,
        )


def new_id() -> str:
    """Return a UUIDv7; `closedloop.data.event` has one too, but would bring Arrow along."""
    value = int(time.time() * 1000) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76  # version
    return str(UUID(int=value & ~(0x3 << 62) | 0x2 << 62))  # variant


def _post(
    path: str, body: dict[str, Any], read: Callable[[Any], T], *, once: bool = False
) -> Call[T]:
    return Call(
        method="POST",
        path=path,
        read=_reading(read),
        body=_json(body),
        idempotency_key=new_id() if once else None,
    )


def _of_model(model: str, verb: str) -> str:
    return f"/v1/models/{quote(model, safe='')}:{verb}"


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _json(value: Any) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # no Unicode; the service says where
        return json.dumps(value).encode()


def _reading(read: Callable[[Any], T]) -> Callable[[str], T]:
    return lambda text: read(json.loads(text))


def _lines(text: str) -> list[Any]:
    # Not splitlines(): JSON strings may hold what Unicode calls a line's end.
    return [json.loads(line) for line in text.split("\n") if line]


def _answer(found: Mapping[str, Any], model: str, version: int) -> Answer:
    return Answer(
        prediction_id=found["prediction_id"],
        label=found["label"],
        confidence=found["confidence"],
        top=tuple((each["label"], each["confidence"]) for each in found["top"]),
        model=model,
        version=version,
        rule=_rule(found.get("rule")),
    )


def _rule(found: Mapping[str, Any] | None) -> Rule | None:
    return Rule(**{name: found[name] for name in ("id", "name", "act", "value")}) if found else None


def _answers(found: Mapping[str, Any]) -> Answers:
    model, version = found["model"], found["version"]
    told = tuple(_answer(each, model, version) for each in found["predictions"])
    return Answers(model=model, version=version, predictions=told)


def _stream_answer(found: Mapping[str, Any], before: int) -> StreamAnswer:
    error = found.get("error")
    return StreamAnswer(
        line=found["line"] + before,
        id=found.get("id"),
        answer=None if error else _answer(found, found["model"], found["version"]),
        error=LineError(**{name: error[name] for name in ("code", "message", "remedy")})
        if error
        else None,
    )


def _turn_answer(found: Mapping[str, Any]) -> TurnAnswer:
    copied = (
        "decided_by",
        "fallback",
        "label",
        "confidence",
        "prediction_id",
        "model",
        "version",
        "rule_id",
    )
    of_candidate = ("model", "version", "label", "confidence", "prediction_id")
    return TurnAnswer(
        **{name: found[name] for name in copied},
        rule=_rule(found.get("rule")),
        candidates=tuple(
            TurnCandidate(**{name: each[name] for name in of_candidate})
            for each in found["candidates"]
        ),
        steps=tuple(
            TurnStep(step=s["step"], outcome=s["outcome"], model=s["model"]) for s in found["steps"]
        ),
    )


def _sent_events(found: Mapping[str, Any]) -> list[SentEvent]:
    copied = ("status", "event_id", "reason", "remedy")
    return [SentEvent(**{name: each[name] for name in copied}) for each in found["events"]]


def _explanation(found: Mapping[str, Any]) -> Explanation:
    copied = ("model", "version", "label", "confidence", "complete")
    return Explanation(
        **{name: found[name] for name in copied},
        supporting=_terms(found["supporting"]),
        opposing=_terms(found["opposing"]),
    )


def _terms(found: Iterable[Mapping[str, Any]]) -> tuple[Term, ...]:
    return tuple(Term(term=each["term"], score=each["score"]) for each in found)


def _served_models(found: Mapping[str, Any]) -> list[ServedModel]:
    copied = ("model", "champion", "serving", "problem")
    return [ServedModel(**{name: each[name] for name in copied}) for each in found["models"]]


def _health(found: Mapping[str, Any]) -> Health:
    return Health(
        status=found["status"],
        models_serving=found["models_serving"],
        models_failed=found["models_failed"],
        problems=tuple(found["problems"]),
    )

"""Events over HTTP: what a client sends and what becomes of each, as pydantic models.

`EventIn` has the fields of `closedloop.data.event.SCHEMA`; a test holds the two together.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SkipValidation,
    StringConstraints,
    model_validator,
)

from closedloop.serve.http.messages import PredictionId, Request, Share, ShortName, Text, Turn

MAX_EVENTS = 1_000
MAX_ATTRIBUTES = 64
_FUTURE = timedelta(days=1)  # as for a row of a log file
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)


def _in_time(ts: datetime) -> datetime:
    ts = (ts if ts.tzinfo else ts.replace(tzinfo=UTC)).astimezone(UTC)
    if ts - datetime.now(UTC) > _FUTURE:
        raise ValueError(f"the time {ts.isoformat()} lies in the future")
    if ts < _FIRST:
        raise ValueError(f"the time {ts.isoformat()} lies before 1970")
    return ts


EventId = Annotated[
    PredictionId, Field(description="A UUID, best of version 7; gives retries their effect once.")
]
Value = Annotated[str, StringConstraints(max_length=2_000)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class EventIn(Request):
    """One event as a client knows it; texts are masked and users pseudonymised on arrival."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "event_id": "01890a5d-ac96-774b-bcce-b302099a8057",
                    "ts": "2026-01-02T03:04:05Z",
                    "dialogue_id": "d-1",
                    "turn": 0,
                    "user_id": "ann",
                    "channel": "app",
                    "text": "Where is my parcel?",
                    "attributes": {"merchant": "m-17", "region": "GB"},
                }
            ]
        }
    )

    event_id: EventId | None = None
    ts: Annotated[datetime, AfterValidator(_in_time)] | None = Field(
        None, description="When it happened; now where it is not given, UTC without a zone."
    )
    tenant: ShortName | None = Field(
        None, description="Needed where the key reaches all tenants; else the key's own."
    )
    channel: ShortName | None = None
    dialogue_id: ShortName | None = None
    turn: Turn | None = Field(None, description="Place in the dialogue, from 0.")
    user_id: ShortName | None = Field(None, description="Stored as a pseudonym only.")
    kind: Literal["turn", "prediction", "feedback"] = "turn"
    text: Text | None = Field(None, description="Stored masked. A turn needs one.")
    image_phash: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{4,64}$")] | None = None
    model: ShortName | None = Field(None, description="A prediction needs one.")
    model_version: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    prediction: Label | None = Field(None, description="A prediction needs one.")
    confidence: Share | None = None
    rule_id: ShortName | None = None
    feedback: Literal["up", "down"] | None = Field(None, description="Feedback needs one.")
    refers_to: PredictionId | None = Field(
        None, description="Event id of the prediction that feedback is about."
    )
    latency_ms: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    attributes: Annotated[dict[ShortName, Value], Field(max_length=MAX_ATTRIBUTES)] = Field(
        default_factory=dict, description="Anything else, such as merchant, product, region."
    )

    @model_validator(mode="after")
    def _complete(self) -> EventIn:
        needed = {
            "turn": ("text",),
            "prediction": ("text", "model", "model_version", "prediction"),
            "feedback": ("feedback", "refers_to"),
        }
        missing = [name for name in needed[self.kind] if getattr(self, name) is None]
        if missing:
            raise ValueError(f"a {self.kind} needs {' and '.join(missing)}")
        return self


class EventsRequest(Request):
    """A batch of events. Each is checked by itself, so that one bad one costs only itself."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "events": [
                        {"dialogue_id": "d-1", "turn": 0, "text": "Where is my parcel?"},
                        {"dialogue_id": "d-1", "turn": 1, "text": "我要退款", "user_id": "ann"},
                    ]
                }
            ]
        }
    )

    events: Annotated[list[SkipValidation[EventIn]], Field(min_length=1, max_length=MAX_EVENTS)] = (
        Field(description="In the order in which they happened.")
    )


class EventOutcome(BaseModel):
    """What became of one event."""

    index: int = Field(description="Place in the request, from 0.")
    status: Literal["accepted", "duplicate", "refused"]
    event_id: str | None = Field(default=None, description="Null where it was refused.")
    reason: str | None = Field(default=None, description="Why it was refused.")
    remedy: str | None = Field(default=None, description="What to do about it.")


class EventsResponse(BaseModel):
    """Accepted events are on disk; refused ones are kept as dead letters."""

    accepted: int
    duplicates: int
    refused: int
    events: list[EventOutcome] = Field(description="One for each event, in order.")

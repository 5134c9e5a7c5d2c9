"""What goes over HTTP, as pydantic models; OpenAPI is made from them.

Every string has a longest length, which also makes pydantic refuse text that is no Unicode
(lone surrogates), before the event log would.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

MAX_TEXT_CHARS = 8_000  # as for a row of a log file
MAX_TEXTS = 256

Text = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_TEXT_CHARS)
]
ShortName = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Share = Annotated[float, Field(ge=0, le=1)]
Turn = Annotated[int, Field(ge=0, le=1_000_000)]

_UUID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
PredictionId = Annotated[str, StringConstraints(pattern=_UUID, min_length=36, max_length=36)]


class Request(BaseModel):
    """A body that a client sends: a misspelt field is refused, not ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PredictRequest(Request):
    """One text, or up to 256 that share the same dialogue fields."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"text": "Where is my parcel?", "dialogue_id": "d-1", "turn": 0},
                {"texts": ["Where is my parcel?", "我要退款"]},
            ]
        }
    )

    text: Text | None = Field(None, description="One text.")
    texts: Annotated[list[Text], Field(min_length=1, max_length=MAX_TEXTS)] | None = Field(
        None, description="Several texts; give either this or 'text'."
    )
    dialogue_id: ShortName | None = None
    user_id: ShortName | None = Field(None, description="Stored as a pseudonym only.")
    channel: ShortName | None = None
    turn: Turn | None = Field(None, description="Place of the text in its dialogue, from 0.")

    @model_validator(mode="after")
    def _one_of_both(self) -> PredictRequest:
        if (self.text is None) == (self.texts is None):
            raise ValueError("give either 'text' or 'texts'")
        return self

    @property
    def all_texts(self) -> list[str]:
        """The texts, however they were sent."""
        return [self.text] if self.text is not None else list(self.texts or ())


class Candidate(BaseModel):
    """A label the model considered."""

    label: str
    confidence: Share


class RuleOut(BaseModel):
    """The keyword rule that decided about a text; it goes before the model's answer."""

    id: str
    name: str
    act: Literal["answer", "intent", "hand-over"] = Field(
        description="Say 'value'; take the text for the intent 'value'; pass to a person."
    )
    value: str


class PredictionOut(BaseModel):
    """The answer for one text."""

    prediction_id: str = Field(description="Name it in feedback.")
    label: str
    confidence: Share
    top: list[Candidate] = Field(description="The likeliest labels, best first.")
    rule: RuleOut | None = Field(None, description="That decided; null where the model did.")


class PredictResponse(BaseModel):
    """Answers in the order of the texts, all by one version."""

    request_id: str
    model: str
    version: int
    predictions: list[PredictionOut]


class StreamLine(Request):
    """One line of a stream: a text with its own dialogue fields."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"id": "a-17", "text": "Where is my parcel?", "dialogue_id": "d-1"}]
        }
    )

    text: Text
    id: Annotated[
        Annotated[str, StringConstraints(max_length=128)]
        | Annotated[int, Field(ge=-(2**63), lt=2**63)]
        | None,
        Field(description="Comes back with the answer."),
    ] = None
    dialogue_id: ShortName | None = None
    user_id: ShortName | None = Field(None, description="Stored as a pseudonym only.")
    channel: ShortName | None = None
    turn: Turn | None = Field(None, description="Place of the text in its dialogue, from 0.")


class FeedbackRequest(Request):
    """What a user thought of an answer; the latest feedback to a prediction counts."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"prediction_id": "01890a5d-ac96-774b-bcce-b302099a8057", "feedback": "down"}
            ]
        }
    )

    prediction_id: PredictionId
    feedback: Literal["up", "down"]
    comment: Annotated[str, StringConstraints(max_length=2_000)] | None = None


class FeedbackResponse(BaseModel):
    """Feedback that is on disk."""

    feedback_id: str
    prediction_id: str
    model: str
    version: int


class ModelOut(BaseModel):
    """One model as this replica serves it."""

    model: str
    champion: int = Field(description="Version that the registry names.")
    serving: int | None = Field(description="Version that answers; null where none does.")
    problem: str | None = Field(None, description="Why the champion does not answer itself.")


class ModelsResponse(BaseModel):
    """The models that this key reaches."""

    models: list[ModelOut]


class HealthResponse(BaseModel):
    """How this replica stands; it names no model, because it needs no key."""

    status: Literal["ok", "degraded", "starting"]
    models_serving: int
    models_failed: int
    in_flight: int
    events_waiting: int
    problems: list[str] = Field(description="One sentence each.")


class FieldProblem(BaseModel):
    """What is wrong with one field of a body."""

    field: str
    problem: str


class ErrorOut(BaseModel):
    """What went wrong and what to do about it."""

    code: str
    message: str
    remedy: str
    fields: list[FieldProblem] | None = None


class ErrorResponse(BaseModel):
    """The body of every answer that is not 2xx."""

    error: ErrorOut


class StreamAnswer(PredictionOut):
    """The answer to one line of a stream."""

    line: int = Field(description="Place in the stream, from 1.")
    id: str | int | None = Field(description="As it was sent.")
    model: str
    version: int


class StreamProblem(BaseModel):
    """What is wrong with one line of a stream; the lines after it are answered."""

    line: int = Field(description="Place in the stream, from 1.")
    id: str | int | None = Field(description="As it was sent, where it could be read.")
    error: ErrorOut

"""The body of a dialogue turn and its answer, as pydantic models."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from closedloop.serve.http.messages import Request, RuleOut, Share, ShortName, Text, Turn

DEFAULT_ROUTE = "intent"
DEFAULT_CONFIDENCE = 0.5
MAX_MODELS = 16
_ModelName = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class TurnRequest(Request):
    """What a user said; the models of a route are asked, or those named, in order."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"text": "Where is my parcel?", "dialogue_id": "d-1", "turn": 0},
                {"text": "我要退款", "models": ["retail.intent.desk", "retail.faq.desk"]},
            ]
        }
    )

    text: Text
    tenant: ShortName | None = Field(
        None, description="Whose models are asked; needed where the key reaches all tenants."
    )
    route: ShortName | None = Field(
        None,
        description=f"The algorithm whose models are asked, by name; '{DEFAULT_ROUTE}' if neither"
        " this nor 'models' is given.",
    )
    models: Annotated[list[_ModelName], Field(min_length=1, max_length=MAX_MODELS)] | None = Field(
        None, description="Models to ask instead of a route's, in order."
    )
    min_confidence: Share = Field(
        DEFAULT_CONFIDENCE, description="The first answer that reaches it is given."
    )
    dialogue_id: ShortName | None = None
    user_id: ShortName | None = Field(None, description="Stored as a pseudonym only.")
    channel: ShortName | None = None
    turn: Turn | None = Field(None, description="Place of the text in its dialogue, from 0.")

    @model_validator(mode="after")
    def _one_of_both(self) -> TurnRequest:
        if self.models is not None and (self.route or self.tenant):
            raise ValueError("give either 'models' or 'route' and 'tenant'")
        return self


class TurnCandidateOut(BaseModel):
    """What one model answered."""

    model: str
    version: int
    label: str
    confidence: Share
    prediction_id: str = Field(description="Name it in feedback.")


class TurnStepOut(BaseModel):
    """One step on the way to the answer."""

    step: Literal["route", "rule", "model", "fallback"]
    outcome: str = Field(description="In words.")
    model: str | None = None


class TurnResponse(BaseModel):
    """A rule's or a model's answer, or the fallback: no model was sure, and 'label' is null."""

    request_id: str
    decided_by: Literal["rule", "model", "fallback"]
    fallback: bool = Field(description="No model was sure enough; 'candidates' has the best first.")
    label: str | None
    confidence: Share | None
    prediction_id: str | None = Field(description="Name it in feedback.")
    model: str | None
    version: int | None
    rule_id: str | None = Field(None, description="Of the rule that decided.")
    rule: RuleOut | None = Field(None, description="That decided: what to say or do.")
    candidates: list[TurnCandidateOut] = Field(description="All answers, the surest first.")
    steps: list[TurnStepOut] = Field(description="In the order they were taken.")

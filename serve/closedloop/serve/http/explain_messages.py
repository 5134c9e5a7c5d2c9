"""The body of a question why, and its answer, as pydantic models."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from closedloop.serve.http.messages import Request, Share, Text


class ExplainRequest(Request):
    """A text, and the label that is to be explained."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "Where is my parcel?"}]})

    text: Text
    label: Annotated[str, StringConstraints(min_length=1, max_length=1_000)] | None = Field(
        None, description="The label that the model answers, unless given."
    )
    most: Annotated[int, Field(ge=1, le=100)] = Field(
        10, description="Terms of each list, the strongest."
    )


class TermOut(BaseModel):
    """A term of the text and what it added to the label's score."""

    term: str
    score: float


class ExplainResponse(BaseModel):
    """The terms of the masked text that speak for and against a label, the strongest first."""

    model: str
    version: int
    label: str
    confidence: Share
    supporting: list[TermOut]
    opposing: list[TermOut]
    complete: bool = Field(
        description="False where the model also sees the text in ways that are no terms."
    )

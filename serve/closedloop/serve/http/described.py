"""What the API's description says besides the bodies: statuses, streams, headers."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Header
from pydantic import BaseModel

from closedloop.serve.figures import MEDIA_TYPE as METRICS_MEDIA_TYPE
from closedloop.serve.http.messages import ErrorResponse, StreamAnswer, StreamLine, StreamProblem
from closedloop.serve.http.prediction_stream import MEDIA_TYPE as STREAM_MEDIA_TYPE
from closedloop.serve.stamp import KEY_PATTERN

_MEANINGS = {
    401: "The API key is missing or not valid.",
    403: "The API key is valid, and what is asked is not among what it may do.",
    404: "There is no such model or prediction, or the key does not reach it.",
    409: "The model cannot do what is asked.",
    413: "The body is too large.",
    422: "The request is wrong; 'fields' says where in the body. With the code"
    " 'idempotency_mismatch', its Idempotency-Key was used for another request.",
    429: "Too many requests; come back after Retry-After seconds.",
    500: "An error of the service.",
    503: "The model or the event log cannot answer now; come back after Retry-After seconds.",
    504: "The request took too long; what it was to store may have been stored.",
}
# `Edge` reads the header; here for the description.
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="A new one for each request, the same when it is sent again: it is then"
        " answered as before and leaves no second event. Best a UUIDv7; any other is known for"
        " five to ten minutes across replicas.",
        json_schema_extra={"pattern": KEY_PATTERN},
        include_in_schema=True,
    ),
]


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what the description says of refusals."""
    told = (*statuses, 504)  # every request has a time limit
    return {s: {"model": ErrorResponse, "description": _MEANINGS[s]} for s in told}


def _inline(*models: type[BaseModel]) -> dict[str, Any]:
    """Return a schema of one of these models whose parts are components already."""
    template = "#/components/schemas/{model}"
    schemas = [model.model_json_schema(ref_template=template) for model in models]
    for schema in schemas:
        schema.pop("$defs", None)
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


STREAM_BODY = {
    "required": True,
    "description": "One JSON object a line.",
    "content": {
        STREAM_MEDIA_TYPE: {
            "schema": _inline(StreamLine),
            "examples": {
                "lines": {
                    "value": '{"id": 1, "text": "Where is my parcel?"}\n{"text": "我要退款"}\n'
                }
            },
        }
    },
}
STREAM_ANSWER: dict[str, Any] = {
    "description": "One JSON object a line, for each line that is not blank.",
    "content": {STREAM_MEDIA_TYPE: {"schema": _inline(StreamAnswer, StreamProblem)}},
}
METRICS_ANSWER: dict[str, Any] = {
    "description": "Prometheus' text format; each series bears the replica that counted it.",
    "content": {METRICS_MEDIA_TYPE: {"schema": {"type": "string"}}},
}

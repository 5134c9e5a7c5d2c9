"""The event at the HTTP edge and the event that is stored are one thing."""

from datetime import datetime
from typing import Any, get_args, get_origin

import pyarrow as pa
import pytest
from pydantic import ValidationError

from closedloop.data.event import SCHEMA, Kind
from closedloop.data.ingest import MAX_TEXT_CHARS
from closedloop.serve.http.event_messages import EventIn
from closedloop.serve.http.messages import MAX_TEXT_CHARS as MAX_SENT_CHARS

# Fields that every stored event has, and that the door fills in where a client leaves them out.
FILLED_IN = {"event_id", "ts", "tenant", "kind", "attributes"}


def arrow_type(annotation: Any) -> pa.DataType:
    """Return what a field of the edge is in Arrow."""
    plain = [a for a in get_args(annotation) if a is not type(None)]
    if get_origin(annotation) is dict:
        return pa.map_(*(arrow_type(each) for each in get_args(annotation)))
    if hasattr(annotation, "__metadata__"):
        return arrow_type(annotation.__origin__)
    if plain and isinstance(plain[0], str):
        return pa.string()
    if plain:
        return arrow_type(plain[0])
    return {
        str: pa.string(),
        int: pa.int32(),
        float: pa.float64(),
        datetime: pa.timestamp("us", tz="UTC"),
    }[annotation]


def test_the_edge_has_the_fields_of_the_schema():
    assert list(EventIn.model_fields) == SCHEMA.names


@pytest.mark.parametrize("name", SCHEMA.names)
def test_a_field_of_the_edge_has_the_type_of_the_schema(name):
    field = EventIn.model_fields[name]
    assert arrow_type(field.annotation) == SCHEMA.field(name).type
    nullable = type(None) in get_args(field.annotation)
    assert nullable is SCHEMA.field(name).nullable or name in FILLED_IN
    assert not field.is_required()


def test_the_edge_knows_every_kind_and_the_limits_of_files():
    assert set(get_args(EventIn.model_fields["kind"].annotation)) == {kind.value for kind in Kind}
    assert MAX_SENT_CHARS == MAX_TEXT_CHARS


@pytest.mark.parametrize("bound", [2**31, -1])
def test_a_number_that_the_schema_cannot_hold_is_refused(bound):
    for name in ("turn", "model_version"):
        with pytest.raises(ValidationError):
            EventIn.model_validate({"text": "x", name: bound})

"""The API under requests that schemathesis makes of its own description."""

import json

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

MODEL = "shop.intent.desk"
ALWAYS_THERE = {"/metrics", "/v1/turn", "/v1/models", "/v1/events", "/healthz", "/readyz"}
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
]
KEY = {"authorization": "Bearer cl_every"}


@schemathesis.serializer("application/x-ndjson")
def _json_lines(_, value):
    return value if isinstance(value, bytes) else json.dumps(value).encode() + b"\n"


few = settings(
    max_examples=30,
    deadline=None,
    derandomize=True,  # the same requests every time: what fails here fails everywhere
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def described(serve_models):
    # schemathesis' own pytest plugin is off (pyproject): it would be loaded by every test run.
    api = serve_models(MODEL, "bank.intent.desk", max_body_bytes=20_000)
    return schemathesis.openapi.from_asgi("/openapi.json", api.app, headers=KEY)


def fuzz(operation, mode, model):
    """Ask one route many times; return the statuses that came."""
    statuses = set()

    @few
    @given(data=st.data())
    def ask(data):
        case = data.draw(operation.as_strategy(generation_mode=mode))
        if model:
            case.path_parameters = {"model": model}
        statuses.add(case.call_and_validate(headers=KEY, checks=CHECKS).status_code)

    ask()
    return statuses


def takes_input(operation):
    return bool(operation.body or operation.path_parameters or operation.headers)


@pytest.mark.parametrize("model", [None, MODEL], ids=["any model", "a model that is there"])
@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
def test_every_answer_is_as_described(described, mode, model):
    valid = mode is schemathesis.GenerationMode.POSITIVE
    for found in described.get_all_operations():
        operation = found.ok()
        if (model is None or "{model}" in operation.path) and (valid or takes_input(operation)):
            statuses = fuzz(operation, mode, model)
            if valid and (model or operation.path in ALWAYS_THERE):
                assert 200 in statuses, operation.label

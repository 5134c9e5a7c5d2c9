"""The documented route and the short way of `Edge` give the same answers."""

import json

import pytest

from closedloop.serve.http.edge import Edge

PREDICT = "/v1/models/shop.intent.desk:predict"
IDS = ("request_id", "prediction_id")
BODIES = [
    {"text": "refund please"},
    {"text": "  我要退款  ", "dialogue_id": "d-1", "user_id": "ann", "channel": "app", "turn": 0},
    {"texts": ["where is my parcel", "你好", "good morning"]},
    {"text": "x" * 3_000},
    {"text": None, "texts": ["x"]},
    {},
    {"text": ""},
    {"text": "a", "texts": ["b"]},
    {"texts": []},
    {"texts": ["fine", " "]},
    {"text": "x" * 8_001},
    {"text": "x", "turn": -1},
    {"text": "x", "turn": "0"},
    {"text": "x", "turn": 1.0},
    {"text": "x", "turn": True},
    {"text": 7},
    {"text": "x", "user_id": ""},
    {"text": "x", "channel": 5},
    {"text": "x", "txet": "typo"},
    {"text": "x" * 30_000},
    ["text"],
    "text",
    None,
    b"",
    b"{",
    b"\xff\xfe",
    b"[" * 10_000,
    b'{"text": "\\ud800"}',
    b'{"text": "x", "turn": NaN}',
    b'{"text": "x", "text": "y"}',
    b'\xef\xbb\xbf{"text": "x"}',
]


class OnlyTheFramework(Edge):
    """`Edge` without its short way."""

    async def _answer(self, scope, body, receive, send, stamp):
        async def replayed():
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replayed, send)


def without_ids(body):
    if isinstance(body, dict):
        return {k: "…" if k in IDS else without_ids(v) for k, v in body.items()}
    return [without_ids(each) for each in body] if isinstance(body, list) else body


@pytest.fixture
def both(serve_models):
    short, long = (serve_models(max_body_bytes=20_000) for _ in range(2))
    (middleware,) = [each for each in long.app.user_middleware if each.cls is Edge]
    middleware.cls = OnlyTheFramework
    return short, long


@pytest.mark.parametrize("body", BODIES, ids=lambda body: str(body)[:40])
def test_both_ways_give_the_same_answer(both, body):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"content-type": "application/json"}
    answers, logged = [], []
    for api in both:
        answers.append(api.call("POST", PREDICT, content=content, headers=headers))
        logged.append(len(api.events()))
    short, long = answers
    assert short.status_code == long.status_code
    assert without_ids(short.json()) == without_ids(long.json())
    assert logged[1] == 2 * logged[0]  # they share the log

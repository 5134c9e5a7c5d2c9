"""A stream of JSON Lines, over ASGI and over a connection."""

import asyncio
import json
import threading

import httpx
import pytest
import uvicorn

from closedloop.serve.client import AsyncClient, Client
from closedloop.serve.http.prediction_stream import MAX_LINE_BYTES, Lines

STREAM = "/v1/models/shop.intent.desk:predict_stream"


def ask(api, content, **more):
    response = api.call("POST", STREAM, content=content, **more)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in response.text.split("\n") if line]


def test_lines_are_answered_in_order_with_their_ids_and_logged(desk):
    sent = [
        {"id": "a", "text": "refund please", "dialogue_id": "d1", "turn": 0, "user_id": "ann"},
        {"id": 7, "text": "call 13800138000", "dialogue_id": "d1", "turn": 1},
        {"text": "包裹在哪里"},
    ]
    told = ask(desk, "\n".join(json.dumps(line) for line in sent))
    assert [(each["line"], each["id"]) for each in told] == [(1, "a"), (2, 7), (3, None)]
    assert (told[0]["label"], told[0]["model"], told[0]["version"]) == (
        "refund",
        "shop.intent.desk",
        3,
    )
    events = desk.events()
    assert [event.event_id for event in events] == [each["prediction_id"] for each in told]
    assert [(e.dialogue_id, e.turn, e.user_id) for e in events] == [
        ("d1", 0, "p-shop"),
        ("d1", 1, None),
        (None, None, None),
    ]
    assert events[1].text == "call <PHONE>"


@pytest.mark.parametrize(
    ("bad", "code", "name"),
    [
        (b"{not json", "invalid_request", None),
        (b'["refund"]', "invalid_request", None),
        (b'{"text": "", "id": "x"}', "invalid_request", "x"),
        (b'{"txet": "refund", "id": 3}', "invalid_request", 3),
        (b'{"text": "\\ud800", "id": "\\ud800"}', "invalid_request", None),
        (b"\xff\xfe", "invalid_request", None),
        (b"[" * 50_000, "invalid_request", None),
        (b'{"text": "' + b"x" * MAX_LINE_BYTES + b'"}', "too_large", None),
    ],
)
def test_a_bad_line_costs_only_itself(desk, bad, code, name):
    told = ask(desk, b'{"text": "hello"}\n' + bad + b'\n\n{"text": "refund"}\n')
    assert [each["line"] for each in told] == [1, 2, 4]
    assert (told[1]["error"]["code"], told[1]["id"]) == (code, name)
    assert told[1]["error"]["remedy"]
    assert told[2]["label"] == "refund"


def test_a_model_that_fails_costs_the_lines_it_fails_on(serve_models, lean_model):
    class Fragile:
        size_bytes = 1

        def predict_many(self, texts):
            if "poison" in texts:
                raise ZeroDivisionError("a secret of the model")
            return lean_model.predict_many(texts)

    api = serve_models(load=lambda champion: Fragile())
    told = ask(api, b'{"text": "hi", "turn": 1}\n{"text": "poison", "turn": 2}\n{"text": "hi"}\n')
    assert [each.get("error", {}).get("code") for each in told] == [None, "internal", None]
    assert "secret" not in str(told)


@pytest.mark.parametrize(
    ("model", "key", "status"),
    [
        ("shop.intent.none", "cl_shop", 404),
        ("shop.intent.desk", "cl_bank", 404),
        ("shop.intent.desk", None, 401),
    ],
)
def test_who_may_not_ask_is_refused_before_the_first_line(desk, model, key, status):
    response = desk.call("POST", f"/v1/models/{model}:predict_stream", key=key, content=b"{}")
    assert response.status_code == status
    assert response.json()["error"]["remedy"]


def test_a_stream_may_be_larger_than_a_body_and_is_never_held_as_a_whole(serve_models):
    api = serve_models(max_body_bytes=1_000)
    given = 0
    answered_when_last_was_sent = 0
    answered = 0

    async def receive():
        nonlocal given, answered_when_last_was_sent
        given += 1
        answered_when_last_was_sent = answered
        body = b'{"text": "refund"}\n' * 10
        return {"type": "http.request", "body": body, "more_body": given < 50}

    async def send(message):
        nonlocal answered
        answered += message.get("body", b"").count(b"\n")

    asyncio.run(api.app(scope(), receive, send))
    assert answered == 500
    assert answered_when_last_was_sent == 490


def scope():
    return {
        "type": "http",
        "method": "POST",
        "path": STREAM,
        "raw_path": STREAM.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "server": ("api", 80),
        "http_version": "1.1",
        "headers": [(b"authorization", b"Bearer cl_shop")],
    }


def test_the_client_going_away_ends_it(desk):
    messages = [
        {"type": "http.request", "body": b'{"text": "refund"}\n{"te', "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive():
        return messages.pop(0)

    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(asyncio.wait_for(desk.app(scope(), receive, send), 10))
    assert messages == []
    assert len(desk.events()) == 1
    assert desk.service.health().in_flight == 0


def test_a_fast_stream_is_slowed_down_not_refused(serve_models):
    api = serve_models(rate_per_key_s=50, burst_per_key=1)
    told = ask(api, b'{"text": "refund"}\n' * 400)
    assert {each.get("label") for each in told} == {"refund"}


def test_a_full_event_buffer_holds_a_stream_up(serve_models):
    api = serve_models(buffer_events=64)
    told = ask(api, b'{"text": "refund"}\n' * 500)
    assert {each.get("label") for each in told} == {"refund"}
    assert len(api.events()) == 500


def test_lines_are_the_same_however_the_bytes_are_cut():
    content = "一\n\n{}\r\n  \nlast".encode()
    whole = Lines()
    expected = [*whole.of(content), *whole.rest()]
    assert [number for number, _ in expected] == [1, 3, 5]
    for size in range(1, len(content)):
        lines = Lines()
        cut = [
            found for i in range(0, len(content), size) for found in lines.of(content[i:][:size])
        ]
        assert [*cut, *lines.rest()] == expected


@pytest.fixture
def connect(serve_models):
    """Return a function that serves an API on a port and returns its address."""
    running = []

    def serve(**options):
        api = serve_models(**options)
        config = uvicorn.Config(api.app, port=0, log_level="critical", lifespan="off")
        server = uvicorn.Server(config)
        started = threading.Event()
        startup = server.startup

        async def tell(sockets=None):
            await startup(sockets)
            started.set()

        server.startup = tell
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        assert started.wait(10)
        running.append((server, thread))
        port = server.servers[0].sockets[0].getsockname()[1]
        return api, f"http://127.0.0.1:{port}"

    yield serve
    for server, thread in running:
        server.should_exit = True
        thread.join(10)


def test_the_clients_stream_over_a_connection(connect):
    _, url = connect()
    lines = [{"text": "refund", "id": i} for i in range(600)] + [{"text": ""}]
    with Client(url, "cl_shop") as client:
        told = list(client.predict_stream("shop.intent.desk", iter(lines)))
    assert [each.line for each in told] == list(range(1, 602))
    assert [each.id for each in told[:600]] == list(range(600))
    assert told[0].answer.label == "refund"
    assert told[-1].error.code == "invalid_request"

    async def run():
        async def feed():
            yield "refund"
            yield "hello"

        async with AsyncClient(url, "cl_shop") as client:
            stream = client.predict_stream("shop.intent.desk", feed(), window=1)
            return [each.answer.label async for each in stream]

    assert asyncio.run(run()) == ["refund", "greeting"]


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize(
    ("path", "key", "status"),
    [
        ("/v1/feedback", "cl_shop", 413),
        ("/v1/models/shop.intent.desk:predict", "cl_shop", 413),
        ("/v1/feedback", "cl_wrong", 401),
        ("/v1/models/shop.intent.none:predict_stream", "cl_shop", 404),
    ],
)
def test_a_refusal_arrives_however_large_the_body_is(connect, path, key, status, declared):
    _, url = connect(max_body_bytes=10_000)
    block = b"x" * 65_536

    def blocks():
        for _ in range(200):
            yield block

    content = block * 200 if declared else blocks()
    headers = {"authorization": f"Bearer {key}"}
    with httpx.Client(trust_env=False, timeout=30) as http:
        response = http.post(url + path, content=content, headers=headers)
    assert response.status_code == status
    assert response.json()["error"]["remedy"]

import asyncio
import json
import pickle
import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from closedloop.core.errors import (
    EngineError,
    InputError,
    NotAllowed,
    NotFound,
    Overloaded,
)
from closedloop.serve.client import AsyncClient, Client
from closedloop.serve.client_attempts import ApiError, Attempts, Patience, no_answer
from closedloop.serve.client_attempts import refusal as failure_of
from closedloop.serve.client_calls import Windows, batches, models

ANSWER = {
    "request_id": "r",
    "model": "零售.intent.desk",
    "version": 4,
    "predictions": [
        {
            "prediction_id": "p",
            "label": "refund",
            "confidence": 0.5,
            "top": [{"label": "refund", "confidence": 0.5}],
        }
    ],
}


class Server:
    """Gives the prepared answers in turn; an exception is raised."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []
        self.pauses_s = []

    def client(self, **more):
        return Client(
            "http://api",
            "cl_key",
            transport=httpx.MockTransport(self._answer),
            sleep=self.pauses_s.append,
            **more,
        )

    def async_client(self, **more):
        async def pause(seconds):
            self.pauses_s.append(seconds)

        transport = httpx.MockTransport(self._answer)
        return AsyncClient("http://api", "cl_key", transport=transport, sleep=pause, **more)

    def _answer(self, request):
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def refusal(status, **headers):
    error = {"code": "c", "message": f"Refused with {status}.", "remedy": "Do this."}
    return httpx.Response(status, json={"error": error}, headers=headers)


def test_predict_sends_texts_and_returns_records():
    server = Server(httpx.Response(200, json=ANSWER))
    answers = server.client().predict("零售.intent.desk", ["退款"], dialogue_id="d", turn=0)
    (request,) = server.requests
    assert request.url.path == "/v1/models/零售.intent.desk:predict"
    assert request.headers["authorization"] == "Bearer cl_key"
    assert json.loads(request.content) == {"texts": ["退款"], "dialogue_id": "d", "turn": 0}
    assert (answers.version, answers.predictions[0].label) == (4, "refund")
    assert answers.predictions[0].top == (("refund", 0.5),)


def test_feedback_models_and_health_return_records():
    model = {"model": "m", "champion": 2, "serving": 1, "problem": "it is damaged"}
    health = {"status": "ok", "models_serving": 1, "models_failed": 0, "problems": []}
    server = Server(
        httpx.Response(201, json={"feedback_id": "f"}),
        httpx.Response(200, json={"models": [model]}),
        httpx.Response(200, json={**health, "in_flight": 0, "events_waiting": 0}),
    )
    client = server.client()
    assert client.feedback("p", "down", comment="no") == "f"
    assert client.models()[0].serving == 1
    assert client.health().status == "ok"
    body = {"prediction_id": "p", "feedback": "down", "comment": "no"}
    assert json.loads(server.requests[0].content) == body


@pytest.mark.parametrize(
    ("status", "kind"), [(401, NotAllowed), (404, NotFound), (413, InputError), (422, InputError)]
)
def test_a_refusal_is_raised_at_once_in_the_services_words(status, kind):
    server = Server(refusal(status))
    with pytest.raises(kind, match=rf"Refused with {status}\. Do this\."):
        server.client().models()
    assert len(server.requests) == 1


def test_a_busy_or_absent_service_is_asked_again():
    server = Server(
        refusal(429, **{"retry-after": "2"}),
        httpx.Response(503, text="replica is gone"),
        httpx.ConnectError("refused"),
        httpx.ReadError("reset"),
        httpx.Response(200, json=ANSWER),
    )
    assert server.client().predict("m", ["x"]).version == 4
    assert len(server.requests) == 5
    assert server.pauses_s[0] >= 2
    assert len(set(server.pauses_s)) == 4  # no two clients come back together


@pytest.mark.parametrize(
    ("answer", "kind", "told"),
    [
        (lambda: refusal(429), Overloaded, "Refused with 429"),
        (lambda: httpx.Response(503, text="no replica"), EngineError, "answered 503"),
        (lambda: httpx.ConnectError("refused"), EngineError, "did not answer: refused"),
    ],
)
def test_the_last_attempt_raises(answer, kind, told):
    server = Server(*(answer() for _ in range(3)))
    with pytest.raises(kind, match=told):
        server.client(attempts=3).models()
    assert len(server.requests) == 3


def test_an_absurd_retry_after_does_not_park_the_client():
    server = Server(refusal(429, **{"retry-after": "86400"}), httpx.Response(200, json=ANSWER))
    server.client().predict("m", ["x"])
    assert server.pauses_s[0] < 60


def test_a_server_that_is_not_ours_is_named():
    server = Server(httpx.Response(404, text="<html>nginx</html>"))
    with pytest.raises(NotFound, match="answered 404"):
        server.client(attempts=1).models()


def test_the_client_needs_only_httpx():
    program = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"ray", "fastapi", "starlette", "pydantic", "sklearn", "numpy",
            "mlflow", "sqlalchemy", "pandas", "pyarrow", "scipy", "prometheus_client"}:
            raise ImportError(f"{name} is not installed here")
sys.meta_path.insert(0, Blocked())
import closedloop.serve.client
closedloop.serve.client.Client("http://api").close()
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_both_clients_have_the_same_methods():
    def public(kind):
        return {name for name in vars(kind) if not name.startswith("_")}

    assert public(Client) == public(AsyncClient)


def test_an_idempotency_key_stays_the_same_over_the_attempts_of_a_call():
    answered = [httpx.Response(200, json=ANSWER) for _ in range(2)]
    server = Server(httpx.ReadError("reset"), *answered)
    client = server.client()
    client.predict("m", ["x"])
    client.predict("m", ["x"])
    first, again, other = (r.headers["idempotency-key"] for r in server.requests)
    assert first == again != other


def test_what_only_reads_has_no_idempotency_key():
    server = Server(httpx.Response(200, json={"models": []}))
    server.client().models()
    assert "idempotency-key" not in server.requests[0].headers


@pytest.mark.parametrize(
    ("status", "code", "kind"), [(500, "internal", EngineError), (404, "not_found", NotFound)]
)
def test_a_proxys_word_is_tried_again_and_the_services_own_is_not(status, code, kind):
    """Of a replica that died, or by a proxy that has just started and knows no replica."""
    server = Server(httpx.Response(status, text="no route"), httpx.Response(200, json=ANSWER))
    assert server.client().predict("m", ["x"]).version == 4
    server = Server(refusal_of(status, code))
    with pytest.raises(kind):
        server.client().predict("m", ["x"])


def refusal_of(status, code):
    error = {"code": code, "message": "No.", "remedy": "Do this."}
    return httpx.Response(status, json={"error": error})


def test_an_error_carries_what_the_service_told_also_through_pickle():
    server = Server(refusal_of(422, "idempotency_mismatch"))
    with pytest.raises(ApiError) as caught:
        server.client().models()
    for error in (caught.value, pickle.loads(pickle.dumps(caught.value))):
        told = (error.code, error.status, error.message, error.remedy)
        assert told == ("idempotency_mismatch", 422, "No.", "Do this.")
        assert isinstance(error, InputError)


def test_no_attempt_begins_after_the_deadline():
    now = [0.0]
    attempts = Attempts(
        Patience(attempts=100, deadline_s=10), clock=lambda: now[0], draw=lambda _, most: most
    )
    failure = failure_of(refusal_of(503, "unavailable"))

    def try_for_ever():
        while True:
            assert attempts.request(models())["timeout"] <= 10 - now[0]
            now[0] += attempts.pause_s(failure)

    with pytest.raises(EngineError):
        try_for_ever()
    assert 5 < now[0] < 10


@pytest.mark.parametrize("seed", range(50))
def test_by_default_a_call_outlasts_a_proxys_restart_and_not_its_deadline(seed):
    now, draw = [0.0], random.Random(seed).uniform
    failure = no_answer("http://api", httpx.ConnectError("refused"))

    def attempts_until(back_at_s):
        began, attempts = now[0], Attempts(Patience(), clock=lambda: now[0], draw=draw)
        while True:
            attempts.request(models())
            if now[0] - began >= back_at_s:
                return now[0] - began
            now[0] += attempts.pause_s(failure)

    assert attempts_until(20) < 22.1  # it does not sleep long after the proxy is back
    with pytest.raises(EngineError):
        attempts_until(10_000)
    assert now[0] < 22.1 + 30


def test_retry_after_may_be_a_date():
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=8), usegmt=True)
    server = Server(refusal(503, **{"retry-after": at}), httpx.Response(200, json=ANSWER))
    server.client().predict("m", ["x"])
    assert 5 < server.pauses_s[0] < 9


def test_an_answer_of_something_else_is_told():
    server = Server(httpx.Response(200, text="<html>hello</html>"))
    with pytest.raises(EngineError, match="not as closedloop"):
        server.client().models()


def test_an_address_that_is_none_is_told_at_once():
    with pytest.raises(InputError, match="no address"), Client("gopher://api") as client:
        client.health()


def test_texts_are_cut_by_count_and_by_bytes():
    assert [len(batch) for batch in batches(["x"] * 600)] == [256, 256, 88]
    long = ["退" * 8_000] * 100
    cut = list(batches(long))
    assert [text for batch in cut for text in batch] == long
    assert all(len(json.dumps(batch, ensure_ascii=False).encode()) < 600_000 for batch in cut)


def test_one_text_is_not_taken_for_a_list_of_letters():
    server = Server(httpx.Response(200, json=ANSWER))
    server.client().predict("m", "refund")
    assert json.loads(server.requests[0].content)["texts"] == ["refund"]


def test_a_stream_is_cut_into_windows_whose_lines_count_on():
    windows = Windows("m", lines=2)
    calls = [windows.add("a"), windows.add({"text": "b", "id": "2"}), windows.add("c")]
    assert calls[0] is calls[2] is None
    assert [json.loads(line) for line in calls[1].body.split(b"\n")] == [
        {"text": "a"},
        {"text": "b", "id": "2"},
    ]
    error = {"code": "c", "message": "m", "remedy": "r"}
    (answer,) = windows.rest().read(json.dumps({"line": 1, "id": None, "error": error}) + "\n")
    assert (answer.line, answer.error.code) == (3, "c")
    assert windows.rest() is None


def test_the_async_client_asks_again_too():
    server = Server(httpx.ConnectError("refused"), httpx.Response(200, json=ANSWER))

    async def run():
        async with server.async_client() as client:
            return await client.predict("m", ["x"])

    assert asyncio.run(run()).version == 4
    assert len(server.pauses_s) == 1


def test_the_async_client_keeps_its_deadline_while_it_waits():
    async def never(request):
        await asyncio.Event().wait()

    async def run():
        transport = httpx.MockTransport(never)
        async with AsyncClient("http://api", deadline_s=0.05, transport=transport) as client:
            await client.health()

    with pytest.raises(EngineError, match="did not answer"):
        asyncio.run(run())

import json

import httpx
import pytest

from closedloop.core.errors import (
    EngineError,
    InputError,
    NotAllowed,
    NotFound,
    Overloaded,
)
from closedloop.serve.client import Client

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
        server.client().models()


def test_the_client_needs_little_more_than_httpx():
    import subprocess
    import sys

    heavy = {"ray", "fastapi", "mlflow", "sklearn", "sqlalchemy", "pandas", "pyarrow"}
    program = f"import sys, closedloop.serve.client; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert found.stdout.strip() == "[]", found.stderr

"""The API's own description in a browser: every route shows, and can be tried."""

import json
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("playwright")

import uvicorn
from playwright.sync_api import expect

from closedloop.core.api_key import Action, ApiKey
from closedloop.core.ports import free_port
from closedloop.data.event_log.sqlite import SqliteEventLog
from closedloop.models.model_version import Champion
from closedloop.models.prediction import Prediction
from closedloop.models.reference import ModelRef
from closedloop.serve.admission.access import KeyRing
from closedloop.serve.catalog import Catalog
from closedloop.serve.event_writer import EventWriter
from closedloop.serve.http.api import build_app
from closedloop.serve.model_host import ModelHost
from closedloop.serve.options import ServingOptions
from closedloop.serve.service import Service

pytestmark = pytest.mark.browser
KEY = ApiKey(id="1", client="ann", tenant="retail", created_at=0.0, actions=frozenset(Action))


class Refunds:
    size_bytes = 1

    def predict_many(self, texts: list[str]) -> list[Prediction]:
        return [Prediction(label="refund", confidence=0.8, top=(("refund", 0.8),)) for _ in texts]


@pytest.fixture
def api_url(tmp_path: Path) -> Iterator[str]:
    if not (os.environ.get("CHROMIUM") or shutil.which("chromium")):
        pytest.skip("no chromium here: install the Debian package, or set CHROMIUM")
    log = SqliteEventLog(tmp_path / "events.db")
    host = ModelHost(lambda _: Refunds())
    service = Service(
        host=host,
        keys=KeyRing(lambda _: KEY),
        log=log,
        writer=EventWriter(log),
        mask=str,
        pseudonym=lambda user_id, _: user_id,
        options=ServingOptions(),
    )
    desk = Champion(ref=ModelRef.parse("retail.intent.desk"), version=3, path="/m", sha256="")
    host.apply(Catalog.of([desk])).result(10)
    server = uvicorn.Server(
        uvicorn.Config(build_app(service), port=free_port(), log_level="error", lifespan="off")
    )
    serving = threading.Thread(target=server.run)
    serving.start()
    url = f"http://127.0.0.1:{server.config.port}"
    for _ in range(100):
        try:
            httpx.get(f"{url}/healthz", trust_env=False)
            break
        except httpx.TransportError:
            threading.Event().wait(0.1)  # the server opens its port itself
    yield url
    server.should_exit = True
    serving.join(10)
    service.close()


def test_every_route_shows_and_can_be_tried(api_url: str, browser: Any) -> None:
    context = browser.new_context(http_credentials={"username": "ann", "password": "cl_1_secret"})
    page = context.new_page()
    page.set_default_timeout(30_000)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{api_url}/docs")
    boxes = page.locator("details")
    described = httpx.get(
        f"{api_url}/openapi.json", headers={"authorization": "Bearer cl_1_x"}, trust_env=False
    ).json()["paths"]
    expect(boxes).to_have_count(len(described))
    page.get_by_label("API key").fill("cl_1_secret")

    def tried(path: str) -> str:
        box = boxes.filter(has=page.locator("summary code", has_text=path)).first
        box.locator("summary").click()
        box.get_by_role("button", name="Send").click()
        answer = box.locator("pre")
        expect(answer).not_to_have_text("")
        return str(answer.inner_text())

    streamed = tried("/v1/models/{model}:predict_stream")
    assert streamed.startswith("200")
    lines = [json.loads(line) for line in streamed.splitlines()[1:] if line]
    assert [line["label"] for line in lines] == ["refund", "refund"]
    assert '"decided_by": "model"' in tried("/v1/turn")
    assert "closedloop_requests_total" in tried("/metrics")
    assert "cannot be explained" in tried("/v1/models/{model}:explain")
    expect(page.get_by_text("Idempotency-Key").first).to_be_attached()
    expect(page.get_by_role("heading", name="StreamLine")).to_be_visible()
    assert complaints == []
    context.close()

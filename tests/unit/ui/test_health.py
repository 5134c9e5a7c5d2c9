import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from closedloop.core.errors import EngineError
from closedloop.core.settings import Settings
from closedloop.core.store import Store
from closedloop.samples.annotation import AnnotationQueue
from closedloop.ui.app.health import check_health, check_serve, check_spark
from closedloop.ui.app.queue_route import QueueRoute
from closedloop.workflows.records import RunRecord, StageRecord


@contextmanager
def api(status: int) -> Iterator[int]:
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def etl_run(state: str) -> RunRecord:
    stage = StageRecord(
        name="spark etl", state=state, rows=5988, details={}, started_at=0.0, ended_at=12.0
    )
    return RunRecord(
        id="r",
        workflow="cold-start",
        model="m",
        params={},
        state=state,
        error=None,
        summary={},
        started_at=0.0,
        ended_at=None,
        stages=(stage,),
    )


def test_serve_is_well_when_it_says_so() -> None:
    with api(200) as port:
        found = check_serve(Settings(api_port=port))
    assert found.ok
    assert str(port) in found.sentence


def test_serve_is_ill_when_it_says_so() -> None:
    with api(503) as port:
        found = check_serve(Settings(api_port=port))
    assert not found.ok
    assert "503" in found.sentence
    assert "/healthz" in found.remedy


def test_serve_that_is_away_comes_with_a_remedy() -> None:
    found = check_serve(Settings(api_port=1))
    assert not found.ok
    assert "closedloop up" in found.remedy


@pytest.mark.parametrize(
    ("state", "ok", "words"),
    [
        ("done", True, "took 12 s, 5,988 rows"),
        ("running", True, "running"),
        ("failed", False, "failed"),
    ],
)
def test_spark_is_judged_by_its_last_stage(state: str, ok: bool, words: str) -> None:
    found = check_spark([etl_run(state)])
    assert (found.ok, words in found.sentence) == (ok, True)


def test_one_dead_engine_does_not_hide_the_others(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, api_port=1, lake="", store="")
    store = Store.open(settings.store_url)

    def no_ray(_: Settings) -> AnnotationQueue:
        raise EngineError("Ray is down.", remedy="Start it.")

    route = QueueRoute(settings, AnnotationQueue(store), connect=no_ray)
    found = {health.engine: health for health in check_health(settings, store, route, [])}
    assert list(found) == ["Ray", "Serve", "Spark", "Store", "Queue", "Lake"]
    assert {engine for engine, health in found.items() if not health.ok} == {"Ray", "Serve"}
    assert found["Ray"].sentence == "Ray is down."
    assert "straight to the store" in found["Queue"].sentence

    store._engine.dispose()
    (tmp_path / "store.db").unlink()
    (tmp_path / "store.db").mkdir()
    found = {health.engine: health for health in check_health(settings, store, route, [])}
    assert not found["Store"].ok
    assert found["Lake"].ok

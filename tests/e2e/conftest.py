"""A real app in its own process, a real browser, and data such as a run leaves behind."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from closedloop.core.identity import Identities, Role
from closedloop.core.ports import free_port
from closedloop.core.settings import Settings
from closedloop.core.store import Store
from closedloop.samples.annotation import AnnotationQueue
from closedloop.samples.annotation_task import NewTask
from closedloop.ui.app.launch import app_command, app_environment
from closedloop.workflows.records import RunRecords

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or ""
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
QUEUE = "demo.svm.intent"
PASSWORD = "correct horse"
_LOG_CHARACTERS = 6_000

TASKS = [
    ("Where is my parcel? It has been a week.", "delivery_late", ["parcel", "week", "arrive"]),
    ("The coupon says it is not valid at checkout", "coupon_invalid", ["coupon", "valid"]),
    ("我的快递怎么还没到？已经过了一个星期了", "delivery_late", ["快递", "还没到", "物流"]),
    ("I was charged twice for one order", "charged_twice", ["charged", "twice", "order"]),
    ("优惠券在结账的时候不能用", "coupon_invalid", ["优惠券", "结账"]),
    ("How do I send the shoes back?", "return_item", ["send", "back", "return"]),
    ("Can I change the address after paying?", "change_address", ["address", "change"]),
    ("退款什么时候能到账", "refund_status", ["退款", "到账"]),
]
LABELS = sorted({label for _, label, _ in TASKS})


def new_tasks() -> list[NewTask]:
    return [
        NewTask(
            sample_id=f"s{place}",
            text=text,
            reason=f"margin 0.0{place + 1}, cluster {place % 4}",
            suggestion=label,
            priority=1.0 - place / 100,
            details={
                "cluster": place % 4,
                "keywords": keywords,
                "neighbours": [
                    other for other, same, _ in TASKS if same == label and other != text
                ],
                "language": "zh" if "\u4e00" <= text[0] <= "\u9fff" else "en",
                "labels": LABELS,
                "truth": f"TRUTH-{label}",  # what a simulated run keeps for its annotators
            },
        )
        for place, (text, label, keywords) in enumerate(TASKS)
    ]


def add_runs(store: Store) -> None:
    """Record a cold start and a repair as a workflow does, rows and figures invented."""
    records = RunRecords(store)
    for workflow, stages, summary in (
        (
            "cold-start",
            [
                ("ingest", 6000, {"new": 5988, "known already": 0, "refused": 12}),
                (
                    "spark etl",
                    5988,
                    {"engine": "ray", "topics": 40, "languages": "en 4021, zh 1967"},
                ),
                ("cluster", 5988, {"clusters": 44, "largest": "parcel week arrive (412)"}),
                ("annotate", 1000, {"labels": 1000, "waves": 4, "annotators": "3, simulated"}),
                ("train", 880, {"classes": 44, "trials": 8, "cross-validated accuracy": 0.8712}),
                ("joint evaluation", 120, {"challenger accuracy": "0.874", "verdict": "release"}),
                ("release", 1, {"version": 1, "seconds until served": 0.8}),
                ("held-out accuracy", 1200, {"held-out accuracy": 0.874}),
            ],
            {"accuracy": 0.874, "version": 1},
        ),
        (
            "repair",
            [
                ("replay traffic", 2000, {"users": "simulated", "thumbs down": 312}),
                ("bad cases", 312, {"engine": "ray", "attributed to": f"{QUEUE} version 1"}),
                ("annotate", 300, {"bad cases": 300, "annotators": "3, simulated"}),
                ("train", 1180, {"classes": 44, "trials": 8, "cross-validated accuracy": 0.9043}),
                ("joint evaluation", 120, {"fixed": 9, "broken": 2, "verdict": "release"}),
                ("release", 1, {"version": 2, "failed requests": 0}),
                ("bad cases again", 312, {"fixed": 241}),
                ("held-out accuracy", 1200, {"held-out accuracy": 0.911}),
            ],
            {"accuracy_before": 0.874, "accuracy": 0.911, "bad_cases": 312, "version": 2},
        ),
    ):
        run = records.start(
            workflow, QUEUE, {"labels": 1000, "seed": 7, "simulated_annotators": True}
        )
        for position, (name, rows, details) in enumerate(stages):
            with records.stage(run, position, name) as outcome:
                outcome.rows, outcome.details = rows, details
        records.finish(run, summary)


@dataclass
class App:
    """A running app and the state below it."""

    url: str
    store: Store
    queue: AnnotationQueue
    settings: Settings
    log: Path = field(default=Path())


@contextmanager
def running_app(home: Path) -> Iterator[App]:
    """Start the app on an empty home with two annotators and an engineer."""
    settings = Settings(home=home, app_port=free_port(), api_port=free_port(), ray_address="")
    store = Store.open(settings.store_url)
    people = Identities(store)
    for name, role in (("ann", Role.ANNOTATOR), ("bob", Role.ANNOTATOR), ("eve", Role.ENGINEER)):
        people.add_user(name, PASSWORD, role)
    app = App(
        url=f"http://127.0.0.1:{settings.app_port}",
        store=store,
        queue=AnnotationQueue(store),
        settings=settings,
        log=home / "app.log",
    )
    with app.log.open("w") as log:
        process = subprocess.Popen(
            app_command(settings), env=app_environment(settings), stdout=log, stderr=log
        )
        try:
            _wait_until_up(app, process)
            yield app
        finally:
            process.terminate()
            process.wait(timeout=20)
            store.close()


def _wait_until_up(app: App, process: subprocess.Popen[bytes]) -> None:
    import httpx

    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        assert process.poll() is None, app.log.read_text()
        try:
            if httpx.get(f"{app.url}/_stcore/health", timeout=2, trust_env=False).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.2)  # the process opens its port itself; there is no event to wait for
    raise AssertionError(f"the app did not come up:\n{app.log.read_text()}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the app wrote beside a failure that only its page was seen to have."""
    report = yield
    app = getattr(item, "funcargs", {}).get("app")
    if report.failed and isinstance(app, App):
        report.sections.append(("app.log", app.log.read_text()[-_LOG_CHARACTERS:]))
    return report


@pytest.fixture
def browser() -> Iterator[Any]:
    """A browser for one test: while Playwright runs, no other test could use asyncio."""
    from playwright import sync_api

    with sync_api.sync_playwright() as playwright:
        with_browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=CHROMIUM_FLAGS, headless=True
        )
        yield with_browser
        with_browser.close()


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    if not CHROMIUM:
        pytest.skip("no chromium here: install the Debian package, or set CHROMIUM")
    pytest.importorskip("playwright.sync_api")
    with running_app(tmp_path_factory.mktemp("app")) as running:
        yield running


@pytest.fixture
def visit(app: App, browser: Any) -> Iterator[Callable[..., Any]]:
    """Open the app in a browser context of its own, logged in where a name is given."""
    contexts = []

    def open_page(name: str = "", path: str = "") -> Any:
        context = browser.new_context(viewport={"width": 1360, "height": 900})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.goto(app.url)
        if name:
            log_in(page, name, PASSWORD)
            page.get_by_role("button", name="Sign out").wait_for()
        if path:
            page.get_by_test_id("stSidebarNav").get_by_text(path, exact=True).click()
            page.get_by_role("heading", name=path).wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()


def log_in(page: Any, name: str, password: str) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password", exact=True).fill(password)
    page.get_by_role("button", name="Log in").click()

"""The app as a person meets it: headless Chromium, a real server, a real store."""

import re
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("playwright")

from playwright.sync_api import Page, expect

from closedloop.samples.annotation_task import QueueCounts
from closedloop.ui.app.login_guard import FREE_ATTEMPTS

pytestmark = pytest.mark.browser

Visit = Callable[..., Page]
expect.set_options(timeout=30_000)  # conditions are awaited; a busy machine may take its time


@pytest.fixture
def e2e(request: pytest.FixtureRequest) -> Any:
    """The conftest beside this file, for its data."""
    [plugin] = [
        module
        for module in request.config.pluginmanager.get_plugins()
        if getattr(module, "__file__", "") == str(request.path.with_name("conftest.py"))
    ]
    return plugin


@pytest.fixture(autouse=True)
def _empty_store(app: Any) -> None:
    import sqlalchemy as sa

    from closedloop.core import schema

    with app.store.write() as connection:
        for table in (schema.vote, schema.lease, schema.task, schema.stage, schema.run):
            connection.execute(sa.delete(table))


def card_text(page: Page, text: str) -> None:
    """Wait until the card shows the task with this text."""
    expect(page.get_by_test_id("task-text")).to_have_text(text)


def test_a_wrong_password_is_refused_and_the_right_one_let_in(visit: Visit, e2e: Any) -> None:
    page = visit()
    e2e.log_in(page, "ann", "wrong password")
    expect(page.get_by_text("The name or the password is wrong.")).to_be_visible()
    expect(page.get_by_role("button", name="Sign out")).to_have_count(0)
    e2e.log_in(page, "ann", e2e.PASSWORD)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("button", name="Log in")).to_be_visible()
    page.reload()
    expect(page.get_by_role("button", name="Log in")).to_be_visible()


def test_guessing_is_slowed_down(visit: Visit, e2e: Any) -> None:
    page = visit()
    wrong = page.get_by_text("The name or the password is wrong.")
    slowed = page.get_by_text("Too many wrong attempts")
    idle = page.locator("[data-testid=stApp][data-test-script-state=notRunning]")
    guesses = 0
    # On a busy machine a click may fall into the page's refresh, and that guess is lost.
    while not slowed.is_visible() and guesses < 20:
        e2e.log_in(page, "nobody", f"guess {guesses}")
        guesses += 1
        expect(wrong.or_(slowed)).to_be_visible()
        expect(idle).to_be_visible()
    expect(slowed).to_be_visible()
    assert guesses > FREE_ATTEMPTS


def test_pages_are_closed_to_whoever_is_not_logged_in(visit: Visit, app: Any) -> None:
    page = visit()
    page.goto(f"{app.url}/annotate")
    expect(page.get_by_role("button", name="Log in")).to_be_visible()
    expect(page.get_by_test_id("task-card")).to_have_count(0)


def test_the_overview_explains_an_empty_platform(visit: Visit) -> None:
    page = visit("ann")
    expect(page.get_by_text("The loop has not turned yet.")).to_be_visible()
    expect(
        page.get_by_text("closedloop run cold-start --logs FILE --map text=COLUMN")
    ).to_be_visible()
    expect(page.get_by_text("No Ray cluster is running.")).to_be_visible()
    expect(page.get_by_text("Labels go straight to the store")).to_be_visible()
    expect(page.locator("[data-station]")).to_have_count(8)


def test_the_explore_page_says_how_to_build_a_cube(visit: Visit) -> None:
    page = visit("eve", "Explore")
    expect(page.get_by_text("There is no cube yet.")).to_be_visible()
    expect(page.get_by_text("closedloop cube refresh")).to_be_visible()
    page.get_by_role("button", name="Look again").click()
    expect(page.get_by_text("There is no cube yet.")).to_be_visible()


def test_the_overview_shows_runs_as_they_come(visit: Visit, app: Any, e2e: Any) -> None:
    page = visit("eve")
    expect(page.get_by_text("The loop has not turned yet.")).to_be_visible()
    e2e.add_runs(app.store)  # the page is open already: it must notice by itself
    expect(page.get_by_text("repair", exact=True)).to_be_visible()
    expect(page.get_by_text("simulated annotators").first).to_be_visible()
    expect(page.get_by_text("held-out accuracy, was 87.4%")).to_be_visible()
    expect(page.locator("[data-station=model]")).to_contain_text("91.1%")
    expect(page.locator("[data-station=bad_cases]")).to_contain_text("312")


def test_an_opened_run_stays_open_when_the_page_refreshes(visit: Visit, app: Any, e2e: Any) -> None:
    e2e.add_runs(app.store)
    page = visit("eve")
    older = page.get_by_test_id("stExpander").nth(1)
    older.get_by_text("Stages").click()
    expect(older.get_by_test_id("stDataFrame")).to_be_visible()
    app.queue.enqueue(e2e.QUEUE, e2e.new_tasks())
    expect(page.locator("[data-station=samples]")).to_contain_text("8")  # it has refreshed
    expect(older.get_by_test_id("stDataFrame")).to_be_visible()


def test_three_tasks_by_keyboard_alone_then_undo(visit: Visit, app: Any, e2e: Any) -> None:
    texts = [text for text, _, _ in e2e.TASKS]
    app.queue.enqueue(e2e.QUEUE, e2e.new_tasks())
    page = visit("ann", "Annotate")

    card_text(page, texts[0])
    expected = e2e.LABELS[1]
    expect(page.locator("button.label").nth(1)).to_contain_text(expected)
    page.keyboard.press("2")
    card_text(page, texts[1])

    page.keyboard.press("/")
    page.keyboard.type("charged")
    page.keyboard.press("Enter")
    card_text(page, texts[2])

    page.keyboard.press("/")
    page.keyboard.type("brand new label")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Press Enter again to add")).to_be_visible()
    assert app.queue.counts(e2e.QUEUE).done == 2  # a typing mistake is not a label yet
    page.keyboard.press("Enter")
    card_text(page, texts[3])
    assert [past.label for past in app.queue.history("ann")] == [
        "brand new label",
        "charged_twice",
        expected,
    ]

    page.keyboard.press("u")
    card_text(page, texts[2])
    expect(page.get_by_text("Taken back: “brand new label”")).to_be_visible()
    assert app.queue.counts(e2e.QUEUE).done == 2

    page.keyboard.press("s")
    card_text(page, texts[3])
    assert app.queue.history("ann")[0].label is None


def test_help_opens_and_closes_by_key(visit: Visit, app: Any, e2e: Any) -> None:
    app.queue.enqueue(e2e.QUEUE, e2e.new_tasks())
    page = visit("ann", "Annotate")
    card_text(page, e2e.TASKS[0][0])
    meaning = page.get_by_text("pass the task on to somebody else")
    expect(meaning).to_be_hidden()
    page.keyboard.press("?")
    expect(meaning).to_be_visible()
    page.keyboard.press("?")
    expect(meaning).to_be_hidden()


def test_chinese_is_shown_with_its_context_and_the_truth_stays_hidden(
    visit: Visit, app: Any, e2e: Any
) -> None:
    app.queue.enqueue(e2e.QUEUE, [e2e.new_tasks()[2]])
    page = visit("ann", "Annotate")
    card_text(page, "我的快递怎么还没到？已经过了一个星期了")
    card = page.get_by_test_id("task-card")
    expect(card).to_contain_text("物流")
    expect(card).to_contain_text("Where is my parcel?")
    expect(card.get_by_test_id("task-text")).to_have_attribute("lang", "zh")
    # Drawn by a font that has the glyphs: a missing one would be as wide as any other missing.
    widths = page.evaluate(
        "() => { const pen = document.createElement('canvas').getContext('2d');"
        "pen.font = '40px sans-serif'; return [...'快i'].map(c => pen.measureText(c).width); }"
    )
    assert widths[0] > 2 * widths[1]
    assert "TRUTH" not in page.content()


def test_text_from_logs_is_never_markup(visit: Visit, app: Any, e2e: Any) -> None:
    from closedloop.samples.annotation_task import NewTask

    hostile = "<img src=x onerror=\"document.title='owned'\"> **bold** $x$ :red[hot]"
    app.queue.enqueue(e2e.QUEUE, [NewTask(sample_id="x", text=hostile, details={"labels": ["a"]})])
    page = visit("ann", "Annotate")
    card_text(page, hostile)
    page.keyboard.press("1")
    expect(page.get_by_text("is done: 1 tasks labelled")).to_be_visible()
    expect(page.get_by_text("**bold** $x$", exact=False)).to_be_visible()
    assert page.title() != "owned"


def test_two_annotators_at_once_never_share_a_task(visit: Visit, app: Any, e2e: Any) -> None:
    app.queue.enqueue(e2e.QUEUE, e2e.new_tasks())
    total = len(e2e.TASKS)
    pages = {name: visit(name, "Annotate") for name in ("ann", "bob")}
    seen: dict[str, list[str]] = {name: [] for name in pages}
    for _ in range(total // 2):
        shown = {
            name: page.get_by_test_id("task-text").inner_text() for name, page in pages.items()
        }
        assert shown["ann"] != shown["bob"]
        for name, page in pages.items():  # both answer before either looks again
            seen[name].append(shown[name])
            page.keyboard.press("1")
        for name, page in pages.items():
            expect(
                page.get_by_test_id("task-text").filter(has_text=exactly(shown[name]))
            ).to_have_count(0)
    assert not set(seen["ann"]) & set(seen["bob"])
    for page in pages.values():
        expect(page.get_by_text(f"is done: {total} tasks labelled")).to_be_visible()
    assert app.queue.counts(e2e.QUEUE) == QueueCounts(done=total)


def test_a_lost_lease_is_told_and_the_next_task_comes(visit: Visit, app: Any, e2e: Any) -> None:
    app.queue.enqueue(e2e.QUEUE, e2e.new_tasks())
    page = visit("ann", "Annotate")
    card_text(page, e2e.TASKS[0][0])
    [held] = app.queue.lease("ann", queue=e2e.QUEUE)
    app.queue.release(held.token)
    [taken] = app.queue.lease("bob", queue=e2e.QUEUE)
    assert taken.task_id == held.task_id
    page.keyboard.press("1")
    expect(page.get_by_text("leases ran out before their answer came")).to_be_visible()
    card_text(page, e2e.TASKS[1][0])
    assert app.queue.counts(e2e.QUEUE).done == 0


def test_an_empty_queue_page_fills_by_itself(visit: Visit, app: Any, e2e: Any) -> None:
    page = visit("ann", "Annotate")
    expect(page.get_by_text("There is nothing to label yet.")).to_be_visible()
    app.queue.enqueue(e2e.QUEUE, e2e.new_tasks())
    card_text(page, e2e.TASKS[0][0])


def test_signing_out_gives_the_task_back(visit: Visit, app: Any, e2e: Any) -> None:
    app.queue.enqueue(e2e.QUEUE, e2e.new_tasks())
    page = visit("ann", "Annotate")
    card_text(page, e2e.TASKS[0][0])
    assert app.queue.counts(e2e.QUEUE).leased == 1
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("button", name="Log in")).to_be_visible()
    assert app.queue.counts(e2e.QUEUE).leased == 0


def test_nothing_is_fetched_from_elsewhere(visit: Visit, app: Any, e2e: Any) -> None:
    app.queue.enqueue(e2e.QUEUE, e2e.new_tasks())
    page = visit()
    elsewhere: list[str] = []
    page.on(
        "request",
        lambda request: (
            elsewhere.append(request.url)
            if not re.match(rf"({app.url}|data:|blob:)", request.url)
            else None
        ),
    )
    page.reload()
    e2e.log_in(page, "ann", e2e.PASSWORD)
    expect(page.locator("[data-station]")).to_have_count(8)
    page.get_by_test_id("stSidebarNav").get_by_text("Annotate").click()
    expect(page.get_by_test_id("task-card")).to_be_visible()
    assert elsewhere == []


def exactly(text: str) -> re.Pattern[str]:
    return re.compile(rf"^{re.escape(text)}$")

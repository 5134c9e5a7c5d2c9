"""The Explore page as an engineer meets it: every figure on it is checked against the cube."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright")

import pyarrow as pa
from playwright.sync_api import Locator, Page, expect

from closedloop.data.cube.cube import Cube
from closedloop.data.cube.declaration import DEFAULT
from closedloop.data.cube.filters import And, Filter, In, IsNull, Not, Or, Range
from closedloop.data.cube.query import Query
from closedloop.data.cube.refresh import refresh
from closedloop.data.lake import Lake
from closedloop.data.simulate.interactions import BulkTraffic, simulate_interactions
from closedloop.data.spark import Engine, spark_session
from closedloop.samples.slices import Slices

pytestmark = [pytest.mark.browser, pytest.mark.spark]

Visit = Callable[..., Page]
expect.set_options(timeout=30_000)

REGIONS = ["北京", "上海", "Lyon", "Köln"]
LAST_WEEK = Range(field="day", low="2026-10-02", high="2026-10-08")
DAYS = 8
MODEL = "bazaar.intent.main"


def build_cube(lake: Lake) -> None:
    """Eight days of traffic in four places, two of them with Chinese names."""
    traffic = BulkTraffic(
        rows=5_000, days=DAYS, utterances=400, merchants=60, products=80, regions=len(REGIONS)
    )
    for _, table in simulate_interactions(traffic):
        places = [REGIONS[int(name[1:])] for name in table["region"].to_pylist()]
        column = table.schema.get_field_index("region")
        lake.append("interactions", table.set_column(column, "region", pa.array(places)))
    refresh(lake, DEFAULT, open_spark=lambda: spark_session(Engine.LOCAL))


@pytest.fixture(scope="module")
def e2e(request: pytest.FixtureRequest) -> Any:
    """The conftest beside this file, for its data."""
    [plugin] = [
        module
        for module in request.config.pluginmanager.get_plugins()
        if getattr(module, "__file__", "") == str(request.path.with_name("conftest.py"))
    ]
    return plugin


@pytest.fixture(scope="module")
def app(e2e: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    if not e2e.CHROMIUM:
        pytest.skip("no chromium here: install the Debian package, or set CHROMIUM")
    home: Path = tmp_path_factory.mktemp("explore")
    build_cube(Lake(str(home / "lake")))
    with e2e.running_app(home) as running:
        yield running


@pytest.fixture(autouse=True)
def _no_slices_and_no_tasks(app: Any) -> None:
    import sqlalchemy as sa

    from closedloop.core import schema

    with app.store.write() as connection:
        for table in (schema.vote, schema.lease, schema.task, schema.saved_slice):
            connection.execute(sa.delete(table))


@pytest.fixture
def cube(app: Any) -> Cube:
    return Cube(Lake(app.settings.lake_url))


def explore(visit: Visit) -> Page:
    page = visit("eve", "Explore")
    expect(figures(page)).to_be_visible()
    return page


def figures(page: Page) -> Locator:
    return page.get_by_role("grid", name=re.compile("^Figures"))


def rows(grid: Locator) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.locator(".value").all_inner_texts()]
        for line in grid.locator("tbody tr").all()
    ]


def expect_rows(page: Page, lines: list[list[str]]) -> None:
    """Wait until the table shows these figures, and no others."""
    texts = [text for line in lines for text in line]
    expect(figures(page).locator("tbody .value")).to_have_text(texts)


def settled(page: Page) -> None:
    """Wait until the page has answered the last act."""
    expect(page.locator("[data-testid=stApp][data-test-script-state=notRunning]")).to_be_visible()
    expect(page.locator("[data-stale=true]")).to_have_count(0)


def choose(page: Page, scope: Page | Locator, label: str, value: str, *, place: int = -1) -> None:
    """Choose an option by typing, as the keyboard path does."""
    boxes = scope.get_by_role("combobox", name=label)
    box = boxes.last if place == -1 else boxes.nth(place)
    box.click()
    page.keyboard.type(value)
    expect(page.get_by_role("option", name=value, exact=True).first).to_be_visible()
    page.keyboard.press("Enter")
    if label == "Group by" or label.startswith("Values"):
        page.keyboard.press("Escape")  # several can be chosen: the list stays open
    settled(page)


def press(page: Page, scope: Page | Locator, name: str) -> None:
    scope.get_by_role("button", name=name, exact=True).click()
    settled(page)


def use_sql(page: Page, condition: str) -> None:
    page.get_by_text("As SQL").click()
    page.get_by_label("Condition, as behind WHERE").fill(condition)
    press(page, page, "Use this condition")


def expected(cube: Cube, where: Filter, *, by: str = "intent", limit: int = 10) -> list[list[str]]:
    """The cube's own answer, as the page writes it."""
    query = Query(
        by=(by,),
        measures=("turns", "users", "bad_rate"),
        where=And(all_of=(LAST_WEEK, where)),
        order_by="-turns",
        limit=limit,
        others=True,
    )
    total = query.with_(by=(), order_by="", limit=None, others=False)
    return [
        [
            line.get(by, "(all)"),
            f"{line['turns']:,}",
            f"{line['users']:,}",
            f"{line['bad_rate']:.1%}",
        ]
        for line in [*cube.query(total).rows.to_dicts(), *cube.query(query).rows.to_dicts()]
    ]


def test_a_filter_with_a_nested_group_is_built_and_its_figures_are_the_cubes(
    visit: Visit, cube: Cube
) -> None:
    page = explore(visit)
    expect_rows(page, expected(cube, And()))

    form = page.locator(".st-key-explore_filter")
    form.get_by_role("button", name="Condition").first.click()
    choose(page, form, "Field", "language")
    choose(page, form, "Values of language", "zh")
    form.get_by_role("button", name="Group", exact=True).first.click()
    group = form.locator("[class*=st-key-explore_group_]")
    for field, value in (("region", "北京"), ("feedback", "down")):
        conditions = group.get_by_role("combobox", name="Field").count()
        group.get_by_role("button", name="Condition").click()
        expect(group.get_by_role("combobox", name="Field")).to_have_count(conditions + 1)
        choose(page, group, "Field", field)
        choose(page, group, f"Values of {field}", value)
    expect(
        form.get_by_text("language is zh and (region is 北京 or feedback is down)")
    ).to_be_visible()

    either = Or(
        any_of=(In(field="region", values=("北京",)), In(field="feedback", values=("down",)))
    )
    where = And(all_of=(In(field="language", values=("zh",)), either))
    expect_rows(page, expected(cube, where))

    group.get_by_text("Not", exact=True).click()
    expect(form.get_by_text("not (region is 北京 or feedback is down)")).to_be_visible()
    press(page, form, "Undo")
    expect(form.get_by_text("not (region")).to_have_count(0)
    press(page, form, "Undo")
    expect(form.get_by_text("language is zh and region is 北京")).to_be_visible()
    press(page, form, "Clear")
    expect(form.get_by_text("every turn")).to_be_visible()
    expect_rows(page, expected(cube, And()))


def test_sql_is_a_second_way_and_its_errors_are_words(visit: Visit, cube: Cube) -> None:
    page = explore(visit)
    use_sql(page, "region IN ('上海') AND (bad OR NOT channel = 'app')")
    expect(
        page.get_by_text("region is 上海 and (bad is yes or (channel is not app")
    ).to_be_visible()
    app, unknown = In(field="channel", values=("app",)), IsNull(field="channel")
    elsewhere = And(all_of=(Not(part=app), Not(part=unknown)))
    either = Or(any_of=(In(field="bad", values=(True,)), elsewhere))
    where = And(all_of=(In(field="region", values=("上海",)), either))
    expect_rows(page, expected(cube, where))

    page.get_by_label("Condition, as behind WHERE").fill("colour ~ 'red'")
    press(page, page, "Use this condition")
    expect(page.get_by_text("The query is not understood")).to_be_visible()
    expect(page.get_by_text("Traceback")).to_have_count(0)


def test_a_cell_leads_to_its_dialogues_by_keyboard(visit: Visit, cube: Cube) -> None:
    page = explore(visit)
    use_sql(page, "language = 'zh'")
    lines = expected(cube, In(field="language", values=("zh",)))
    expect_rows(page, lines)
    grid, first = figures(page), lines[1]
    grid.get_by_role("gridcell").first.focus()
    for key in ("ArrowDown", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    turns = page.get_by_role("grid", name="Turns behind the cell")
    expect(turns).to_be_visible()
    expect(page.get_by_text(f"{first[1]} turns: intent is {first[0]}")).to_be_visible()

    where = And(
        all_of=(
            LAST_WEEK,
            In(field="language", values=("zh",)),
            In(field="intent", values=(first[0],)),
        )
    )
    latest = cube.interactions(where, limit=15).to_dicts()
    assert [line[1] for line in rows(turns)] == [row["text"] for row in latest]
    press(page, page, "Older")
    expect(page.get_by_text("16–30", exact=True)).to_be_visible()
    second = cube.interactions(where, limit=15, offset=15).to_dicts()
    expect(turns.get_by_role("gridcell").nth(1)).to_have_text(second[0]["text"])

    turns.get_by_role("gridcell").nth(1).click()
    dialogue = page.locator(".st-key-explore_dialogue")
    same = And(
        all_of=(
            In(field="dialogue_id", values=(second[0]["dialogue_id"],)),
            In(field="tenant", values=(second[0]["tenant"],)),
        )
    )
    whole = cube.interactions(same, limit=100)
    expect(dialogue).to_contain_text(f"{whole.height} turn")
    for text in whole["text"]:
        expect(dialogue.get_by_text(text).first).to_be_visible()


def test_a_slice_is_saved_opened_again_and_sent_to_annotation(
    visit: Visit, app: Any, cube: Cube
) -> None:
    page = explore(visit)
    use_sql(page, "tenant = 'bazaar' AND language = 'zh'")
    press(page, page, "Save slice")
    page.get_by_role("dialog").get_by_label("Name", exact=True).fill("中文 shop")
    page.get_by_role("dialog").get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Slice “中文 shop” is saved.").first).to_be_visible()
    [saved] = Slices(app.store).all()
    assert saved.saved_by == "eve"
    assert saved.where == And(
        all_of=(In(field="tenant", values=("bazaar",)), In(field="language", values=("zh",)))
    )

    press(page, page, "Clear")
    choose(page, page, "Slices", "中文 shop")
    expect(page.get_by_text("tenant is bazaar and language is zh")).to_be_visible()

    press(page, page, "Send to annotation")
    dialog = page.get_by_role("dialog")
    choose(page, dialog, "Model that the labels are for", MODEL)
    dialog.get_by_label("Texts", exact=True).fill("12")
    choose(page, dialog, "Stratify by", "intent")
    dialog.get_by_role("button", name="Send", exact=True).click()
    expect(page.get_by_text(f"12 texts were sent to {MODEL}").first).to_be_visible()
    assert app.queue.counts(MODEL).open == 12

    page.get_by_role("link", name="Go to Annotate").click()
    page.get_by_role("heading", name="Annotate").wait_for()
    reason = page.get_by_text("Asked because: slice “中文 shop”, stratified by intent")
    expect(reason).to_be_visible()
    task_text = page.get_by_test_id("task-text").inner_text()
    behind = And(all_of=(saved.where, In(field="text", values=(task_text,))))
    assert cube.interactions(behind, limit=1).height == 1


def test_a_slice_is_renamed_and_deleted_only_when_sure(visit: Visit, app: Any) -> None:
    slices = Slices(app.store)
    slices.save("old", In(field="language", values=("zh",)))
    page = explore(visit)
    press(page, page, "Manage slices")
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("New name").fill("new")
    dialog.get_by_label("New name").press("Enter")
    dialog.get_by_role("button", name="Rename").click()
    expect(page.get_by_text("“old” is now “new”.").first).to_be_visible()
    press(page, page, "Manage slices")
    expect(dialog.get_by_role("button", name="Delete")).to_be_disabled()
    dialog.get_by_text("Yes, delete “new”").click()
    dialog.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("Slice “new” is deleted.").first).to_be_visible()
    assert slices.all() == []


def test_columns_comparison_order_and_sketches(visit: Visit, cube: Cube) -> None:
    page = explore(visit)
    grid = figures(page)
    grid.get_by_role("button", name="bad_rate").click()
    expect(grid.locator("th[aria-sort=descending]")).to_contain_text("bad_rate")
    rates = [float(line[3].rstrip("%")) for line in rows(grid)[1:-1]]
    assert rates == sorted(rates, reverse=True)

    choose(page, page, "Group by", "tenant")
    expect(grid.get_by_role("columnheader").nth(1)).to_contain_text("tenant")
    choose(page, page, "Columns", "tenant")
    tenants = cube.values("tenant")
    expect(grid.get_by_role("columnheader")).to_have_count(2 + len(tenants))
    expect(grid.get_by_role("columnheader").first).to_contain_text("intent")
    assert set(grid.get_by_role("columnheader").all_inner_texts()) >= {"(all)", *tenants}
    choose(page, page, "Columns", "(rows only)")
    expect(grid.get_by_role("columnheader")).to_have_count(5)

    page.get_by_text("Compare with the period before").click()
    day = Query(where=Range(field="day", low="2026-09-25", high="2026-10-01"))
    before = cube.query(day).rows["turns"].item()
    expect(grid.locator("tr.total .change").first).to_contain_text(f"was {before:,}")

    page.get_by_role("combobox", name="Group by").click()
    for _ in range(2):
        page.keyboard.press("Backspace")
    page.keyboard.press("Escape")
    expect(grid.get_by_role("columnheader")).to_have_count(4)
    choose(page, page, "Group by", "channel")
    expect(grid.get_by_role("columnheader").first).to_contain_text("channel")
    page.get_by_text("Fast: sketches may answer").click()
    expect(
        page.get_by_text(re.compile(r"Answered by cuboid .*\(sketch\).*users ±"))
    ).to_be_visible()
    exact = {
        line["channel"]: line["users"]
        for line in cube.query(
            Query(by=("channel",), measures=("users",), where=LAST_WEEK)
        ).rows.to_dicts()
    }
    for line in rows(grid)[1:]:
        assert int(line[2].replace(",", "")) == pytest.approx(exact[line[0]], rel=0.05)


def test_an_address_shows_the_same_to_a_colleague(
    visit: Visit, app: Any, e2e: Any, cube: Cube
) -> None:
    page = explore(visit)
    use_sql(page, "region = '北京'")
    expect(page).to_have_url(re.compile("where="))
    shown = expected(cube, In(field="region", values=("北京",)))
    expect_rows(page, shown)
    address = page.url

    other = visit()
    other.goto(address)
    e2e.log_in(other, "eve", e2e.PASSWORD)
    expect(figures(other)).to_be_visible()
    expect(other.get_by_text("region is 北京")).to_be_visible()
    expect_rows(other, shown)

    other.goto(f"{app.url}/explore?by=colour&top=3")
    e2e.log_in(other, "eve", e2e.PASSWORD)
    expect(other.get_by_text("The link could not be read in full")).to_be_visible()
    expect(figures(other)).to_be_visible()


def test_annotators_do_not_read_dialogues(visit: Visit, app: Any, e2e: Any) -> None:
    page = visit("ann")
    expect(page.get_by_test_id("stSidebarNav").get_by_text("Explore", exact=True)).to_have_count(0)
    page.goto(f"{app.url}/explore")
    e2e.log_in(page, "ann", e2e.PASSWORD)
    expect(page.get_by_text("The loop has not turned yet.")).to_be_visible()
    expect(figures(page)).to_have_count(0)

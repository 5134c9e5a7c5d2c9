"""The Defence page as annotators meet it on the night of a promotion."""

import hashlib
import importlib.util
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright")

from playwright.sync_api import Locator, Page, expect

from closedloop.data.event import Event, Kind, new_event_id, to_table
from closedloop.data.lake import Lake
from closedloop.defence.issues.issue import Issue, IssueState
from closedloop.defence.issues.issue_book import IssueBook
from closedloop.defence.issues.sighting import Sighting, TypicalText
from closedloop.defence.rules.rule import Act, Rule, RuleDraft
from closedloop.defence.rules.rule_book import RuleBook
from closedloop.defence.rules.rule_set import RuleSet
from closedloop.models.reference import ModelRef
from closedloop.models.registry import Registry

pytestmark = pytest.mark.browser

Visit = Callable[..., Page]
expect.set_options(timeout=30_000)


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
def seeding(request: pytest.FixtureRequest) -> Any:
    """The script beside this file that fills a home."""
    spec = importlib.util.spec_from_file_location(
        "seed_defence", request.path.with_name("seed_defence.py")
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[spec.name] = module  # its dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def app(e2e: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    if not e2e.CHROMIUM:
        pytest.skip("no chromium here: install the Debian package, or set CHROMIUM")
    home: Path = tmp_path_factory.mktemp("defence")
    with e2e.running_app(home) as running:
        yield running


@pytest.fixture(scope="module")
def night(app: Any, seeding: Any) -> dict[str, list[Sighting]]:
    """The last hour's traffic on disk, and what rises in it."""
    sightings: dict[str, list[Sighting]] = seeding.write_night(app.settings, now=time.time())
    return sightings


@pytest.fixture
def book(app: Any) -> IssueBook:
    return IssueBook(app.store)


@pytest.fixture
def rules(app: Any) -> RuleBook:
    return RuleBook(app.store)


@pytest.fixture(autouse=True)
def _nothing_yet(app: Any) -> None:
    import sqlalchemy as sa

    from closedloop.core import schema

    with app.store.write() as connection:
        for table in (
            *(schema.vote, schema.lease, schema.task, schema.rule_change),
            *(schema.issue_act, schema.issue_cluster, schema.issue, schema.stage, schema.run),
            *(schema.clusterer_shard, schema.clusterer),
        ):
            connection.execute(sa.delete(table))


@pytest.fixture
def issues(book: IssueBook, night: dict[str, list[Sighting]]) -> list[Issue]:
    """The night's issues, the hottest first: coupons, in Chinese, is the first."""
    for tenant, sightings in night.items():
        book.publish(tenant, sightings)
    return book.board()


def board(page: Page) -> Locator:
    return page.get_by_role("listbox", name="Issues")


def option(page: Page, issue: Issue) -> Locator:
    return board(page).locator(f"[data-issue='{issue.id}']")


def chosen(page: Page) -> Locator:
    return board(page).locator("[aria-selected=true]")


def head(page: Page) -> Locator:
    return page.locator(".st-key-defence_head")


def condition(page: Page) -> Locator:
    return page.get_by_role("textbox", name="Where a text has")


def settled(page: Page) -> None:
    """Wait until the page has answered the last act."""
    expect(page.locator("[data-testid=stApp][data-test-script-state=notRunning]")).to_be_visible()
    expect(page.locator("[data-stale=true]")).to_have_count(0)


def press(page: Page, name: str, *, scope: Locator | None = None) -> None:
    (scope or page).get_by_role("button", name=name, exact=True).click()


def more(page: Page, name: str) -> None:
    """Choose what stands behind "More"."""
    press(page, "More")
    page.get_by_role("menuitem", name=name).click()


def dialog(page: Page) -> Locator:
    return page.get_by_role("dialog").filter(has=page.get_by_role("button", name="Close"))


def defence(visit: Visit, name: str = "ann") -> Page:
    page = visit(name, "Defence")
    expect(board(page)).to_be_visible()
    expect(condition(page)).to_be_visible()
    settled(page)
    return page


def decides(rules: RuleBook, text: str, tenant: str) -> Rule | None:
    """What serving does with a text: its rule set is made of the book, as replicas make it."""
    return RuleSet(rules.all()).apply(text, tenant=tenant, channel="app").decides


def other(sighting: Sighting, cluster: int, text: str, **values: Any) -> Sighting:
    """A sighting of something else."""
    said = TypicalText(text=text, event_id=f"e{cluster}", at=sighting.seen_at, channel="app")
    return replace(
        sighting,
        cluster=cluster,
        typical=(said,),
        samples=(said,),
        terms=("brand", "new"),
        micros=(10_000 + cluster,),
        **values,
    )


def test_the_board_says_what_rises_hottest_first(visit: Visit, issues: list[Issue]) -> None:
    page = defence(visit)
    rows = board(page).get_by_role("option")
    expect(rows).to_have_count(len(issues))
    assert [int(row.get_attribute("data-issue") or 0) for row in rows.all()] == [
        issue.id for issue in issues
    ]
    first = rows.first
    expect(first).to_contain_text(re.compile(r"\d+ a minute, usually \d+ an hour"))
    expect(first).to_contain_text("63% bad")
    expect(first).to_contain_text("new to the models")
    expect(first).to_contain_text("bazaar")
    expect(first.locator("svg path.line")).to_have_attribute("d", re.compile("^M"))
    expect(chosen(page)).to_have_attribute("data-issue", str(issues[0].id))
    expect(head(page)).to_contain_text("零点")
    expect(page.locator(".cl-texts mark").first).to_be_visible()
    expect(page.get_by_text("coupon_invalid").first).to_be_visible()


def test_a_board_without_issues_explains_itself(visit: Visit) -> None:
    page = visit("ann", "Defence")
    expect(page.get_by_text("Nothing rises beyond what is usual.")).to_be_visible()
    expect(page.get_by_text("Nobody has watched the stream here yet.")).to_be_visible()
    expect(page.get_by_text("closedloop up")).to_be_visible()


def test_the_board_says_how_much_is_watched(visit: Visit, app: Any, seeding: Any) -> None:
    import sqlalchemy as sa

    from closedloop.core import schema

    seeding.watched(app.store, texts=12_345, tenants=3)
    page = visit("ann", "Defence")
    expect(page.get_by_text("12,345 texts of 3 tenants watched since it started")).to_be_visible()
    with app.store.write() as connection:  # a shard that has not said anything for a minute
        quiet = {"reported_at": time.time() - 60}
        connection.execute(sa.update(schema.clusterer_shard).values(quiet))
    expect(page.get_by_text("The stream clusterer does not run")).to_be_visible()


def test_an_empty_board_fills_by_itself(
    visit: Visit, book: IssueBook, night: dict[str, list[Sighting]]
) -> None:
    page = visit("ann", "Defence")
    expect(page.get_by_text("Nothing rises beyond what is usual.")).to_be_visible()
    book.publish("voltio", night["voltio"])
    expect(board(page).get_by_role("option")).to_have_count(1)
    expect(condition(page)).to_be_visible()


def test_what_is_typed_stays_while_the_board_moves(
    visit: Visit, book: IssueBook, issues: list[Issue], night: dict[str, list[Sighting]]
) -> None:
    page = defence(visit)
    box = condition(page)
    box.click()
    page.keyboard.press("Control+A")
    page.keyboard.type("零点 AND (券 OR")
    hotter = other(night["voltio"][0], 901, "brand new thing", rate_per_min=900.0)
    book.publish("voltio", [hotter])
    expect(board(page)).to_contain_text("brand new thing")
    book.publish("voltio", [replace(hotter, rate_per_min=1_234.0)])
    expect(board(page)).to_contain_text("1,234 a minute")
    expect(box).to_have_value("零点 AND (券 OR")
    page.keyboard.type(" 红包)")  # the focus is where it was
    expect(box).to_have_value("零点 AND (券 OR 红包)")
    expect(chosen(page)).to_have_attribute("data-issue", str(issues[0].id))


def test_rows_keep_their_places_while_the_mouse_is_among_them(
    visit: Visit, book: IssueBook, issues: list[Issue], night: dict[str, list[Sighting]]
) -> None:
    page = defence(visit)
    board(page).get_by_role("option").nth(1).hover()
    hottest = other(night["voltio"][0], 904, "brand new thing", rate_per_min=900.0)
    book.publish("voltio", [hottest])
    rows = board(page).get_by_role("option")
    expect(rows.last).to_contain_text("brand new thing")
    expect(page.get_by_text("The order waits while the mouse is here.")).to_be_visible()
    page.mouse.move(5, 5)
    expect(rows.first).to_contain_text("brand new thing")


def test_an_open_dialog_stays_while_the_board_moves(
    visit: Visit, book: IssueBook, issues: list[Issue], night: dict[str, list[Sighting]]
) -> None:
    page = defence(visit)
    more(page, "Rename")
    title = dialog(page).get_by_label("What it is about")
    title.fill("Midnight cou")
    book.publish("voltio", [other(night["voltio"][0], 902, "brand new thing", rate_per_min=700.0)])
    expect(board(page)).to_contain_text("brand new thing")
    expect(title).to_have_value("Midnight cou")
    title.press_sequentially("pons")
    press(page, "Rename", scope=dialog(page))
    expect(head(page)).to_contain_text("Midnight coupons")
    assert book.get(issues[0].id).title == "Midnight coupons"


def test_one_click_adds_the_suggested_rule_and_one_takes_it_back(
    visit: Visit, rules: RuleBook, issues: list[Issue]
) -> None:
    page = defence(visit)
    expect(page.get_by_text(re.compile(r"In the last hour it would match \d+ of"))).to_be_visible()
    press(page, "Add rule")
    expect(page.get_by_text("applies from now on")).to_be_visible()
    [rule] = rules.all()
    assert (rule.tenant, rule.act, rule.changed_by) == ("bazaar", Act.ANSWER, "ann")
    assert rule.expires_at is not None
    assert 23 < (rule.expires_at - time.time()) / 3600 <= 24
    assert decides(rules, "零点的券领不了", "bazaar") == rule
    assert decides(rules, "零点的券领不了", "voltio") is None
    press(page, "Undo", scope=page.locator(".st-key-defence_notice"))
    expect(page.get_by_text("Taken back: the rule")).to_be_visible()
    assert rules.all() == []
    assert decides(rules, "零点的券领不了", "bazaar") is None


def test_a_rule_is_tried_on_the_last_hour_before_it_is_added(
    visit: Visit, rules: RuleBook, issues: list[Issue]
) -> None:
    page = defence(visit)
    condition(page).fill("的")
    condition(page).press("Control+Enter")
    expect(page.get_by_text("Others that it would match, too:")).to_be_visible()
    condition(page).fill("券 AND (")
    condition(page).press("Control+Enter")
    expect(page.get_by_text("cannot be read")).to_be_visible()
    press(page, "Add rule")  # what cannot be a rule is none, and stays to be mended
    expect(page.locator(".st-key-defence_notice")).to_contain_text("cannot be read")
    assert rules.all() == []
    condition(page).fill("零点 AND 券")
    page.get_by_role("radio", name="Take for an intent").click()
    expect(page.get_by_role("combobox", name="Intent")).to_be_visible()
    settled(page)
    page.get_by_role("combobox", name="Intent").click()
    page.get_by_role("option", name="coupon_invalid").click()
    page.get_by_text("Dry run", exact=True).click()
    settled(page)
    press(page, "Add rule")
    expect(page.get_by_text("runs dry: it only counts")).to_be_visible()
    [rule] = rules.all()
    assert (rule.condition, rule.act, rule.value) == ("零点 AND 券", Act.INTENT, "coupon_invalid")
    assert rule.dry_run


def test_a_suggestion_is_taken_by_a_click(visit: Visit, issues: list[Issue]) -> None:
    page = defence(visit)
    suggested = page.locator(".st-key-defence_suggestions").get_by_role("button").first
    condition(page).fill("something else")
    condition(page).press("Control+Enter")
    settled(page)
    suggested.click()
    expect(condition(page)).to_have_value(re.compile("零点"))
    expect(suggested).to_contain_text(condition(page).input_value())


def test_what_is_still_being_typed_counts_when_the_rule_is_added(
    visit: Visit, rules: RuleBook, issues: list[Issue]
) -> None:
    page = defence(visit)
    condition(page).fill("零点 AND 红包")
    page.get_by_role("textbox", name="Answer").fill("红包正在修复，请稍后再试。")
    press(page, "Add rule")  # the box was not left before: its text and the click come together
    expect(page.get_by_text("applies from now on")).to_be_visible()
    [rule] = rules.all()
    assert (rule.condition, rule.value) == ("零点 AND 红包", "红包正在修复，请稍后再试。")
    applies = decides(rules, "零点的红包领不了", "bazaar")
    assert applies is not None
    assert applies.value == rule.value


def test_what_was_written_for_an_issue_is_there_when_one_comes_back(
    visit: Visit, issues: list[Issue]
) -> None:
    page = defence(visit)
    condition(page).fill("零点 AND 券 NOT 快递")
    option(page, issues[1]).click()
    expect(chosen(page)).to_have_attribute("data-issue", str(issues[1].id))
    expect(condition(page)).not_to_have_value("零点 AND 券 NOT 快递")
    option(page, issues[0]).click()
    expect(condition(page)).to_have_value("零点 AND 券 NOT 快递")


def test_the_frequent_acts_by_keyboard_alone(
    visit: Visit, book: IssueBook, rules: RuleBook, issues: list[Issue]
) -> None:
    page = defence(visit)
    first, second = issues[0], issues[1]
    page.keyboard.press("j")
    expect(head(page)).to_contain_text("voltio")
    page.keyboard.press("k")
    expect(head(page)).to_contain_text("bazaar")
    page.keyboard.press("a")
    expect(option(page, first)).to_contain_text("mine")
    assert book.get(first.id).standing.assigned_to == "ann"
    page.keyboard.press("Shift+R")
    expect(page.get_by_text("applies from now on")).to_be_visible()
    assert len(rules.all()) == 1
    page.keyboard.press("s")
    expect(option(page, first)).to_have_count(0)
    now = book.get(first.id)
    assert now.state is IssueState.SNOOZED
    assert now.standing.snoozed_until is not None
    assert 14 * 60 < now.standing.snoozed_until - time.time() <= 15 * 60
    expect(head(page)).to_contain_text("Snoozed until")
    page.keyboard.press("u")
    expect(option(page, first)).to_have_count(1)
    assert book.get(first.id).state is IssueState.OPEN
    page.keyboard.press("s")
    expect(option(page, first)).to_have_count(0)
    page.keyboard.press("j")  # the one that came into its place
    expect(chosen(page)).to_have_attribute("data-issue", str(second.id))
    page.keyboard.press("r")
    expect(condition(page)).to_be_focused()
    page.keyboard.type("jsau")  # letters in a box are letters
    settled(page)
    assert book.get(second.id).state is IssueState.OPEN
    page.keyboard.press("Escape")


def test_snoozed_and_resolved_issues_are_behind_a_switch(
    visit: Visit, book: IssueBook, issues: list[Issue]
) -> None:
    page = defence(visit)
    press(page, "Resolve")
    press(page, "Resolve", scope=dialog(page))
    expect(option(page, issues[0])).to_have_count(0)
    assert book.get(issues[0].id).standing.reason == "A rule answers it"
    page.get_by_text("Closed ones, too").click()
    expect(option(page, issues[0])).to_contain_text("resolved")
    press(page, "Reopen")
    expect(page.get_by_text("is open again")).to_be_visible()
    assert book.get(issues[0].id).state is IssueState.OPEN


def test_an_issue_is_merged_into_another_and_the_merge_taken_back(
    visit: Visit, book: IssueBook, issues: list[Issue]
) -> None:
    page = defence(visit)
    sms = next(one for one in issues[1:] if one.tenant == "bazaar")
    option(page, sms).click()
    expect(head(page)).to_contain_text("短信")
    more(page, "Merge")
    expect(dialog(page)).to_contain_text("零点")  # the only other one of its tenant
    press(page, "Merge", scope=dialog(page))
    expect(option(page, sms)).to_have_count(0)
    expect(chosen(page)).to_have_attribute("data-issue", str(issues[0].id))
    assert book.get(sms.id).standing.merged_into == issues[0].id
    press(page, "Undo", scope=page.locator(".st-key-defence_notice"))
    expect(option(page, sms)).to_have_count(1)
    assert book.get(sms.id).state is IssueState.OPEN


def test_a_part_is_split_off_by_its_typical_text(
    visit: Visit, book: IssueBook, issues: list[Issue]
) -> None:
    page = defence(visit)
    more(page, "Split")
    box = dialog(page).get_by_role("checkbox").nth(1)
    dialog(page).get_by_test_id("stCheckbox").nth(1).click()
    expect(box).to_be_checked()
    press(page, "Split off", scope=dialog(page))
    expect(page.get_by_text("of their own now")).to_be_visible()
    [made] = [one for one in book.board() if one.id not in {each.id for each in issues}]
    assert len(made.sighting.micros) == 1
    assert set(made.sighting.micros) < set(issues[0].sighting.micros)


def test_samples_go_to_annotation_before_other_tasks(
    visit: Visit, app: Any, issues: list[Issue]
) -> None:
    page = defence(visit)
    press(page, "Send to annotation")
    dialog(page).get_by_label("Texts at most").fill("20")
    press(page, "Send", scope=dialog(page))
    expect(page.get_by_text("Sent 20 texts to bazaar.intent.main")).to_be_visible()
    assert app.queue.counts("bazaar.intent.main").open == 20
    page.get_by_role("link", name="Go to Annotate").click()
    expect(page.get_by_test_id("task-card")).to_contain_text("issue “零点")


def test_two_people_at_once_are_told_and_nothing_is_lost(
    visit: Visit, book: IssueBook, issues: list[Issue]
) -> None:
    issue = issues[0]
    ann, bob = defence(visit, "ann"), defence(visit, "bob")
    more(ann, "Rename")
    dialog(ann).get_by_label("What it is about").fill("Coupons at midnight")
    bob.keyboard.press("a")
    expect(bob.get_by_text("is yours now")).to_be_visible()
    press(ann, "Rename", scope=dialog(ann))
    expect(dialog(ann)).to_contain_text("bob was faster (assigned)")
    expect(dialog(ann).get_by_label("What it is about")).to_have_value("Coupons at midnight")
    assert book.get(issue.id).standing.assigned_to == "bob"
    dialog(ann).get_by_role("button", name="Close").click()
    expect(ann.get_by_text("bob assigned it to bob")).to_be_visible()
    press(ann, "Show it")
    expect(head(ann)).to_contain_text("Assigned to bob")
    more(ann, "Rename")
    dialog(ann).get_by_label("What it is about").fill("Coupons at midnight")
    press(ann, "Rename", scope=dialog(ann))
    expect(head(bob)).to_contain_text("Coupons at midnight")  # by itself
    assert book.get(issue.id).title == "Coupons at midnight"


def test_text_from_logs_is_never_markup(
    visit: Visit, book: IssueBook, night: dict[str, list[Sighting]]
) -> None:
    hostile = "<img src=x onerror=\"document.title='owned'\"> **bold** $x$ :red[hot] brand new"
    book.publish("voltio", [other(night["voltio"][0], 903, hostile)])
    page = defence(visit)
    expect(option(page, book.board()[0])).to_contain_text("**bold** $x$ :red[hot]")
    expect(page.locator(".cl-texts").first).to_contain_text("<img src=x")
    expect(page.locator(".cl-texts mark")).to_have_count(2)
    assert page.title() != "owned"
    expect(page.locator("img[src=x]")).to_have_count(0)


def test_a_repair_is_an_engineers_and_needs_the_platform(visit: Visit, issues: list[Issue]) -> None:
    page = defence(visit, "ann")
    expect(page.get_by_text("A repair of a model is started by an engineer.")).to_be_visible()
    expect(page.get_by_role("button", name=re.compile("^Repair"))).to_have_count(0)
    page = defence(visit, "eve")
    press(page, "Repair bazaar.intent.main")
    press(page, "Start the repair", scope=dialog(page))
    expect(dialog(page)).to_contain_text("it does not run")


def test_live_rules_are_listed_with_what_they_met(
    visit: Visit, rules: RuleBook, issues: list[Issue]
) -> None:
    page = defence(visit)
    press(page, "Add rule")
    expect(page.get_by_text("applies from now on")).to_be_visible()
    page.get_by_role("radio", name="Rules").click()
    expect(page.get_by_text(re.compile(r"decided [1-9]\d* texts of the last hour"))).to_be_visible()
    press(page, "Retire")
    expect(page.get_by_text("is retired.")).to_be_visible()
    expect(page.get_by_text("No keyword rule is live.")).to_be_visible()
    assert rules.all() == []


def test_a_rule_that_the_model_has_learnt_is_proposed_and_kept_or_retired(
    visit: Visit, app: Any, rules: RuleBook, tmp_path: Path
) -> None:
    learnt, kept = (
        rules.add(
            RuleDraft(
                tenant="bazaar", name=name, condition=name, act=Act.INTENT, value="coupon_invalid"
            )
        )
        for name in ("learnt", "kept")
    )
    show_learnt(app, [learnt, kept], tmp_path)
    page = visit("ann", "Defence")
    page.get_by_role("radio", name="Rules").click()
    proposal = page.locator(f".st-key-defence_proposal_{learnt.id}")
    # Another test may have made the page look just now; it looks once a minute.
    expect(proposal).to_contain_text("is needed no more", timeout=100_000)
    expect(proposal).to_contain_text("answers 60 of 60 different texts")
    press(page, "Retire", scope=proposal)
    expect(page.get_by_text("is retired: the model answers alone")).to_be_visible()
    assert "answers 60 of 60" in (rules.get(learnt.id).retired or "")
    press(page, "Keep", scope=page.locator(f".st-key-defence_proposal_{kept.id}"))
    expect(page.get_by_text("The rule “kept” stays.")).to_be_visible()
    expect(page.get_by_text("is needed no more")).to_have_count(0)
    assert rules.get(kept.id).retired is None


def show_learnt(app: Any, learnt: list[Rule], folder: Path) -> None:
    """Let a champion have answered all texts of some rules as these do."""
    ref = ModelRef.parse("bazaar.intent.main")
    registry = Registry(app.settings.registry_url, app.settings.artifacts_url)
    file = folder / "trained.skops"
    file.write_bytes(b"one")
    registry.register(ref, file, hashlib.sha256(b"one").hexdigest(), {})
    registry.promote(ref, 1)
    asked = {"shadow_model": str(ref), "shadow_version": "1", "shadow_confidence": "0.9"}
    events = [
        Event(
            event_id=new_event_id(),
            ts=datetime.now(UTC),
            tenant="bazaar",
            kind=Kind.PREDICTION,
            text=f"{rule.condition} {n}",
            rule_id=rule.id,
            prediction=rule.value,
            attributes=asked | {"shadow_prediction": rule.value},
        )
        for rule in learnt
        for n in range(60)
    ]
    Lake(app.settings.lake_url).append("predictions", to_table(events))


def test_a_link_leads_to_an_issue(visit: Visit, app: Any, issues: list[Issue], e2e: Any) -> None:
    page = visit()
    page.goto(f"{app.url}/defence?issue={issues[2].id}")
    e2e.log_in(page, "ann", e2e.PASSWORD)
    expect(chosen(page)).to_have_attribute("data-issue", str(issues[2].id))


def test_nothing_is_fetched_from_elsewhere(visit: Visit, app: Any, issues: list[Issue]) -> None:
    page = visit("ann")
    elsewhere: list[str] = []
    page.on(
        "request",
        lambda request: (
            elsewhere.append(request.url)
            if not re.match(rf"({app.url}|data:|blob:)", request.url)
            else None
        ),
    )
    page.get_by_test_id("stSidebarNav").get_by_text("Defence", exact=True).click()
    expect(condition(page)).to_be_visible()
    settled(page)
    assert elsewhere == []

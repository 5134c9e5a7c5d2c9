"""Photograph the app's pages for the documentation.

Usage: python tests/e2e/take_screenshots.py BASE_URL USER PASSWORD OUTDIR

The app must be running and hold what the pictures shall show, such as after ``closedloop demo``;
``python tests/e2e/seed_defence.py HOME`` adds a night of promotion for the Defence page.
"""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path
from typing import Any

_VIEWPORT = {"width": 1360, "height": 940}
_FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
_PATIENCE_MS = 60_000


def main() -> None:
    """Log in, visit each page, and save one PNG each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for name in ("base_url", "user", "password"):
        parser.add_argument(name)
    parser.add_argument("outdir", type=Path)
    given = parser.parse_args()
    given.outdir.mkdir(parents=True, exist_ok=True)

    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=_FLAGS)
        page = browser.new_page(viewport=_VIEWPORT)
        page.set_default_timeout(_PATIENCE_MS)
        page.goto(given.base_url)
        page.get_by_label("Name").fill(given.user)
        page.get_by_label("Password", exact=True).fill(given.password)
        page.get_by_role("button", name="Log in").click()
        _overview(page, given.outdir / "overview.png")
        _annotate(page, given.outdir / "annotate.png")
        _explore(page, given.outdir / "explore.png")
        _defence(page, given.outdir / "defence.png")
        browser.close()


def _overview(page: Any, file: Path) -> None:
    page.locator("[data-station=repair]").wait_for()
    page.get_by_test_id("stDataFrame").first.locator("canvas").first.wait_for()
    page.locator(".st-key-health_lake").wait_for()  # the last of the engines
    _settle(page)
    page.screenshot(path=file)


def _annotate(page: Any, file: Path) -> None:
    page.get_by_test_id("stSidebarNav").get_by_text("Annotate").click()
    page.get_by_test_id("task-card").wait_for()
    _settle(page)
    page.screenshot(path=file)


def _explore(page: Any, file: Path) -> None:
    """Photograph a filter with its figures and a dialogue; an engineer's page, and of a cube."""
    if not page.get_by_test_id("stSidebarNav").get_by_text("Explore", exact=True).count():
        print("no Explore page for this person: log in as an engineer")
        return
    page.get_by_test_id("stSidebarNav").get_by_text("Explore", exact=True).click()
    figures = page.get_by_role("grid", name="Figures by intent")
    nothing = page.get_by_text("There is no cube yet.")
    figures.or_(nothing).wait_for()
    if nothing.is_visible():
        print("no cube: closedloop etl run, then closedloop cube refresh")
        return
    page.get_by_text("As SQL").click()
    condition = "language = 'zh' AND (intent LIKE 're%' OR feedback = 'down')"
    page.get_by_label("Condition, as behind WHERE").fill(condition)
    page.get_by_role("button", name="Use this condition").click()
    page.get_by_text("language is zh and (intent starts with re or feedback is down)").wait_for()
    page.get_by_text("Compare with the period before").click()
    figures.locator(".change").first.wait_for()
    page.get_by_text("As SQL").click()
    figures.get_by_role("gridcell").nth(9).click()
    page.get_by_role("grid", name="Turns behind the cell").wait_for()
    page.set_viewport_size({**_VIEWPORT, "height": 1720})
    _settle(page)
    page.get_by_role("heading", name="Explore").scroll_into_view_if_needed()
    page.screenshot(path=file)


def _defence(page: Any, file: Path) -> None:
    """Photograph the hottest issue with a rule that was just tried on the last hour."""
    page.set_viewport_size(_VIEWPORT)
    page.get_by_test_id("stSidebarNav").get_by_text("Defence", exact=True).click()
    board = page.get_by_role("listbox", name="Issues")
    nothing = page.get_by_text("Nothing rises beyond what is usual.")
    board.or_(nothing).first.wait_for()
    if nothing.is_visible():
        print("no issue: python tests/e2e/seed_defence.py HOME")
        return
    page.get_by_text("In the last hour it would match").wait_for()
    page.set_viewport_size({"width": 1440, "height": 1240})
    _settle(page)
    page.screenshot(path=file)


def _settle(page: Any) -> None:
    page.mouse.move(_VIEWPORT["width"] - 1, _VIEWPORT["height"] - 1)
    page.evaluate("() => document.fonts.ready")
    page.wait_for_function("() => !document.querySelector('[data-stale=true]')")


if __name__ == "__main__":
    main()

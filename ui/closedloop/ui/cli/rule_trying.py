"""``closedloop rules suggest`` and ``preview``: a condition, before it becomes a rule."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import polars as pl

    from closedloop.core.settings import Settings
    from closedloop.defence.issues.issue import Issue
    from closedloop.defence.rules.preview import Estimate

_Json = Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")]
_MOST_TEXTS = 200_000  # that a preview looks at; of more, a uniform sample


def suggest(
    issue: Annotated[int, typer.Option(help="Its number on the board.")],
    json_file: _Json = None,
) -> None:
    """Suggest conditions for an issue, from its texts and what was said before it began.

    Example: closedloop rules suggest --issue 7
    """
    from dataclasses import asdict

    from rich.markup import escape
    from rich.table import Table

    from closedloop.core.settings import Settings
    from closedloop.defence.rules.preview import told_apart
    from closedloop.defence.rules.suggestion import suggest as suggested
    from closedloop.ui.console import check_json, console, write_json

    check_json(json_file)
    settings = Settings()
    rising = _issue(settings, issue)
    seen = rising.sighting
    traffic = _recent(settings, rising.tenant)
    inside, outside = told_apart(traffic, seen.micros, began_at=seen.began_at)
    found = suggested(inside or [typical.text for typical in seen.samples], outside)
    if found:
        table = Table("condition", "of the issue", "of all it matches")
        for each in found:
            table.add_row(escape(each.condition), f"{each.recall:.0%}", f"{each.precision:.0%}")
        console.print(table)
    else:
        console.print("No few words tell this issue's texts from the others.")
    write_json(json_file, {"suggestions": [asdict(each) for each in found]})


def preview(
    condition: Annotated[str, typer.Argument(help='Such as: coupon AND (fails OR "not valid").')],
    tenant: Annotated[str, typer.Option(help="Whose texts.")],
    channel: Annotated[list[str], typer.Option(help="Only there; may be repeated.")] = [],  # noqa: B006  # typer copies it
    issue: Annotated[int | None, typer.Option(help="Tell apart what is this issue's.")] = None,
    json_file: _Json = None,
) -> None:
    """Show what a condition would have matched of the last hour's texts.

    Example: closedloop rules preview "coupon AND fails" --tenant shop --issue 7
    """
    from dataclasses import asdict

    from closedloop.core.settings import Settings
    from closedloop.defence.rules.preview import preview as previewed
    from closedloop.ui.console import check_json, console, write_json

    check_json(json_file)
    settings = Settings()
    micros = _issue(settings, issue).sighting.micros if issue is not None else ()
    traffic = _recent(settings, tenant)
    said = traffic if traffic.height <= _MOST_TEXTS else traffic.sample(_MOST_TEXTS, seed=0)
    found = previewed(
        condition, said, micros, tenant=tenant, channels=channel, sampled_of=traffic.height
    )
    lines = [
        f"{found.condition} matches {_told(found.matched_range)} of {found.sampled_of:,} texts"
    ]
    if issue is not None:
        lines[0] += f", {_told(found.outside_range)} of them not of issue {issue}"
        lines += [f"  issue  {text}" for text in found.examples_inside]
    lines += [f"  other  {text}" for text in found.examples_outside]
    console.print("\n".join(lines), soft_wrap=True, markup=False)
    write_json(json_file, asdict(found))


def _told(found: Estimate) -> str:
    if found.low == found.high:
        return f"{found.value:,}"
    return f"about {found.value:,} ({found.low:,} to {found.high:,})"


def _recent(settings: Settings, tenant: str) -> pl.DataFrame:
    from closedloop.core.errors import NotFound
    from closedloop.defence.recent_traffic import RecentTraffic

    recent = RecentTraffic(settings.root / "defence" / "recent")
    found = recent.read(tenant, since=0.0)
    if found.height == 0:
        raise NotFound(
            f"There is no recent text of the tenant {tenant!r}.",
            remedy=f"There are some of: {', '.join(recent.tenants()) or 'nobody yet'}.",
        )
    return found


def _issue(settings: Settings, number: int) -> Issue:
    from closedloop.core.store import Store
    from closedloop.defence.issues.issue_book import IssueBook

    store = Store.open(settings.store_url)
    try:
        return IssueBook(store).get(number)
    finally:
        store.close()

"""``closedloop alerts``: who is told of rising issues, and whether it reached them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from closedloop.defence.alerts.alert import AlertState
    from closedloop.defence.alerts.alert_book import AlertBook

alerts = typer.Typer(help="Who is told of rising issues: alerts.yaml.", no_args_is_help=True)

_Json = Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")]


@alerts.command("sinks")
def sinks(json_file: _Json = None) -> None:
    """Show who is told of what, by the file alerts.yaml in the platform's home.

    Example: closedloop alerts sinks
    """
    from rich.markup import escape
    from rich.table import Table

    from closedloop.core.settings import Settings
    from closedloop.defence.alerts.configuration import FILE, read_alerting
    from closedloop.ui.console import check_json, console, write_json

    check_json(json_file)
    file = Settings().root / FILE
    found = read_alerting(file).receivers
    rows = [
        {
            "name": each.name,
            "kind": type(each.sink).__name__,
            "address": each.sink.address,
            "tenants": list(each.tenants),
            "least_surprise": each.least_surprise,
            "least_texts": each.least_texts,
            "texts": each.texts,
        }
        for each in found
    ]
    if found:
        table = Table("name", "where", "tenants", "from surprise", "from texts", "texts sent")
        for each in found:
            tenants = ", ".join(each.tenants) or "all"
            figures = (f"{each.least_surprise:g}", f"{each.least_texts:,}", str(each.texts))
            table.add_row(each.name, escape(each.sink.address), escape(tenants), *figures)
        console.print(table)
    else:
        console.print(
            f"Nobody is told yet: name receivers in {file}, such as\n"
            "receivers: [{name: log, kind: file, path: alerts.jsonl}]",
            soft_wrap=True,
            markup=False,
        )
    write_json(json_file, {"sinks": rows})


@alerts.command("test")
def test(sink: Annotated[str, typer.Argument(help="Its name in alerts.yaml.")]) -> None:
    """Send a test to one receiver, at once.

    Example: closedloop alerts test on-call
    """
    from closedloop.ui.console import console

    sent = _book().test(sink)
    console.print(f"{sink} took the test {sent.id}.", soft_wrap=True, markup=False)


@alerts.command("list")
def list_alerts(
    state: Annotated[str, typer.Option(help="Only waiting, sent or failed ones.")] = "",
    limit: Annotated[int, typer.Option(help="At most so many, the newest.", min=1)] = 50,
    json_file: _Json = None,
) -> None:
    """Show alerts, the newest first, and what became of them.

    Example: closedloop alerts list --state failed
    """
    from dataclasses import asdict
    from datetime import UTC, datetime

    from rich.markup import escape
    from rich.table import Table

    from closedloop.ui.console import check_json, console, write_json

    check_json(json_file)
    found = _book().all(state=_state(state), limit=limit)
    if found:
        table = Table("id", "when (UTC)", "to", "what", "state", "attempts", "problem")
        for each in found:
            when = f"{datetime.fromtimestamp(each.created_at, UTC):%Y-%m-%d %H:%M:%S}"
            done = (each.state.value, str(each.attempts), escape(each.problem or ""))
            table.add_row(each.id[:8], when, each.sink, escape(each.subject), *done)
        console.print(table)
    else:
        console.print("No alert" + (f" is {state}." if state else " yet."))
    write_json(json_file, {"alerts": [asdict(each) for each in found]})


@alerts.command("retry")
def retry(
    alert_id: Annotated[str, typer.Argument(help="Of one that failed, or the beginning of it.")],
) -> None:
    """Have an alert that was given up sent again.

    Example: closedloop alerts retry 3f2a
    """
    from closedloop.core.audit import system_user
    from closedloop.core.errors import InputError
    from closedloop.ui.console import console

    book = _book()
    ids = [each.id for each in book.all() if each.id.startswith(alert_id)]
    if len(ids) > 1:
        raise InputError(
            f"{len(ids)} alerts have an id that begins with {alert_id!r}.",
            remedy="Give more of it; alerts list shows eight characters.",
        )
    found = ids[0] if ids else alert_id
    book.retry(found, who=system_user())
    console.print(f"The alert {found[:8]} is sent again when its turn comes.", markup=False)


@alerts.command("deliver")
def deliver(json_file: _Json = None) -> None:
    """Send what is due now; the platform does this by itself while it is up.

    Example: closedloop alerts deliver
    """
    from dataclasses import asdict

    from closedloop.ui.console import check_json, console, write_json

    check_json(json_file)
    done = _book().deliver_due()
    said = f"{done.sent:,} sent, {done.postponed:,} to be tried again, {done.given_up:,} given up"
    console.print(said)
    write_json(json_file, asdict(done))


def _book() -> AlertBook:
    from closedloop.core.settings import Settings
    from closedloop.core.store import Store
    from closedloop.defence.alerts.configuration import open_alert_book

    settings = Settings()
    return open_alert_book(settings, Store.open(settings.store_url))


def _state(state: str) -> AlertState | None:
    from closedloop.core.errors import InputError
    from closedloop.defence.alerts.alert import AlertState

    try:
        return AlertState(state) if state else None
    except ValueError:
        raise InputError(
            f"No alert is {state!r}.", remedy=f"Choose among {', '.join(AlertState)}."
        ) from None

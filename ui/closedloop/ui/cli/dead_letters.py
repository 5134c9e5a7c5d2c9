"""``closedloop dead-letters``: rows that were refused, and their second chance."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

dead_letters = typer.Typer(help="Rows that were refused.", no_args_is_help=True)

_SHOWN_CHARS = 60

Source = Annotated[str | None, typer.Option(help="Only of this file or sender.")]
Reason = Annotated[str | None, typer.Option(help="Only with this in their reason.")]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")]


@dead_letters.command("list")
def list_letters(
    source: Source = None,
    reason: Reason = None,
    limit: Annotated[int, typer.Option(help="Show so many.", min=1)] = 20,
    replayed: Annotated[
        bool, typer.Option("--replayed", help="Those that passed a replay instead.")
    ] = False,
    json_file: JsonFile = None,
) -> None:
    """Show refused rows with their reason.

    Example: closedloop dead-letters list --source chats.csv --reason future
    """
    from dataclasses import asdict

    from rich.markup import escape
    from rich.table import Table

    from closedloop.core.settings import Settings
    from closedloop.data.dead_letters import dead_letters as find
    from closedloop.data.lake import Lake
    from closedloop.ui.console import check_json, console, write_json

    check_json(json_file)
    found = find(Lake(Settings().lake_url), source=source, reason=reason, replayed=replayed)
    write_json(
        json_file,
        {
            "count": len(found),
            "letters": [
                {k: v.isoformat() if hasattr(v, "isoformat") else v for k, v in each.items()}
                for each in (asdict(letter) for letter in found[:limit])
            ],
        },
    )
    if not found:
        console.print("no dead letter" + (" fits" if source or reason else ""))
        return
    table = Table("id", "source", "line", "reason", "row")
    for letter in found[:limit]:
        raw = letter.raw or ""
        shown = raw if len(raw) <= _SHOWN_CHARS else raw[: _SHOWN_CHARS - 1] + "…"
        cells = (letter.id[:12], letter.source, f"{letter.line:,}", letter.reason, shown)
        table.add_row(*map(escape, cells))
    console.print(table)
    if len(found) > limit:
        console.print(f"and {len(found) - limit:,} more (--limit)")


@dead_letters.command("replay")
def replay(
    ids: Annotated[
        list[str] | None, typer.Option("--id", help="Only this one (or its beginning); repeat.")
    ] = None,
    source: Source = None,
    reason: Reason = None,
    every: Annotated[bool, typer.Option("--all", help="All that wait.")] = False,
    fix: Annotated[
        list[str] | None,
        typer.Option(help="FIELD=VALUE for each of these rows; repeat. Without VALUE: no value."),
    ] = None,
    mapping: Annotated[
        list[str] | None,
        typer.Option("--map", help="FIELD=KEY of the rows, where they have names of their own."),
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Send refused rows through the door again; those that pass are events, once.

    Those that are refused again stay, with the new reason.

    Example: closedloop dead-letters replay --source chats.csv --reason future --fix ts=
    """
    from dataclasses import asdict

    from rich.progress import Progress

    from closedloop.core.errors import InputError, NotFound
    from closedloop.core.pseudonyms import load_pseudonyms
    from closedloop.core.settings import Settings
    from closedloop.data.dead_letters import dead_letters as find
    from closedloop.data.drain import drain_to_lake
    from closedloop.data.event_log.opening import open_event_log
    from closedloop.data.lake import Lake
    from closedloop.data.replay import replay as send_again
    from closedloop.ui.console import check_json, console, write_json

    check_json(json_file)
    if not (ids or source or reason or every):
        raise InputError(
            "Say which rows to replay.", remedy="Give --id, --source, --reason or --all."
        )
    fixes, keys = _pairs("--fix", fix or []), _pairs("--map", mapping or [])
    settings = Settings()
    lake = Lake(settings.lake_url)
    letters = find(lake, ids=ids or (), source=source, reason=reason)
    if not letters and ids:
        raise NotFound(
            f"No dead letter that waits has an id like {', '.join(ids)}.",
            remedy="See 'closedloop dead-letters list'.",
        )
    with Progress(console=console, transient=True) as bars:
        task = bars.add_task("replaying", total=len(letters))
        log = open_event_log(settings.event_log_url)
        done = send_again(
            letters,
            log=log,
            lake=lake,
            pseudonyms=load_pseudonyms(settings.root),
            fixes=fixes,
            keys=keys,
            progress=lambda rows: bars.update(task, completed=rows),
        )
        bars.update(task, description="writing to the lake")
        drain_to_lake(log, lake)
        log.close()
    console.print(
        f"{done.new:,} rows passed"
        + (f", {done.known:,} had passed before" if done.known else "")
        + f", {done.refused:,} were refused again"
        + (" (see: closedloop dead-letters list)" if done.refused else ""),
        soft_wrap=True,
    )
    write_json(json_file, asdict(done))


def _pairs(option: str, entries: list[str]) -> dict[str, str]:
    from closedloop.core.errors import InputError

    split = {name: value for name, _, value in (entry.partition("=") for entry in entries)}
    wrong = [entry for entry in entries if "=" not in entry or entry.startswith("=")]
    if wrong:
        raise InputError(
            f"{option} {wrong[0]} is not FIELD=VALUE.", remedy=f"Write it as {option} channel=web."
        )
    return split

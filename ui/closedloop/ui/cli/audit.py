"""``closedloop audit``: who changed what, and whether that record is whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from closedloop.core.audit import Audit

audit = typer.Typer(help="Who changed what: keys, users, champions.", no_args_is_help=True)

_Json = Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")]


@audit.command("list")
def list_entries(
    since: Annotated[
        str | None, typer.Option(help="A day, like 2026-11-01, or how long ago, like 36h.")
    ] = None,
    limit: Annotated[int, typer.Option(help="At most so many, the newest.", min=1)] = 50,
    json_file: _Json = None,
) -> None:
    """Show what administrators did, newest first.

    Example: closedloop audit list --since 7d
    """
    from dataclasses import asdict
    from datetime import UTC, datetime

    from rich.markup import escape
    from rich.table import Table

    from closedloop.ui.console import check_json, console, write_json

    check_json(json_file)
    found = _audit().entries(since=None if since is None else _moment(since), limit=limit)
    if found:
        table = Table("entry", "when (UTC)", "who", "what", "on what", "details")
        for each in found:
            when = f"{datetime.fromtimestamp(each.at, UTC):%Y-%m-%d %H:%M:%S}"
            table.add_row(
                str(each.position),
                when,
                escape(each.who),
                each.action,
                escape(each.target),
                escape(", ".join(f"{name}: {_shown(v)}" for name, v in each.details.items())),
            )
        console.print(table)
    else:
        console.print("Nothing was changed" + (" since then." if since else " yet."))
    write_json(json_file, {"entries": [asdict(each) for each in found]})


@audit.command("verify")
def verify(json_file: _Json = None) -> None:
    """Check the chain of hashes; a changed or deleted entry is named.

    Keep the hash it prints elsewhere: it also shows a chain that was written anew as a whole.

    Example: closedloop audit verify
    """
    from dataclasses import asdict

    from closedloop.ui.console import check_json, console, write_json

    check_json(json_file)
    found = _audit().verify()
    console.print(
        f"{found.entries:,} entries, none changed or missing; the last has the hash"
        f" {found.last_hash}",
        soft_wrap=True,
    )
    write_json(json_file, asdict(found))


def _audit() -> Audit:
    from closedloop.core.audit import Audit
    from closedloop.core.settings import Settings
    from closedloop.core.store import Store

    return Audit(Store.open(Settings().store_url))


def _moment(since: str) -> float:
    from datetime import UTC, datetime

    from closedloop.core.durations import duration
    from closedloop.core.errors import InputError

    now = datetime.now(UTC)
    try:
        at = datetime.fromisoformat(since)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except ValueError:
        pass
    try:
        return (now - duration(since)).timestamp()
    except (InputError, OverflowError) as error:
        raise InputError(
            f"--since {since!r} is neither a day nor a length of time.",
            remedy="Write it like 2026-11-01, 2026-11-01T08:00 or 36h.",
        ) from error


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)

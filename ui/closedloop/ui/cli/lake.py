"""``closedloop lake``: how the tables stand, compaction and retention."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

lake = typer.Typer(help="The lake's tables.", no_args_is_help=True)

JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")]


@lake.command("status")
def status(json_file: JsonFile = None) -> None:
    """Show each table's version, rows, files, bytes and days.

    Example: closedloop lake status
    """
    from dataclasses import asdict

    from rich.filesize import decimal
    from rich.table import Table

    from closedloop.core.settings import Settings
    from closedloop.data.lake import Lake
    from closedloop.data.lake_maintenance import lake_status
    from closedloop.ui.console import check_json, console, write_json

    check_json(json_file)
    found = lake_status(Lake(Settings().lake_url))
    write_json(json_file, {"tables": [asdict(each) for each in found]})
    if not found:
        console.print("No table yet: closedloop ingest FILE --map text=COLUMN")
        return
    table = Table("table")
    for column in ("version", "rows", "files", "size", "days"):
        table.add_column(column, justify="right")
    table.add_column("from – to")
    for each in found:
        table.add_row(
            each.table,
            str(each.version),
            f"{each.rows:,}",
            f"{each.files:,}",
            decimal(each.size_bytes),
            f"{each.days:,}",
            f"{each.first_day} – {each.last_day}" if each.first_day else "",
        )
    console.print(table)


@lake.command("compact")
def compact(
    table: Annotated[str | None, typer.Argument(help="One table; all without.")] = None,
    json_file: JsonFile = None,
) -> None:
    """Put small files together; no row changes, and whoever reads or writes goes on.

    Example: closedloop lake compact turns --json compact.json
    """
    from dataclasses import asdict

    from rich.filesize import decimal
    from rich.progress import Progress

    from closedloop.core.settings import Settings
    from closedloop.data.lake import Lake
    from closedloop.data.lake_maintenance import compact as put_together
    from closedloop.data.lake_maintenance import lake_status
    from closedloop.ui.console import check_json, console, write_json

    check_json(json_file)
    where = Lake(Settings().lake_url)
    names = [table] if table else [each.table for each in lake_status(where)]
    done = []
    with Progress(console=console, transient=True) as bars:
        task = bars.add_task("compacting", total=len(names))
        for name in names:
            bars.update(task, description=f"compacting {name}")
            done.append(put_together(where, name))
            bars.advance(task)
    for each in done:
        console.print(
            f"{each.table}: {each.files_before:,} files became {each.files:,}"
            f" ({decimal(each.bytes_before)} → {decimal(each.size_bytes)}),"
            f" {each.rows:,} rows as before",
            soft_wrap=True,
        )
    if not done:
        console.print("No table yet: closedloop ingest FILE --map text=COLUMN")
    write_json(json_file, {"tables": [asdict(each) for each in done]})


@lake.command("retain")
def retain(
    table: Annotated[str, typer.Argument(help="The table.")],
    older_than: Annotated[str, typer.Option(help="Age of the days that go, like 180d or 26w.")],
    grace: Annotated[
        str, typer.Option(help="How long a file stays after nothing needs it, like 7d or 36h.")
    ] = "7d",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go, and change nothing.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also what training sets need; any grace.")
    ] = False,
    json_file: JsonFile = None,
) -> None:
    """Delete days that are too old, and the files that no kept version needs.

    A version that a training set in the registry names is kept; where it holds days that would
    go, the command refuses.

    Example: closedloop lake retain turns --older-than 180d --dry-run
    """
    from dataclasses import asdict
    from datetime import UTC, datetime

    from closedloop.core.durations import duration
    from closedloop.core.settings import Settings
    from closedloop.data.lake import Lake
    from closedloop.data.lake_maintenance import retain as let_go
    from closedloop.models.registry import Registry
    from closedloop.models.training_snapshot import LABELS_TABLE, named_versions
    from closedloop.ui.console import check_json, console, write_json

    check_json(json_file)
    age, stays = duration(older_than), duration(grace)
    settings = Settings()
    named = {}
    if table == LABELS_TABLE:
        named = named_versions(Registry(settings.registry_url, settings.artifacts_url))
    found = let_go(
        Lake(settings.lake_url),
        table,
        older_than=age,
        named=named,
        now=datetime.now(UTC),
        grace=stays,
        dry_run=dry_run,
        force=force,
    )
    would = "would go" if dry_run else "went"
    console.print(
        f"{table}: {found.rows:,} rows of {len(found.days):,} days before {found.before} {would};"
        f" {found.files_removed:,} files that nothing needs {would} from the disk",
        soft_wrap=True,
    )
    if found.days and not dry_run and stays:
        console.print(
            f"The files of those days go with the first 'lake retain' after the grace of {grace}.",
            soft_wrap=True,
        )
    write_json(json_file, asdict(found))

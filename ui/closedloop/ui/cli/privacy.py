"""``closedloop privacy``: what masking finds, and the keys of pseudonyms."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

privacy = typer.Typer(help="Masking, and the keys of pseudonyms.", no_args_is_help=True)

_BATCH_TEXTS = 5_000
# Every column of the lake that holds what people wrote.
_TEXTS = {
    "turns": "text",
    "predictions": "text",
    "feedback": "text",
    "labels": "text",
    "dead_letters": "raw",
}

JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")]


@privacy.command("scan")
def scan(
    logs: Annotated[
        Path | None, typer.Argument(help="CSV, JSON Lines or Parquet file; nothing is loaded.")
    ] = None,
    lake: Annotated[bool, typer.Option("--lake", help="Look at what is stored instead.")] = False,
    mapping: Annotated[
        list[str] | None, typer.Option("--map", help="FIELD=COLUMN; text is required.")
    ] = None,
    encoding: Annotated[str, typer.Option(help="Text encoding of the file.")] = "utf-8",
    examples: Annotated[int, typer.Option(help="Examples a kind.", min=0, max=100)] = 3,
    json_file: JsonFile = None,
) -> None:
    """Report the personal data that loading a file would mask, or that the lake holds.

    Nothing is changed. Found values are shown partly hidden.

    Example: closedloop privacy scan chats.csv --map text=message
    """
    from dataclasses import asdict

    from rich.markup import escape
    from rich.progress import Progress
    from rich.table import Table

    from closedloop.core.errors import InputError
    from closedloop.core.privacy_scan import Scan
    from closedloop.ui.console import check_json, console, write_json

    if (logs is None) != lake:
        raise InputError(
            "Give either a file or --lake.",
            remedy="closedloop privacy scan chats.csv --map text=message",
        )
    check_json(json_file)
    found = Scan(examples=examples)
    refused = 0
    with Progress(console=console, transient=True) as bars:
        task = bars.add_task("looking", total=None)
        for texts, bad, total in (
            _lake_texts() if logs is None else _file_texts(logs, mapping or [], encoding)
        ):
            found.look(texts)
            refused += bad
            bars.update(task, advance=len(texts) + bad, total=total)
    report = found.report()
    table = Table("kind", "found", "examples")
    for kind, count in report.found.items():
        table.add_row(kind, f"{count:,}", escape("\n".join(report.examples.get(kind, ()))))
    console.print(table)
    share = report.texts_with / max(1, report.texts)
    console.print(
        f"{report.texts:,} texts, {report.texts_with:,} of them ({share:.1%}) with personal data"
        + (f"; {refused:,} rows would be refused" if refused else ""),
        soft_wrap=True,
    )
    write_json(json_file, asdict(report) | {"rows_unreadable": refused})


@privacy.command("rotate-key")
def rotate_key(
    tenant: Annotated[str, typer.Option(help="Whose users get new pseudonyms.")],
    rekey: Annotated[
        bool, typer.Option("--rekey/--no-rekey", help="Carry what is stored over, too.")
    ] = True,
    json_file: JsonFile = None,
) -> None:
    """Lay a new key over a tenant's pseudonyms and carry what is stored over to it.

    Equal users stay equal, so that distinct counts go on; pseudonyms that leaked before say
    nothing about the new ones. With --no-rekey, or until the work is done, a user counts twice:
    once under the old name and once under the new. Serving follows within a second.

    Example: closedloop privacy rotate-key --tenant shop
    """
    from closedloop.core.audit import Audit, system_user
    from closedloop.core.pseudonyms import rotate_key as rotate
    from closedloop.core.settings import Settings
    from closedloop.core.store import Store
    from closedloop.ui.console import check_json, console, write_json

    check_json(json_file)
    settings = Settings()
    audit = Audit(Store.open(settings.store_url))  # before anything changes: it must be there
    generation = rotate(settings.root, tenant)
    audit.record(
        who=system_user(), action="privacy.rotate-key", target=tenant, generation=generation
    )
    console.print(f"{tenant} has key generation {generation} now.", markup=False)
    if not rekey:
        console.print(
            "Users seen before and after now count twice, until: closedloop privacy rekey",
            soft_wrap=True,
        )
    changed = _rekey() if rekey else {}
    write_json(json_file, {"tenant": tenant, "generation": generation, "rekeyed": changed})


@privacy.command("rekey")
def rekey(json_file: JsonFile = None) -> None:
    """Carry every stored pseudonym over to its tenant's newest key.

    Does what is left to do: run it again after a crash, or when rows came late.

    Example: closedloop privacy rekey
    """
    from closedloop.ui.console import check_json, write_json

    check_json(json_file)
    write_json(json_file, {"rekeyed": _rekey()})


@privacy.command("keys")
def keys() -> None:
    """Show each tenant's key generation, and the rows that are under an older one.

    Example: closedloop privacy keys
    """
    from rich.markup import escape
    from rich.table import Table

    from closedloop.core.pseudonyms import load_pseudonyms
    from closedloop.core.settings import Settings
    from closedloop.data.lake import Lake
    from closedloop.data.rekey import stale_rows
    from closedloop.ui.console import console

    settings = Settings()
    chain = load_pseudonyms(settings.root).chain
    table = Table("tenant", "generation")
    for tenant in sorted(chain.later):
        table.add_row(escape(tenant), str(chain.generation(tenant)))
    table.add_row("(all others)" if chain.later else "(all)", "0")
    console.print(table)
    stale = stale_rows(Lake(settings.lake_url), chain)
    for name, rows in stale.items():
        console.print(f"{name}: {rows:,} rows are under an older key", soft_wrap=True)
    if stale:
        console.print("Carry them over: closedloop privacy rekey")


def _rekey() -> dict[str, int]:
    from rich.progress import Progress

    from closedloop.core.pseudonyms import load_pseudonyms
    from closedloop.core.settings import Settings
    from closedloop.data.drain import drain_to_lake
    from closedloop.data.event_log.opening import open_event_log
    from closedloop.data.lake import Lake
    from closedloop.data.rekey import rekey as carry_over
    from closedloop.ui.console import console

    settings = Settings()
    lake = Lake(settings.lake_url)
    with Progress(console=console, transient=True) as bars:
        task = bars.add_task("writing to the lake", total=None)
        log = open_event_log(settings.event_log_url)
        drain_to_lake(log, lake)  # what waits in the log is under the old key
        log.close()
        bars.update(task, description="carrying over")
        changed = carry_over(
            lake,
            load_pseudonyms(settings.root).chain,
            progress=lambda done, days: bars.update(task, completed=done, total=days),
        )
    for table, rows in changed.items():
        console.print(f"{table}: {rows:,} rows carried over to the newest key", soft_wrap=True)
    if changed:
        console.print(
            "Older versions of these tables and the event log hold the old pseudonyms until"
            " 'closedloop lake retain' and 'closedloop events retain' remove them.",
            soft_wrap=True,
        )
    else:
        console.print("every row is under its tenant's newest key")
    return changed


def _file_texts(
    logs: Path, mapping: list[str], encoding: str
) -> Iterator[tuple[list[str], int, int | None]]:
    """Yield texts, rows that cannot be read, and how many rows there are if that is known."""
    from itertools import islice

    from closedloop.data.log_file import Row
    from closedloop.ui.loop_runs import LoopRequest

    file = LoopRequest(workflow="", mapping=tuple(mapping), encoding=encoding).file(logs)
    rows = file.rows()
    while batch := list(islice(rows, _BATCH_TEXTS)):
        values = [row.values.get("text") for row in batch if isinstance(row, Row)]
        texts = [text for text in values if isinstance(text, str) and text.strip()]
        yield texts, len(batch) - len(texts), None


def _lake_texts() -> Iterator[tuple[list[str], int, int | None]]:
    from closedloop.core.settings import Settings
    from closedloop.data.lake import Lake, named_failures

    lake = Lake(Settings().lake_url)
    total = sum(lake.count(table) for table in _TEXTS)
    for table, column in _TEXTS.items():
        opened = lake.open(table)
        if opened is None:
            continue
        with named_failures(f"reading the lake table {table} in {lake.url}"):
            rows = opened.to_pyarrow_dataset()
            for batch in rows.to_batches(columns=[column], batch_size=_BATCH_TEXTS):
                yield [text for text in batch[column].to_pylist() if text], 0, total

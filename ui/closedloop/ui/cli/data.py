"""``closedloop ingest`` and ``closedloop simulate``: logs in, and logs made up."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer


def ingest(
    logs: Annotated[Path, typer.Argument(help="CSV, JSON Lines or Parquet file.")],
    mapping: Annotated[
        list[str] | None, typer.Option("--map", help="FIELD=COLUMN; text is required.")
    ] = None,
    tenant: Annotated[str, typer.Option(help="Whose logs these are.")] = "default",
    encoding: Annotated[str, typer.Option(help="Text encoding of the file.")] = "utf-8",
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the figures here.")
    ] = None,
) -> None:
    """Load a file of dialogue logs into the event log and the lake.

    Bad rows go to the dead-letter table with their line and reason. Loading the same file
    again adds nothing.

    Example: closedloop ingest chats.csv --map text=message --tenant shop
    """
    from dataclasses import asdict

    from rich.progress import Progress

    from closedloop.core.pseudonyms import load_pseudonyms
    from closedloop.core.settings import Settings
    from closedloop.data.drain import drain_to_lake
    from closedloop.data.event_log.opening import open_event_log
    from closedloop.data.ingest import ingest_file, ingest_workers
    from closedloop.data.lake import Lake
    from closedloop.ui.console import console, write_json
    from closedloop.ui.loop_runs import LoopRequest

    settings = Settings()
    file = LoopRequest(workflow="", mapping=tuple(mapping or ()), encoding=encoding).file(logs)
    file.check()
    log, lake = open_event_log(settings.event_log_url), Lake(settings.lake_url)
    with Progress(console=console, transient=True) as bars:
        task = bars.add_task("loading", total=None)
        loaded = ingest_file(
            file,
            log=log,
            lake=lake,
            tenant=tenant,
            pseudonyms=load_pseudonyms(settings.root),
            workers=ingest_workers(file.path),
            progress=lambda rows: bars.update(task, completed=rows),
        )
        bars.update(task, description="writing to the lake")
        drain_to_lake(log, lake)
    log.close()
    console.print(
        f"{loaded.new:,} new rows, {loaded.duplicates:,} known already, {loaded.refused:,} refused"
        + (" (see: closedloop dead-letters list)" if loaded.refused else ""),
        soft_wrap=True,
    )
    write_json(json_file, asdict(loaded))


def simulate(
    output: Annotated[Path, typer.Argument(help="File to write: .csv, .jsonl or .parquet.")],
    turns: Annotated[int, typer.Option(help="Rows.", min=1)] = 10_000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same file.")] = 0,
    tenant: Annotated[list[str] | None, typer.Option(help="Only these tenants; repeat.")] = None,
    labels: Annotated[bool, typer.Option(help="Write the true intent of each turn too.")] = True,
) -> None:
    """Write simulated traffic of e-commerce assistants, in English and Chinese.

    Example: closedloop simulate week1.csv --turns 50000 --seed 7
    """
    from rich.progress import Progress

    from closedloop.core.errors import InputError
    from closedloop.data.simulate.logs import Format, write_logs
    from closedloop.data.simulate.scenario import Scenario
    from closedloop.ui.console import console

    kind = output.suffix.lstrip(".")
    if kind not in ("csv", "jsonl", "parquet"):
        raise InputError(
            f"{output}: simulated logs cannot be written as {kind or 'a file without an ending'}.",
            remedy="End the name in .csv, .jsonl or .parquet.",
        )
    scenario = Scenario(seed=seed, turns=turns, tenants=tuple(tenant or ()))
    with Progress(console=console, transient=True) as bars:
        task = bars.add_task("simulating", total=turns)
        rows = write_logs(
            scenario,
            output,
            cast("Format", kind),
            with_labels=labels,
            progress=lambda done: bars.update(task, completed=done),
        )
    console.print(f"{rows:,} turns in {output}", soft_wrap=True)

"""``closedloop etl``: from events to what analysis needs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from closedloop.ui.cli.workflows import EngineName

etl = typer.Typer(help="Make interactions, dialogues and daily figures.", no_args_is_help=True)


@etl.callback()
def _group() -> None:
    """Keep ``run`` a command of its own, though it is the only one."""


@etl.command("run")
def run(
    engine: Annotated[
        EngineName, typer.Option(help="Spark inside the Ray cluster, or plain local.")
    ] = EngineName.local,
    since: Annotated[
        str | None, typer.Option(help="Make every day from this one on (YYYY-MM-DD) again.")
    ] = None,
    cores: Annotated[int | None, typer.Option(help="Cores that Spark takes.", min=1)] = None,
    memory: Annotated[str, typer.Option(help="Memory that Spark takes.")] = "2g",
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the figures to this file.")
    ] = None,
) -> None:
    """Bring the tables interactions, dialogues, daily and features up to date.

    Processes what came since the last run; late events and feedback correct the days they
    belong to. With nothing new it changes nothing.

    Example: closedloop etl run --engine ray --json etl.json
    """
    import os
    from contextlib import AbstractContextManager, nullcontext
    from dataclasses import asdict

    from rich.progress import Progress

    from closedloop.core.settings import Settings
    from closedloop.data.drain import drain_to_lake
    from closedloop.data.etl import run_etl
    from closedloop.data.event_log.opening import open_event_log
    from closedloop.data.lake import Lake
    from closedloop.data.spark import Engine, SparkSize
    from closedloop.ui.console import console, write_json

    settings = Settings()
    lake = Lake(settings.lake_url)
    log = open_event_log(settings.event_log_url)
    drain_to_lake(log, lake)
    log.close()
    if engine is EngineName.ray:
        from closedloop.actors.cluster import ray_cluster

        cluster: AbstractContextManager[object] = ray_cluster(settings)
    else:
        cluster = nullcontext()
    with Progress(console=console, transient=True) as bars, cluster:
        task = bars.add_task("making tables", total=None)
        report = run_etl(
            lake,
            engine=Engine(engine.value),
            size=SparkSize(cores=cores or os.cpu_count() or 1, memory=memory),
            since=since,
            log_file=settings.root / "logs" / "spark.log",
            progress=lambda done, steps: bars.update(task, completed=done, total=steps),
        )
    if report.days:
        made = ", ".join(f"{rows:,} {table}" for table, rows in report.rows.items())
        span = report.days[0] if len(report.days) == 1 else f"{report.days[0]} to {report.days[-1]}"
        console.print(f"{len(report.days)} days ({span}): {made}", soft_wrap=True)
    else:
        console.print("nothing new since the last run")
    write_json(json_file, asdict(report))

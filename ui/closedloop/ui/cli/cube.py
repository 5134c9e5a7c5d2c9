"""``closedloop cube`` and ``closedloop query``: multi-dimensional questions over interactions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from closedloop.ui.cli.workflows import EngineName

if TYPE_CHECKING:
    import polars as pl

cube = typer.Typer(help="Build the cube and see what it holds.", no_args_is_help=True)
_WIDEST = 60


@cube.command("refresh")
def refresh(
    engine: Annotated[
        EngineName, typer.Option(help="Spark inside the Ray cluster, or plain local.")
    ] = EngineName.local,
    declaration: Annotated[
        Path | None,
        typer.Option(help="YAML file of dimensions and cuboids; builds everything again."),
    ] = None,
    rebuild: Annotated[bool, typer.Option(help="Build every day, changed or not.")] = False,
    cores: Annotated[int | None, typer.Option(help="Cores that Spark takes.", min=1)] = None,
    memory: Annotated[str, typer.Option(help="Memory that Spark takes.")] = "2g",
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the figures to this file.")
    ] = None,
) -> None:
    """Bring the cube up to date with the lake; only days that changed are built.

    Example: closedloop cube refresh --engine ray
    """
    import os
    from contextlib import AbstractContextManager, nullcontext
    from dataclasses import asdict

    from rich.progress import Progress

    from closedloop.core.settings import Settings
    from closedloop.data.cube.declaration import read_declaration
    from closedloop.data.cube.refresh import refresh as refresh_cube
    from closedloop.data.lake import Lake
    from closedloop.data.spark import Engine, SparkSize, spark_session
    from closedloop.ui.console import check_json, console, write_json

    check_json(json_file)
    settings = Settings()
    declared = read_declaration(declaration) if declaration else None
    size = SparkSize(cores=cores or os.cpu_count() or 1, memory=memory)
    if engine is EngineName.ray:
        from closedloop.actors.cluster import ray_cluster

        cluster: AbstractContextManager[object] = ray_cluster(settings)
    else:
        cluster = nullcontext()
    with Progress(console=console, transient=True) as bars, cluster:
        task = bars.add_task("looking for changed days", total=None)
        done = refresh_cube(
            Lake(settings.lake_url),
            declared,
            rebuild=rebuild,
            open_spark=lambda: spark_session(
                Engine(engine.value), size=size, log_file=settings.root / "logs" / "spark.log"
            ),
            progress=lambda what, step, steps: bars.update(
                task, description=what, completed=step, total=steps or None
            ),
        )
    console.print(
        f"{done.days:,} days built with {done.rows:,} interactions, {done.removed:,} removed"
        if done.days or done.removed
        else "nothing changed since the last refresh",
        soft_wrap=True,
    )
    write_json(json_file, asdict(done))


@cube.command("status")
def status(
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the figures to this file.")
    ] = None,
) -> None:
    """Show what the cube holds: days, interactions, dimensions, cuboids, bytes.

    Example: closedloop cube status
    """
    from rich.table import Table

    from closedloop.core.settings import Settings
    from closedloop.data.cube.cube import Cube
    from closedloop.data.lake import Lake
    from closedloop.ui.console import console, write_json

    opened = Cube(Lake(Settings().lake_url))
    days = opened.days
    figures = {
        "days": len(days),
        "first_day": days[0] if days else None,
        "last_day": days[-1] if days else None,
        "interactions": opened.rows,
        "bytes": opened.size_bytes,
        "lake_version": opened.lake_version,
        "lake_version_now": opened.newest_lake_version,
    }
    for name, value in figures.items():
        shown = f"{value:,}" if isinstance(value, int) else value or "none"
        console.print(f"{name.replace('_', ' '):18} {shown}")
    if opened.newest_lake_version != opened.lake_version:
        console.print("The lake has moved on: closedloop cube refresh")
    table = Table(title="dimensions", title_justify="left")
    for heading in ("name", "from", "kept as"):
        table.add_column(heading)
    for dimension in opened.declaration.dimensions:
        kept = "inverted index" if dimension.indexed else "cells"
        table.add_row(dimension.name, dimension.column, kept)
    console.print(table)
    for cuboid in opened.declaration.cuboids:
        sketches = "" if cuboid.sketches else " (additive measures only)"
        console.print(f"cuboid by {cuboid.grain}: {', '.join(cuboid.dimensions)}{sketches}")
    write_json(json_file, figures)


def query(
    sql: Annotated[str, typer.Argument(help="One SELECT over interactions.")],
    explain: Annotated[bool, typer.Option(help="Say which source answers, and why.")] = False,
    others: Annotated[bool, typer.Option(help="Fold what LIMIT cuts off into one row.")] = False,
    compare: Annotated[
        tuple[str, str, str, str] | None,
        typer.Option(
            help="Compare two periods: FROM TO and the FROM TO before (YYYY-MM-DD).",
            metavar="FROM TO FROM TO",
        ),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the rows and figures to this file.")
    ] = None,
) -> None:
    """Ask the cube. Measures: turns, users, bad, bad_rate, confidence, latency_p95, …

    Example: closedloop query "SELECT intent, turns, bad_rate FROM interactions
    WHERE language = 'zh' GROUP BY intent ORDER BY bad_rate DESC LIMIT 10"
    """
    from dataclasses import asdict

    from closedloop.core.settings import Settings
    from closedloop.data.cube.cube import Cube
    from closedloop.data.cube.sql import parse
    from closedloop.data.lake import Lake
    from closedloop.ui.console import check_json, console, write_json

    check_json(json_file)
    asked = parse(sql).with_(others=others)
    opened = Cube(Lake(Settings().lake_url))
    plan = opened.explain(asked)
    if explain:
        console.print(str(plan), soft_wrap=True, markup=False)
    if compare:
        first, last, first_before, last_before = compare
        rows = opened.compare(asked, period=(first, last), before=(first_before, last_before))
        figures: dict[str, object] = {"rows": rows.to_dicts()}
    else:
        answer = opened.query(asked)
        rows = answer.rows
        figures = {
            "rows": rows.to_dicts(),
            "plan": asdict(plan),
            "seconds": answer.seconds,
            "relative_error": answer.relative_error,
        }
    _show(rows)
    if not compare:
        errors = "".join(f", {name} ±{error:.1%}" for name, error in answer.relative_error.items())
        console.print(
            f"{rows.height:,} rows in {answer.seconds * 1000:,.1f} ms, {plan.label}{errors}",
            style="dim",
            soft_wrap=True,
        )
    write_json(json_file, figures)


def _show(rows: pl.DataFrame) -> None:
    from rich.table import Table

    from closedloop.ui.console import console

    table = Table()
    for name, kind in rows.schema.items():
        table.add_column(name, justify="right" if kind.is_numeric() else "left")
    for row in rows.iter_rows():
        table.add_row(*map(_cell, row))
    console.print(table)


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case float():
            return f"{value:,.4f}"
        case int():
            return f"{value:,}"
    text = str(value)
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"

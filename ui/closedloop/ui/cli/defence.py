"""``closedloop defence``: the shards that cluster the stream of events."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from closedloop.defence.shards import ShardReport

defence = typer.Typer(help="What clusters the stream of events.", no_args_is_help=True)

_Json = Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")]


@defence.command("status")
def status(json_file: _Json = None) -> None:
    """Show each shard: its tenants, how far behind it is, its speed and its memory.

    Example: closedloop defence status
    """
    from rich.table import Table

    from closedloop.core.settings import Settings
    from closedloop.core.store import Store
    from closedloop.defence.shards import Shards
    from closedloop.ui.console import check_json, console, write_json

    check_json(json_file)
    store = Store.open(Settings().store_url)
    try:
        reports = Shards(store).reports()
    finally:
        store.close()
    now = time.time()
    if reports:
        names = ("shard", "state", "tenants", "clusters", "behind", "events/s", "memory", "saves")
        table = Table(*names)
        for report in reports:
            table.add_row(*_row(report, now))
        console.print(table)
        for report in reports:
            if report.figures.problem:
                console.print(
                    f"shard {report.shard}: {report.figures.problem}", soft_wrap=True, markup=False
                )
    else:
        console.print("No shard has run yet: 'closedloop up' starts them.")
    write_json(json_file, {"shards": [_as_json(report, now) for report in reports]})


@defence.command("shards")
def shards(
    count: Annotated[int, typer.Argument(help="How many processes; 0 ends them all.")],
) -> None:
    """Deal the tenants out to another number of shards; each goes on where it was.

    The next start takes the number from CLOSEDLOOP_DEFENCE_SHARDS again.

    Example: closedloop defence shards 2
    """
    from closedloop.actors.stream_clusterer import host_clusterer, retire_clusterer
    from closedloop.core.engine_log import engine_log
    from closedloop.core.settings import Settings
    from closedloop.defence.slots import dealt
    from closedloop.ui.console import console

    if count:
        dealt(count)
    settings = Settings()
    with engine_log(settings.root / "logs" / "engines.log"), _cluster(settings):
        if count:
            host_clusterer(settings, shards=count)
        else:
            retire_clusterer()
    many = "no shard" if not count else "1 shard" if count == 1 else f"{count} shards"
    console.print(
        f"The stream is clustered by {many} now. Set CLOSEDLOOP_DEFENCE_SHARDS={count} where the"
        " platform is started, so that it stays so.",
        soft_wrap=True,
    )


@defence.command("rebuild")
def rebuild(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Forget all clusters and recent texts, and read the event log from its first event.

    Needed where the log was replaced, or a file of the clusters is damaged. Issues stay; what
    still rises comes as new ones.

    Example: closedloop defence rebuild --yes
    """
    from closedloop.actors.stream_clusterer import rebuild_clusterer
    from closedloop.core.engine_log import engine_log
    from closedloop.core.settings import Settings
    from closedloop.ui.console import console

    if not yes and not typer.confirm("Forget all clusters and read the event log again?"):
        raise typer.Exit(1)
    settings = Settings()
    with engine_log(settings.root / "logs" / "engines.log"), _cluster(settings):
        found = rebuild_clusterer(settings)
    console.print(f"{len(found.actors)} shards read the event log from its first event.")


def _cluster(settings: Any) -> Any:
    """Join the Ray cluster that runs, never start one: it would end with this command."""
    from closedloop.actors.cluster import ray_cluster, running_address
    from closedloop.core.errors import EngineError

    if not (settings.ray_address or running_address(settings)):
        raise EngineError(
            "The platform is not running.",
            remedy="Start it with 'closedloop up', in another terminal or with --detach.",
        )
    return ray_cluster(settings)


def _row(report: ShardReport, now: float) -> tuple[str, ...]:
    figures = report.figures
    behind = f"{figures.lag_events:,}"
    if figures.lag_events:
        behind += f" ({figures.lag_s:,.1f} s)"
    return (
        str(report.shard),
        _state(report, now),
        f"{figures.tenants:,}",
        f"{figures.clusters:,}",
        behind,
        f"{figures.events_per_s:,.0f}",
        f"{figures.memory_bytes / 2**20:,.0f} MiB",
        f"{figures.checkpoints:,}",
    )


def _state(report: ShardReport, now: float) -> str:
    from closedloop.defence.shards import SILENT_S

    if not report.reported_at:
        return "starting"
    if report.figures.problem:
        return "fails"
    silent_s = now - report.reported_at
    return "works" if silent_s <= SILENT_S else f"silent for {silent_s:,.0f} s"


def _as_json(report: ShardReport, now: float) -> dict[str, Any]:
    return {
        "shard": report.shard,
        "state": _state(report, now),
        "reported_at": report.reported_at,
        **report.figures.to_json(),
    }

"""``closedloop up``, ``down`` and ``status``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def up(
    detach: Annotated[
        bool,
        typer.Option(
            "--detach", help="On a Ray cluster: start the services there and return at once."
        ),
    ] = False,
) -> None:
    """Start the platform: Ray, queue, clusterer, Serve and the app; Ctrl-C ends it.

    Joins the cluster of CLOSEDLOOP_RAY_ADDRESS where that is set, else starts an embedded one.

    Example: CLOSEDLOOP_HOME=/srv/closedloop closedloop up
    """
    from closedloop.core.settings import Settings
    from closedloop.ui.console import console
    from closedloop.ui.demo import wait_for_end
    from closedloop.ui.services import start_detached
    from closedloop.ui.stack import running_stack

    settings = Settings()
    if detach:
        start_detached(settings)
        return
    with running_stack(settings, tell=lambda s: console.print(f"[dim]{s} …")) as stack:
        console.print(
            f"[bold]The platform is up.[/]\n  app        {stack.app_url}\n"
            f"  API        {stack.api_url}/docs\n  dashboard  {stack.dashboard_url}\n"
            "Add a login with 'closedloop users add NAME', a client's key with "
            "'closedloop keys add CLIENT'. Ctrl-C ends it.",
            soft_wrap=True,
        )
        wait_for_end()
        console.print("[dim]ending …")


def down() -> None:
    """End the platform of this home, wherever it was started.

    Example: closedloop down
    """
    from closedloop.core.settings import Settings
    from closedloop.ui.console import console
    from closedloop.ui.services import stop_detached
    from closedloop.ui.stack import stop_running

    settings = Settings()
    found = stop_running(settings) or stop_detached(settings)
    console.print("Ending the platform." if found else "No platform of this home is running.")


def status(
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write what is shown to this file.")
    ] = None,
) -> None:
    """Show whether each engine answers, and the last runs.

    Example: closedloop status
    """
    from rich.table import Table

    from closedloop.core.settings import Settings
    from closedloop.ui.console import console, write_json
    from closedloop.ui.services import checks, last_runs

    settings = Settings()
    found = checks(settings)
    table = Table("part", "state", "what it says", title=str(settings.root), title_justify="left")
    for check in found:
        mark = "[green]ok" if check["ok"] else "[red]down"
        table.add_row(str(check["part"]), mark, str(check["said"]))
    console.print(table)
    runs = last_runs(settings)
    for run in runs:
        console.print(f"  {run['started']}  {run['workflow']:<11} {run['model']}  {run['state']}")
    write_json(json_file, {"checks": found, "runs": runs})


def env() -> None:
    """Print the variables that Ray must inherit on a node, for a shell to evaluate.

    Example: eval "$(closedloop env)"; ray start --head
    """
    import os
    import shlex

    from closedloop.actors.cluster import node_environment, prepare_ray
    from closedloop.core.java import engine_environment
    from closedloop.core.settings import Settings

    settings = Settings()
    prepare_ray(settings)
    variables = engine_environment() | {
        name: value
        for name, value in sorted(os.environ.items())
        if name in ("RAY_AUTH_TOKEN_PATH", "CLOSEDLOOP_HOME") or name.startswith("RAY_SERVE_")
    }
    for name, value in (variables | node_environment(settings)).items():
        print(f"export {name}={shlex.quote(value)}")

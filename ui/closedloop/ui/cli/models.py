"""``closedloop models`` and ``closedloop queue``: what serves, and what waits for labels."""

from __future__ import annotations

from typing import Annotated

import typer

models = typer.Typer(help="The model registry.", no_args_is_help=True)
queue = typer.Typer(help="The annotation queues.", no_args_is_help=True)


@models.command("list")
def list_models() -> None:
    """Show every model, its champion, its challenger and its latest version.

    Example: closedloop models list
    """
    from rich.table import Table

    from closedloop.core.settings import Settings
    from closedloop.models.registry import Registry
    from closedloop.ui.console import console

    settings = Settings()
    found = Registry(settings.registry_url, settings.artifacts_url).models()
    if not found:
        console.print("No model yet: closedloop run cold-start --logs FILE --map text=COLUMN")
        return
    table = Table("model", "champion", "challenger", "latest version")
    for model in found:
        table.add_row(
            str(model.ref),
            str(model.champion or "–"),
            str(model.challenger or "–"),
            str(model.latest),
        )
    console.print(table)


@models.command("rollback")
def rollback(
    model: Annotated[str, typer.Argument(help="TENANT.ALGORITHM.NAME")],
) -> None:
    """Give the champion's place back to the version that had it before.

    Example: closedloop models rollback shop.intent.main
    """
    from closedloop.core.settings import Settings
    from closedloop.models.reference import ModelRef
    from closedloop.models.registry import Registry
    from closedloop.models.release import rollback as move_back
    from closedloop.ui.console import console

    settings = Settings()
    moved = move_back(
        Registry(settings.registry_url, settings.artifacts_url), ModelRef.parse(model)
    )
    console.print(f"{moved.ref}: version {moved.version} is champion again (was {moved.former}).")


@queue.command("list")
def list_queues() -> None:
    """Show how each queue stands.

    Example: closedloop queue list
    """
    from rich.table import Table

    from closedloop.core.settings import Settings
    from closedloop.core.store import Store
    from closedloop.samples.annotation import AnnotationQueue
    from closedloop.ui.console import console

    found = AnnotationQueue(Store.open(Settings().store_url)).queues()
    if not found:
        console.print("No task yet: a workflow adds them (closedloop run cold-start …).")
        return
    table = Table("queue", "open", "in hands", "done", "set aside")
    for name, counts in found.items():
        row = (counts.open, counts.leased, counts.done, counts.set_aside)
        table.add_row(name, *(f"{n:,}" for n in row))
    console.print(table)

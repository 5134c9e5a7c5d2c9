"""``closedloop models`` and ``closedloop queue``: what serves, and what waits for labels."""

from __future__ import annotations

from pathlib import Path
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
    from closedloop.core.audit import Audit, system_user
    from closedloop.core.settings import Settings
    from closedloop.core.store import Store
    from closedloop.models.reference import ModelRef
    from closedloop.models.registry import Registry
    from closedloop.models.release import rollback as move_back
    from closedloop.ui.console import console

    settings = Settings()
    audit = Audit(Store.open(settings.store_url))  # before anything moves: it must be there
    moved = move_back(
        Registry(settings.registry_url, settings.artifacts_url), ModelRef.parse(model)
    )
    audit.record(
        who=system_user(),
        action="models.rollback",
        target=str(moved.ref),
        version=moved.version,
        former=moved.former,
    )
    console.print(f"{moved.ref}: version {moved.version} is champion again (was {moved.former}).")


@models.command("training-set")
def training_set(
    model: Annotated[str, typer.Argument(help="TENANT.ALGORITHM.NAME")],
    version: Annotated[int, typer.Argument(help="Of the model.", min=1)],
    out: Annotated[Path, typer.Option(help="Parquet file to write.")],
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the figures to this file.")
    ] = None,
) -> None:
    """Make a version's training set again from the lake version that it names, and check it.

    Example: closedloop models training-set shop.intent.main 3 --out train.parquet
    """
    import pyarrow.parquet as pq

    from closedloop.core.errors import InputError
    from closedloop.core.settings import Settings
    from closedloop.data.lake import Lake
    from closedloop.models.reference import ModelRef
    from closedloop.models.registry import Registry
    from closedloop.models.training_snapshot import rebuild, training_rows
    from closedloop.ui.console import check_json, console, write_json

    check_json(json_file)
    settings = Settings()
    registry = Registry(settings.registry_url, settings.artifacts_url)
    found = rebuild(Lake(settings.lake_url), registry.get(ModelRef.parse(model), version))
    rows = training_rows(found.training_set)
    partial = out.with_name(out.name + ".part")
    try:
        pq.write_table(rows, partial)
        partial.replace(out)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise InputError(
            f"--out {out} cannot be written: {error.strerror}.",
            remedy="Name a file in a folder that exists.",
        ) from error
    console.print(
        f"{len(found.training_set.train):,} training and {len(found.training_set.gold):,}"
        f" evaluation rows from version {found.labels_version} of the lake's labels in {out};"
        + (
            f" the same, bit for bit, as it was trained on (SHA-256 {found.sha256[:12]}…)"
            if found.verified
            else " this version was registered before hashes were recorded, so it is not checked"
        ),
        soft_wrap=True,
    )
    write_json(
        json_file,
        {
            "model": model,
            "version": version,
            "labels_version": found.labels_version,
            "sha256": found.sha256,
            "verified": found.verified,
            "train_rows": len(found.training_set.train),
            "gold_rows": len(found.training_set.gold),
        },
    )


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

"""``closedloop slices``: saved queries, and sending a sample of one to annotation."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from closedloop.samples.slices import Slice, Slices

slices = typer.Typer(
    help="Saved queries, for looking again and for sampling.", no_args_is_help=True
)

_Name = Annotated[str, typer.Argument(help="Of the slice.")]
_Json = Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")]


class SampleName(StrEnum):
    """How a sample is drawn."""

    uniform = "uniform"
    stratified = "stratified"
    weighted = "weighted"


class ShareName(StrEnum):
    """How many each stratum gets."""

    equal = "equal"
    proportional = "proportional"


class WeightName(StrEnum):
    """What makes a text likelier to be drawn."""

    unsure = "unsure"
    bad = "bad"
    frequent = "frequent"


@slices.command("list")
def list_slices(json_file: _Json = None) -> None:
    """Show every slice.

    Example: closedloop slices list
    """
    from rich.table import Table

    from closedloop.ui.console import check_json, console, write_json
    from closedloop.ui.filter_text import in_words

    check_json(json_file)
    found = _slices().all()
    if found:
        table = Table("name", "selects", "description", "saved")
        for each in found:
            saved = f"{_day(each.changed_at)}{f' by {each.saved_by}' if each.saved_by else ''}"
            table.add_row(each.name, in_words(each.where), each.description, saved)
        console.print(table)
    else:
        console.print("No slice yet: closedloop slices save NAME --where \"language = 'zh'\"")
    write_json(json_file, {"slices": [_as_json(each) for each in found]})


@slices.command("save")
def save(
    name: _Name,
    where: Annotated[str, typer.Option(help="A condition, as behind WHERE of a query.")],
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
    replace: Annotated[bool, typer.Option(help="Overwrite a slice of that name.")] = False,
    json_file: _Json = None,
) -> None:
    """Keep a filter under a name.

    Example: closedloop slices save "zh refunds" --where "language = 'zh' AND intent = 'refund'"
    """
    from closedloop.core.settings import Settings
    from closedloop.data.cube.cube import Cube
    from closedloop.data.cube.query import Query
    from closedloop.data.cube.refresh import cube_folder
    from closedloop.data.lake import Lake
    from closedloop.ui.console import check_json, console, write_json
    from closedloop.ui.filter_text import from_sql, in_words

    check_json(json_file)
    tree = from_sql(where)
    lake = Lake(Settings().lake_url)
    if "://" not in lake.url and cube_folder(lake.url).exists():
        Cube(lake).explain(Query(where=tree))  # an unknown field is told now, not when it is sent
    saved = _slices().save(name, tree, description=description, replace=replace)
    console.print(f"Slice {saved.name!r}: {in_words(tree)}.", soft_wrap=True, markup=False)
    write_json(json_file, _as_json(saved))


@slices.command("show")
def show(name: _Name, json_file: _Json = None) -> None:
    """Show what a slice selects: in words, as SQL, and how many turns and users that is now.

    Example: closedloop slices show "zh refunds"
    """
    from closedloop.core.errors import InputError, NotFound
    from closedloop.core.settings import Settings
    from closedloop.data.cube.cube import Cube
    from closedloop.data.cube.query import Query
    from closedloop.data.lake import Lake
    from closedloop.ui.console import check_json, console, write_json
    from closedloop.ui.filter_text import in_sql, in_words

    check_json(json_file)
    found = _slices().get(name)
    try:
        sql = in_sql(found.where)
    except InputError as error:
        sql = error.message
    figures: dict[str, object] = _as_json(found) | {"words": in_words(found.where), "sql": sql}
    try:
        query = Query(measures=("turns", "users", "bad_rate"), where=found.where)
        [counts] = Cube(Lake(Settings().lake_url)).query(query).rows.to_dicts()
        figures |= counts
    except NotFound as error:  # no cube yet
        console.print(str(error), style="dim", soft_wrap=True, markup=False)
    figures["saved"] = f"{_day(found.changed_at)} {found.saved_by}".strip()
    for label in ("name", "description", "words", "sql", "saved", "turns", "users", "bad_rate"):
        value = figures.get(label)
        if value not in (None, ""):
            text = f"{value:,}" if isinstance(value, int) else value
            text = f"{value:.2%}" if isinstance(value, float) else text
            console.print(f"{label.replace('_', ' '):12} {text}", soft_wrap=True, markup=False)
    write_json(json_file, figures)


@slices.command("rename")
def rename(name: _Name, to: Annotated[str, typer.Argument(help="The new name.")]) -> None:
    """Give a slice another name.

    Example: closedloop slices rename "zh refunds" "Chinese refunds"
    """
    from closedloop.ui.console import console

    renamed = _slices().rename(name, to)
    console.print(f"{name!r} is now {renamed.name!r}.", soft_wrap=True, markup=False)


@slices.command("delete")
def delete(
    name: _Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Forget a slice; tasks that came from it stay.

    Example: closedloop slices delete "zh refunds"
    """
    from closedloop.ui.console import console
    from closedloop.ui.filter_text import in_words

    kept = _slices()
    found = kept.get(name)
    if not yes:
        typer.confirm(f"Delete the slice {found.name!r} ({in_words(found.where)})?", abort=True)
    kept.delete(name)
    console.print(f"The slice {found.name!r} is deleted.", soft_wrap=True, markup=False)


@slices.command("send")
def send(
    name: _Name,
    model: Annotated[str, typer.Option(help="TENANT.ALGORITHM.NAME that the labels are for.")],
    count: Annotated[int, typer.Option(help="Texts to draw.", min=1)] = 100,
    sample: Annotated[SampleName, typer.Option(help="How to draw them.")] = SampleName.uniform,
    by: Annotated[str, typer.Option(help="Dimension to stratify by, such as intent.")] = "",
    shares: Annotated[
        ShareName, typer.Option(help="Of the strata: equal, or proportional to their turns.")
    ] = ShareName.equal,
    weight: Annotated[
        WeightName | None,
        typer.Option(help="Draw unsure answers, bad turns or frequent texts more often."),
    ] = None,
    votes: Annotated[int, typer.Option(help="People who label each text.", min=1)] = 1,
    seed: Annotated[int, typer.Option(help="The same seed draws the same texts.")] = 0,
    json_file: _Json = None,
) -> None:
    """Draw texts from a slice and queue them for labelling.

    Texts that are labelled or queued for the model already are left out.

    Example: closedloop slices send "zh refunds" --model shop.intent.main --count 200
    --sample stratified --by intent
    """
    from dataclasses import asdict

    from rich.progress import Progress

    from closedloop.core.errors import InputError
    from closedloop.core.settings import Settings
    from closedloop.core.store import Store
    from closedloop.data.cube.cube import Cube
    from closedloop.data.lake import Lake
    from closedloop.models.reference import ModelRef
    from closedloop.samples.annotation import AnnotationQueue
    from closedloop.samples.slice_queue import send_slice
    from closedloop.samples.slice_sample import Sampling, Shares, Weight
    from closedloop.ui.console import check_json, console, write_json

    check_json(json_file)
    ref = ModelRef.parse(model)
    if (sample is SampleName.stratified) != bool(by):
        raise InputError(
            "A stratified sample needs a dimension, and no other sample takes one.",
            remedy="Give --sample stratified --by intent, or leave both out.",
        )
    if sample is SampleName.weighted and weight is None:
        raise InputError(
            "A weighted sample needs a weight.", remedy="Give --weight unsure, bad or frequent."
        )
    if sample is SampleName.uniform and weight is not None:
        raise InputError(
            "A uniform sample has no weights.",
            remedy="Give --sample weighted, or leave --weight out.",
        )
    sampling = Sampling(
        count=count,
        weight=Weight(weight.value) if weight else Weight.EQUAL,
        by=by,
        shares=Shares(shares.value),
        seed=seed,
    )
    settings = Settings()
    store = Store.open(settings.store_url)
    lake = Lake(settings.lake_url)
    found = _slices().get(name)
    with Progress(console=console, transient=True) as bars:
        task = bars.add_task("reading days", total=None)
        done = send_slice(
            Cube(lake),
            lake,
            AnnotationQueue(store),
            name=found.name,
            where=found.where,
            model=str(ref),
            sampling=sampling,
            votes_needed=votes,
            progress=lambda day, days: bars.update(task, completed=day, total=days),
        )
    console.print(
        f"{done.sent:,} texts of {done.turns:,} turns queued for {ref} ({sampling.label});"
        f" {done.known:,} were labelled or queued already."
        if done.turns
        else f"Nothing queued: the slice selects no turn of the tenant {ref.tenant!r}.",
        soft_wrap=True,
        markup=False,
    )
    write_json(json_file, asdict(done) | {"model": str(ref), "sampling": asdict(sampling)})


def _slices() -> Slices:
    from closedloop.core.settings import Settings
    from closedloop.core.store import Store
    from closedloop.samples.slices import Slices

    return Slices(Store.open(Settings().store_url))


def _as_json(found: Slice) -> dict[str, object]:
    from closedloop.data.cube.filters import to_json

    return {
        "name": found.name,
        "description": found.description,
        "filter": to_json(found.where),
        "saved_by": found.saved_by,
        "created_at": found.created_at,
        "changed_at": found.changed_at,
    }


def _day(at: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")

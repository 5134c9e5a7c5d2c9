"""``closedloop demo`` and ``closedloop run``: the loop, on simulated logs or on one's own."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

run = typer.Typer(help="Run a workflow on your own logs.", no_args_is_help=True)


class EngineName(enum.StrEnum):
    """Where Spark runs."""

    ray = "ray"
    local = "local"


Logs = Annotated[Path, typer.Option(help="CSV, JSON Lines or Parquet file of dialogue logs.")]
Map = Annotated[
    list[str] | None,
    typer.Option("--map", help="FIELD=COLUMN; text is required. Repeat for more fields."),
]
Model = Annotated[str, typer.Option(help="Model to train, TENANT.ALGORITHM.NAME.")]
Simulate = Annotated[
    bool,
    typer.Option(
        "--simulate-annotators",
        help="SIMULATION: let simulated annotators answer the queue from the label column.",
    ),
]
Team = Annotated[int, typer.Option(help="Simulated annotators.")]
ErrorRate = Annotated[float, typer.Option(help="Share of wrong answers of simulated annotators.")]
Votes = Annotated[int, typer.Option(help="Different annotators that each task needs.")]
Heldout = Annotated[
    Path | None,
    typer.Option(help="File with the same columns to measure accuracy on; no stage trains on it."),
]
Engine = Annotated[EngineName, typer.Option(help="Spark inside the Ray cluster, or plain local.")]
Trials = Annotated[int, typer.Option(help="Parameter settings that Ray Tune tries.")]
Clusters = Annotated[int | None, typer.Option(help="Clusters; chosen by the size of the log.")]
Seed = Annotated[int, typer.Option(help="Makes a run repeatable.")]
Encoding = Annotated[str, typer.Option(help="Text encoding of CSV and JSON Lines.")]
Json = Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")]
Address = Annotated[
    str,
    typer.Option(help="Dashboard URL of a Ray cluster: submit the run there and follow its log."),
]


def demo(
    once: Annotated[bool, typer.Option("--once", help="Exit when the loop has closed.")] = False,
    json_file: Json = None,
    engine: Engine = EngineName.ray,
    seed: Seed = 0,
) -> None:
    """Close the loop once on simulated logs, then stay up for you to look around.

    Starts from an empty home of its own (HOME/demo) each time: a cold start, then one repair,
    with simulated customers and simulated annotators.

    Example: closedloop demo --once --json demo.json
    """
    from closedloop.ui.demo import run_demo

    run_demo(once=once, json_file=json_file, engine=engine.value, seed=seed)


@run.command("cold-start")
def cold_start(
    logs: Logs,
    mapping: Map = None,
    model: Model = "default.intent.main",
    labels: Annotated[str, typer.Option(help="Budget of labels, a number or 'all'.")] = "1000",
    simulate_annotators: Simulate = False,
    annotators: Team = 3,
    error_rate: ErrorRate = 0.0,
    votes: Votes = 1,
    heldout: Heldout = None,
    engine: Engine = EngineName.ray,
    trials: Trials = 8,
    clusters: Clusters = None,
    seed: Seed = 0,
    encoding: Encoding = "utf-8",
    json_file: Json = None,
    address: Address = "",
) -> None:
    """From a file of dialogue logs to a served model (0 → 1).

    Without --simulate-annotators the run waits for people: they label in the app, whose
    address is printed.

    Example: closedloop run cold-start --logs chats.csv --map text=message --map label=intent
    --simulate-annotators --json figures.json
    """
    from closedloop.ui.loop_runs import LoopRequest, run_or_submit

    run_or_submit(
        LoopRequest(
            workflow="cold-start",
            logs=logs,
            mapping=tuple(mapping or ()),
            model=model,
            labels=labels,
            simulate_annotators=simulate_annotators,
            annotators=annotators,
            error_rate=error_rate,
            votes=votes,
            heldout=heldout,
            engine=engine.value,
            trials=trials,
            clusters=clusters,
            seed=seed,
            encoding=encoding,
        ),
        json_file=json_file,
        address=address,
    )


@run.command("repair")
def repair(
    replay: Annotated[
        Path | None,
        typer.Option(help="File of labelled traffic to replay over HTTP with simulated users."),
    ] = None,
    mapping: Map = None,
    model: Model = "default.intent.main",
    repair_labels: Annotated[int, typer.Option(help="Bad cases to label, at most.")] = 500,
    simulate_annotators: Simulate = False,
    annotators: Team = 3,
    error_rate: ErrorRate = 0.0,
    votes: Votes = 1,
    heldout: Heldout = None,
    engine: Engine = EngineName.ray,
    trials: Trials = 8,
    seed: Seed = 0,
    encoding: Encoding = "utf-8",
    json_file: Json = None,
    address: Address = "",
) -> None:
    """From what users disliked to a repaired model (1 → 100).

    Takes the feedback that clients sent for the champion's answers; --replay sends a file of
    labelled traffic first, rated by simulated users.

    Example: closedloop run repair --model shop.intent.main --replay week2.csv
    --map text=message --map label=intent --simulate-annotators
    """
    from closedloop.ui.loop_runs import LoopRequest, run_or_submit

    run_or_submit(
        LoopRequest(
            workflow="repair",
            replay=replay,
            mapping=tuple(mapping or ()),
            model=model,
            repair_labels=repair_labels,
            simulate_annotators=simulate_annotators,
            annotators=annotators,
            error_rate=error_rate,
            votes=votes,
            heldout=heldout,
            engine=engine.value,
            trials=trials,
            seed=seed,
            encoding=encoding,
        ),
        json_file=json_file,
        address=address,
    )

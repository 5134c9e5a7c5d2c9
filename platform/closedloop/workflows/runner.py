"""Runs a workflow: the stages of a template in order, each recorded in the metadata store."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Protocol

import yaml
from pydantic import BaseModel, ConfigDict

from closedloop.core.errors import ClosedLoopError, NotFound
from closedloop.core.store import Store
from closedloop.workflows.context import (
    Engines,
    LoopContext,
    LoopParameters,
    LoopState,
    StageProgress,
)
from closedloop.workflows.records import RunRecord, RunRecords, StageOutcome

Stage = Callable[[LoopContext, StageOutcome, StageProgress], None]


class Watcher(Protocol):
    """Who is told how a run goes, such as the progress bars of the command."""

    def stage_began(self, name: str, position: int, stages: int) -> None:
        """A stage begins."""

    def stage_moved(self, done: int, total: int) -> None:
        """The stage has done ``done`` of ``total`` steps; a total of 0 is not known yet."""

    def stage_ended(self, name: str, outcome: StageOutcome) -> None:
        """The stage is done."""


class _StageSpec(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    run: str  # module:function


class _TemplateSpec(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    stages: list[_StageSpec]


@dataclass(frozen=True, kw_only=True, slots=True)
class Template:
    """A workflow: its name and its stages, in order."""

    name: str
    stages: tuple[tuple[str, Stage], ...]


def load_template(name: str) -> Template:
    """Return the template of that name from ``templates/``."""
    folder = resources.files("closedloop.workflows") / "templates"
    file = folder / f"{name}.yaml"
    if not file.is_file():
        known = sorted(Path(str(f)).stem for f in folder.iterdir() if str(f).endswith(".yaml"))
        raise NotFound(
            f"There is no workflow {name!r}.", remedy=f"The workflows are {', '.join(known)}."
        )
    spec = _TemplateSpec.model_validate(yaml.safe_load(file.read_text("utf-8")))
    stages = []
    for stage in spec.stages:
        module, _, function = stage.run.partition(":")
        stages.append((stage.name, getattr(importlib.import_module(module), function)))
    return Template(name=spec.name, stages=tuple(stages))


def run_workflow(
    template: Template,
    *,
    parameters: LoopParameters,
    engines: Engines,
    state: LoopState,
    store: Store,
    watcher: Watcher,
) -> RunRecord:
    """Run every stage and return the record; a failure is recorded and raised again."""
    records = RunRecords(store)
    run_id = records.start(template.name, str(parameters.model), _shown(parameters, engines))
    try:
        with tempfile.TemporaryDirectory(prefix="closedloop-run-") as scratch:
            context = LoopContext(
                run_id=run_id,
                parameters=parameters,
                engines=engines,
                state=state,
                scratch=Path(scratch),
            )
            for position, (name, stage) in enumerate(template.stages):
                watcher.stage_began(name, position, len(template.stages))
                with records.stage(run_id, position, name) as outcome:
                    stage(context, outcome, watcher.stage_moved)
                watcher.stage_ended(name, outcome)
    except BaseException as error:
        said = (
            str(error) if isinstance(error, ClosedLoopError) else f"{type(error).__name__}: {error}"
        )
        records.fail(run_id, said)
        raise
    records.finish(run_id, state.figures | {"version": state.version})
    return records.get(run_id)


def _shown(parameters: LoopParameters, engines: Engines) -> dict[str, object]:
    return {
        "labels": parameters.labels,
        "repair_labels": parameters.repair_labels,
        "votes": parameters.votes,
        "trials": parameters.trials,
        "engine": parameters.engine.value,
        "seed": parameters.seed,
        "simulated_annotators": engines.simulated_annotators,
    }

"""What a run shows in the terminal: a bar a stage while it goes, a table when it is over."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from closedloop.core.engine_log import terminal
from closedloop.core.errors import InputError
from closedloop.workflows.records import RunRecord, StageOutcome

console = Console(file=terminal(), highlight=False)
# Long ones; in --json and on the Overview page.
_HIDDEN_DETAILS = ("classes", "weakest classes", "warnings", "reasons", "verdict", "largest")
_BRIEF_CHARS = 90
_TABLE_CHARS = 200
_FIGURE_NAMES = {
    "accuracy_before": "held-out accuracy before",
    "accuracy": "held-out accuracy",
    "bad_cases": "bad cases found",
    "bad_cases_fixed": "bad cases fixed",
    "failed_requests_during_swap": "failed requests during the swap",
    "version": "version released",
}


class Bars:
    """Progress bars for the stages of a run; implements the runner's ``Watcher``."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", table_column=Column(no_wrap=True, min_width=22)),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[said]}", table_column=Column(overflow="ellipsis")),
            console=console,
            disable=not console.is_terminal,  # a file or a job's log gets a line a stage instead
        )
        self._task: Any = None
        self._shown = ""
        self._began = 0.0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None and self._task is not None:
            self._progress.update(self._task, said="stopped")
            self._progress.stop_task(self._task)
        self._progress.stop()

    def stage_began(self, name: str, position: int, stages: int) -> None:
        """Add the stage's bar."""
        self._shown = f"{position + 1}/{stages} {name}"
        self._began = time.monotonic()
        self._task = self._progress.add_task(self._shown, total=None, said="")

    def stage_moved(self, done: int, total: int) -> None:
        """Move the bar."""
        self._progress.update(self._task, completed=done, total=total or None)

    def stage_ended(self, name: str, outcome: StageOutcome) -> None:
        """Fill the bar and say in a few words what the stage found."""
        rows = max(outcome.rows, 1)
        self._progress.update(self._task, completed=rows, total=rows, said=_brief(outcome.details))
        self._progress.stop_task(self._task)
        self._task = None
        if not console.is_terminal:
            seconds = time.monotonic() - self._began
            said = f"{outcome.rows:,} rows in {seconds:.1f} s; {_brief(outcome.details)}"
            console.print(f"{self._shown}: {said}", soft_wrap=True, markup=False)


def show_runs(runs: Sequence[RunRecord]) -> None:
    """Print what every stage did, and the figures of each run."""
    for run in runs:
        simulated = " (simulated annotators)" if run.params.get("simulated_annotators") else ""
        table = Table(title=f"{run.workflow} of {run.model}{simulated}", title_justify="left")
        table.add_column("stage")
        table.add_column("rows", justify="right")
        table.add_column("seconds", justify="right")
        table.add_column("what it did", overflow="fold")
        for stage in run.stages:
            table.add_row(
                stage.name,
                f"{stage.rows:,}",
                f"{stage.seconds:.1f}",
                _brief(stage.details, _TABLE_CHARS),
            )
        for name, shown in _FIGURE_NAMES.items():
            value = run.summary.get(name)
            if value is not None:
                number = f"{value:.4f}" if isinstance(value, float) else f"{value:,}"
                table.add_row(f"[bold]{shown}", "", "", f"[bold]{number}")
        seconds = (run.ended_at or run.started_at) - run.started_at
        table.add_row("[bold]in all", "", f"[bold]{seconds:.1f}", "")
        console.print(table)


def runs_as_json(runs: Sequence[RunRecord]) -> dict[str, Any]:
    """Return the figures a person sees, for machines."""
    return {"runs": [asdict(run) | {"stages": [_stage(s) for s in run.stages]} for run in runs]}


def check_json(path: Path | None) -> None:
    """Find out before a long run, not behind it, that its figures have no place to go."""
    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        raise InputError(
            f"--json {path} cannot be written: "
            + ("it is a folder." if path.is_dir() else f"there is no folder {path.parent}."),
            remedy="Name a file in a folder that exists.",
        )


def write_json(path: Path | None, figures: dict[str, Any]) -> None:
    """Write figures to a file, whole or not at all."""
    if path is None:
        return
    partial = path.with_name(path.name + ".part")
    try:
        partial.write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n", "utf-8")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise InputError(
            f"--json {path} cannot be written: {error.strerror}.",
            remedy="Name a file in a folder that exists.",
        ) from error


def _stage(stage: Any) -> dict[str, Any]:
    return asdict(stage) | {"seconds": round(stage.seconds, 3)}


def _brief(details: dict[str, Any], limit: int = _BRIEF_CHARS) -> str:
    text = ", ".join(f"{k}: {v}" for k, v in details.items() if k not in _HIDDEN_DETAILS)
    return text if len(text) <= limit else text[: limit - 1] + "…"

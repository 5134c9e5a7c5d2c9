"""Repairs that are started from the Defence page: each in a process of its own.

The process outlives the app; how far it is stands in the run records, whoever started it.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from closedloop.core.errors import Conflict, EngineError
from closedloop.core.settings import Settings
from closedloop.models.reference import ModelRef
from closedloop.ui.app.launch import app_environment
from closedloop.workflows.records import RunRecord, RunRecords

_REPAIR = "repair"
_LOOKED_AT = 50  # runs
_LAST_LINES = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class RepairState:
    """How the last repair of a model stands."""

    running: bool
    sentence: str
    failed: bool = False


@dataclass(slots=True)
class _Started:
    process: subprocess.Popen[bytes]
    log: Path
    at: float = field(default_factory=time.time)


class Repairs:
    """Starts repairs and knows how they stand; all sessions share it.

    Parameters
    ----------
    settings : Settings
        Of the installation.
    runs : RunRecords
        Where a repair says how far it is.
    command : callable, optional
        Returns the command that repairs a model; a seam for tests.
    is_up : callable, optional
        Tells whether the platform runs, which a repair needs.
    """

    def __init__(
        self,
        settings: Settings,
        runs: RunRecords,
        *,
        command: Callable[[ModelRef], list[str]] | None = None,
        is_up: Callable[[Settings], bool] | None = None,
    ) -> None:
        self._settings = settings
        self._runs = runs
        self._command = command or repair_command
        self._is_up = is_up or platform_is_up
        self._lock = threading.Lock()
        self._started: dict[str, _Started] = {}

    def start(self, model: str) -> None:
        """Start a repair of a model's champion.

        Raises
        ------
        InputError
            This is no model's name.
        Conflict
            One is going on.
        EngineError
            The platform does not run, or the process cannot be started.
        """
        ref = ModelRef.parse(model)
        if not self._is_up(self._settings):
            raise EngineError(
                "A repair needs the platform, and it does not run.",
                remedy="Start it by 'closedloop up'.",
            )
        logs = self._settings.root / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        with self._lock:
            if self._state(model).running:
                raise Conflict(
                    f"A repair of {model} is going on.", remedy="Wait until it has ended."
                )
            log = logs / f"repair-{ref}-{time.time():.0f}.log"
            try:
                with log.open("ab") as out:
                    process = subprocess.Popen(
                        self._command(ref),
                        env=app_environment(self._settings),
                        stdin=subprocess.DEVNULL,
                        stdout=out,
                        stderr=out,
                        start_new_session=True,  # it outlives the app
                    )
            except OSError as error:
                raise EngineError(
                    f"The repair cannot be started: {error}", remedy="See closedloop status."
                ) from error
            self._started[model] = _Started(process=process, log=log)

    def state(self, model: str) -> RepairState | None:
        """Return how the last repair of a model stands; None where there was none."""
        with self._lock:
            state = self._state(model)
        return state if state.sentence else None

    def _state(self, model: str) -> RepairState:
        run = next(
            (
                run
                for run in self._runs.recent(limit=_LOOKED_AT)
                if run.workflow == _REPAIR and run.model == model
            ),
            None,
        )
        ours = self._started.get(model)
        if ours is not None and (run is None or run.started_at < ours.at):
            code = ours.process.poll()
            if code is None:
                return RepairState(running=True, sentence="The repair is starting …")
            if code != 0:
                said = _last_lines(ours.log) or f"it ended with {code}"
                return RepairState(running=False, failed=True, sentence=f"It did not start: {said}")
        if run is None:
            return RepairState(running=False, sentence="")
        lost = run.state == "running" and ours is not None and ours.process.poll() is not None
        if lost and run.started_at >= (ours.at if ours else 0.0):
            return RepairState(running=False, failed=True, sentence="The repair was ended.")
        return RepairState(
            running=run.state == "running", failed=run.state == "failed", sentence=in_words(run)
        )


def in_words(run: RunRecord) -> str:
    """Return how far a run is."""
    if run.state == "running":
        stage = run.stages[-1] if run.stages else None
        doing = f": {stage.name}, {stage.rows:,} rows" if stage and stage.rows else ""
        doing = doing or (f": {stage.name}" if stage else "")
        waits = "; it waits for labels on Annotate" if stage and stage.name == "annotate" else ""
        return f"A repair is going on{doing}, stage {max(1, len(run.stages))}{waits}."
    if run.state == "failed":
        return f"The last repair failed: {run.error or 'no reason is known'}"
    version = run.summary.get("version")
    return f"The last repair released version {version}." if version else "The last repair is done."


def repair_command(ref: ModelRef) -> list[str]:
    """Return the command that repairs a model.

    Examples
    --------
    >>> repair_command(ModelRef.parse("shop.intent.main"))[1:]
    ['-m', 'closedloop.ui.cli.main', 'run', 'repair', '--model', 'shop.intent.main']
    """
    return [sys.executable, "-m", "closedloop.ui.cli.main", "run", "repair", "--model", str(ref)]


def platform_is_up(settings: Settings) -> bool:
    """Tell whether there is a Ray to run on."""
    from closedloop.actors.cluster import running_address

    return bool(settings.ray_address or running_address(settings))


def _last_lines(log: Path) -> str:
    try:
        lines = log.read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return " ".join(line.strip() for line in lines[-_LAST_LINES:] if line.strip())[:400]

"""Records tuning trials in MLflow and tells progress, from the driver's process.

Workers never write: the embedded store is SQLite, which has one writer, and a cluster's workers
need not reach the store at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient

OnTrial = Callable[[int, int, float], None]  # (trials done, trials in all, best so far)


@dataclass(frozen=True, kw_only=True, slots=True)
class Tracking:
    """Where trials are recorded."""

    client: MlflowClient
    experiment: str
    tags: Mapping[str, str] = field(default_factory=dict)


class _DriverOnly:
    """Holds what Tune must not write to disk with its callbacks: connections, terminals."""

    def __init__(self, value: Any = None) -> None:
        self.value = value

    def __reduce__(self) -> tuple[Any, ...]:
        return _DriverOnly, ()


def make_recorder(
    metric: str, trials: int, tracking: Tracking | None, on_trial: OnTrial | None
) -> Any:
    """Return a callback for Ray Tune; its ``numbers`` holds each trial's place by its id."""
    from ray.tune import Callback

    kept = _DriverOnly((tracking, on_trial))

    class Recorder(Callback):
        """Writes MLflow runs and tells progress, both in the driver."""

        def __init__(self) -> None:
            self.numbers: dict[str, int] = {}  # by trial id, in order of their start
            self.runs: dict[str, str] = {}
            self.done = 0
            self.best = 0.0

        def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
            self.numbers.setdefault(trial.trial_id, len(self.numbers))
            tracking, _ = kept.value
            if tracking is None or trial.trial_id in self.runs:
                return
            run = tracking.client.create_run(
                _experiment_id(tracking), tags=dict(tracking.tags), run_name=trial.trial_id
            )
            self.runs[trial.trial_id] = run.info.run_id
            for name, value in trial.config.items():
                tracking.client.log_param(run.info.run_id, name, value)

        def on_trial_result(
            self,
            iteration: int,
            trials: list[Any],
            trial: Any,
            result: dict[str, Any],
            **_: Any,
        ) -> None:
            tracking, _ = kept.value
            run_id = self.runs.get(trial.trial_id)
            if tracking is not None and run_id:
                for name in (metric, "fold_accuracy"):
                    tracking.client.log_metric(run_id, name, result[name], step=result["folds"])
            self.best = max(self.best, float(result[metric]))

        def on_trial_complete(
            self, iteration: int, trials: list[Any], trial: Any, **_: Any
        ) -> None:
            self._end(trial, "FINISHED")

        def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
            self._end(trial, "FAILED")

        def _end(self, trial: Any, status: str) -> None:
            tracking, on_trial = kept.value
            run_id = self.runs.get(trial.trial_id)
            if tracking is not None and run_id:
                tracking.client.set_terminated(run_id, status=status)
            self.done += 1
            if on_trial is not None:
                on_trial(self.done, total, self.best)

    total = trials
    return Recorder()


def _experiment_id(tracking: Tracking) -> str:
    found = tracking.client.get_experiment_by_name(tracking.experiment)
    if found is not None:
        return str(found.experiment_id)
    return str(tracking.client.create_experiment(tracking.experiment))

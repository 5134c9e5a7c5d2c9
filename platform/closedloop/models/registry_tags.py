"""What closedloop writes into MLflow's aliases and tags, and how it reads them again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from closedloop.core.errors import EngineError, InputError, NotFound
from closedloop.models.artifacts import LEAN_FILE, MODEL_FILE
from closedloop.models.model_version import LeanFile, ModelVersion
from closedloop.models.reference import ModelRef
from closedloop.models.trial import EndedTrial, Stage, checked_percent

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion as MlflowVersion
    from mlflow.entities.model_registry import RegisteredModel

CHAMPION = "champion"
CHALLENGER = "challenger"

SHA256 = "closedloop.sha256"
LEAN = "closedloop.lean_sha256"
METRICS = "closedloop.metrics"
LABELS = "closedloop.labels"
HISTORY = "closedloop.former_champions"  # tag of the model: JSON list of versions, oldest first
PERCENT = "closedloop.canary_percent"  # tag of the model
LAST_TRIAL = "closedloop.last_trial"  # tag of the model: JSON of the trial that ended last
TRIAL_ENDED = "closedloop.trial_ended"  # tag of the version: why its trial ended
_OWN_TAGS = (SHA256, LEAN, METRICS, LABELS)


def alias_of(model: RegisteredModel, alias: str) -> int | None:
    """Return the version that an alias of a model points at."""
    version = model.aliases.get(alias)
    return None if version is None else int(version)


def stage_of(model: RegisteredModel) -> tuple[Stage, int, float] | None:
    """Return (stage, version, percent) of a model's trial; a canary counts before a shadow."""
    canary, shadow = alias_of(model, Stage.CANARY), alias_of(model, Stage.SHADOW)
    if canary is not None:
        return Stage.CANARY, canary, _percent(model.tags.get(PERCENT, ""))
    return None if shadow is None else (Stage.SHADOW, shadow, 0.0)


def _percent(told: str) -> float:
    """Read the tag; anything that is no percentage, by whose hand ever, lets nobody in."""
    try:
        return checked_percent(float(told))
    except (ValueError, InputError):
        return 0.0


def ended_json(ended: EndedTrial) -> str:
    """Return a trial that ended as its tag."""
    told = {
        "version": ended.version,
        "stage": ended.stage,
        "percent": ended.percent,
        "reason": ended.reason,
    }
    return json.dumps(told, ensure_ascii=False)


def ended_of(ref: ModelRef, told: str) -> EndedTrial:
    """Read the tag of a model's last trial."""
    read = json.loads(told)
    return EndedTrial(
        ref=ref,
        version=read["version"],
        stage=Stage(read["stage"]),
        percent=read["percent"],
        reason=read["reason"],
    )


def history_of(model: RegisteredModel) -> list[int]:
    """Return the versions that were champion, oldest first."""
    return [int(version) for version in json.loads(model.tags.get(HISTORY, "[]"))]


def ref_of(name: str) -> ModelRef | None:
    """Return a model's reference; None for a name of another maker."""
    try:
        return ModelRef.parse(name)
    except InputError:
        return None


def version_of(ref: ModelRef, found: MlflowVersion) -> ModelVersion:
    """Return a version as closedloop knows it.

    Raises
    ------
    NotFound
        Another maker registered it: it has no hash.
    """
    if not found.tags.get(SHA256):
        raise NotFound(
            f"Version {found.version} of {ref} was not registered by closedloop: it has no hash.",
            remedy="Register its file with closedloop, which records the hash serving checks.",
        )
    lean = found.tags.get(LEAN)
    folder = Path(str(found.source))
    return ModelVersion(
        ref=ref,
        version=int(found.version),
        path=str(folder / MODEL_FILE),
        sha256=found.tags[SHA256],
        created_at=found.creation_timestamp / 1000,
        lean=LeanFile(folder.parent / lean / LEAN_FILE, lean) if lean else None,
        run_id=found.run_id or None,
        metrics=json.loads(found.tags.get(METRICS, "{}")),
        labels=tuple(json.loads(found.tags.get(LABELS, "[]"))),
        tags={k: v for k, v in found.tags.items() if k not in _OWN_TAGS},
    )


@contextmanager
def mlflow_errors(what: str) -> Iterator[None]:
    """Turn MLflow's errors into the platform's."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise NotFound(
                f"The registry has no {what}.", remedy="See 'closedloop models list'."
            ) from error
        raise _unreachable(error) from error
    except SQLAlchemyError as error:
        raise _unreachable(error) from error


def _unreachable(error: Exception) -> EngineError:
    return EngineError(
        f"The model registry did not answer: {str(error).splitlines()[0]}",
        remedy="Check CLOSEDLOOP_REGISTRY and that its database is up.",
    )

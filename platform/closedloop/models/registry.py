"""The model registry: versions of each model, where their files are, and who is champion.

It stands on MLflow's registry, so that MLflow's own tools read it: a version's ``source`` is
the folder that holds ``model.skops`` and, beside it, the lean form that serving maps; its tags
carry both files' SHA-256, the metrics and what the model was trained on, and the aliases
``champion``, ``challenger``, ``shadow`` and ``canary`` point at versions. At most one version of
a model is on trial; a canary's percentage is a tag of the model, so that one query still lists
all. Whoever moves an alias, by this class or by any other MLflow client, is followed by serving.

The file is stored under its own hash before the version exists: a crash in between leaves a
file that nothing names, never a version without a file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from closedloop.core.errors import Conflict, NotFound
from closedloop.models.artifacts import LEAN_FILE, Artifacts
from closedloop.models.mlflow_client import open_mlflow, sqlite_file
from closedloop.models.model_version import Champion, LeanFile, ModelSummary, ModelVersion
from closedloop.models.reference import ModelRef
from closedloop.models.registry_tags import (
    CHALLENGER,
    CHAMPION,
    HISTORY,
    LABELS,
    LAST_TRIAL,
    LEAN,
    METRICS,
    PERCENT,
    SHA256,
    TRIAL_ENDED,
    alias_of,
    ended_json,
    ended_of,
    history_of,
    mlflow_errors,
    ref_of,
    stage_of,
    version_of,
)
from closedloop.models.trial import EndedTrial, Stage, Trial, checked_percent

if TYPE_CHECKING:
    from mlflow.entities.model_registry import RegisteredModel

_HISTORY_LENGTH = 50
_PAGE = 1000  # MLflow's ceiling for registered models in one answer


@dataclass(frozen=True, kw_only=True, slots=True)
class Stages:
    """What serves and what is on trial, by name, at one moment."""

    champions: tuple[Champion, ...] = ()
    trials: tuple[Trial, ...] = ()


class Registry:
    """Versions and aliases in MLflow, files below ``artifacts_url``.

    Parameters
    ----------
    registry_url : str
        SQLAlchemy URL of MLflow's store.
    artifacts_url : str
        Folder for model files; on a cluster one that every node mounts.

    Raises
    ------
    InputError
        A URL is not supported.
    EngineError
        The store cannot be opened.

    Examples
    --------
    >>> registry = Registry(settings.registry_url, settings.artifacts_url)  # doctest: +SKIP
    >>> version = registry.register(ref, file, sha256, {"accuracy": 0.91})  # doctest: +SKIP
    >>> registry.promote(ref, version)                                      # doctest: +SKIP
    """

    def __init__(self, registry_url: str, artifacts_url: str) -> None:
        self._artifacts = Artifacts(artifacts_url)
        self._database = sqlite_file(registry_url)
        self._client = open_mlflow(registry_url, str(self._artifacts.folder))
        # A version's file never changes, so what it says is asked for once. The time of the
        # model's creation is in the key: a model that is deleted and made again starts at 1.
        self._known: dict[tuple[str, int, int], Champion] = {}

    def register(
        self,
        ref: ModelRef,
        file: Path,
        sha256: str,
        metrics: Mapping[str, float],
        tags: Mapping[str, str] | None = None,
        *,
        lean: LeanFile | None = None,
        labels: tuple[str, ...] = (),
        run_id: str | None = None,
    ) -> int:
        """Store a model file and make it the next version of ``ref``; no alias moves.

        Parameters
        ----------
        file : Path
            A saved model; it is copied.
        sha256 : str
            What its content must hash to, 64 hexadecimal digits.
        metrics : mapping of str to float
            Figures of its evaluation.
        tags : mapping of str to str, optional
            What it was made from: lake version, training set, parameters.
        lean : LeanFile, optional
            Its lean form, found equal; without one serving makes it when it loads the model.
        labels : tuple of str, optional
            The classes it tells apart.
        run_id : str, optional
            MLflow run that trained it.

        Returns
        -------
        int
            The version.

        Raises
        ------
        InputError
            The file is missing or hashes to something else.
        """
        stored = self._artifacts.keep(ref, file, sha256)
        name = str(ref)
        own = {
            SHA256: sha256,
            METRICS: json.dumps(dict(metrics)),
            LABELS: json.dumps(labels, ensure_ascii=False),
        }
        if lean is not None:
            self._artifacts.keep(ref, lean.path, lean.sha256, name=LEAN_FILE)
            own[LEAN] = lean.sha256
        with mlflow_errors(name):
            self._ensure_model(name)
            made = self._client.create_model_version(
                name, source=str(stored.parent), run_id=run_id, tags={**(tags or {}), **own}
            )
        return int(made.version)

    def promote(self, ref: ModelRef, version: int) -> int | None:
        """Make a version the champion and return the version that was champion before.

        It ends the model's trial: what the trial was compared with serves no more.

        Raises
        ------
        NotFound
            The model or the version does not exist.
        """
        name = str(ref)
        with mlflow_errors(f"version {version} of {name}"):
            model = self._client.get_registered_model(name)
            former = alias_of(model, CHAMPION)
            if former != version:
                self._client.get_model_version(name, str(version))
                if former is not None:
                    self._set_history(name, [*history_of(model), former])
                self._client.set_registered_model_alias(name, CHAMPION, str(version))
            on_trial = stage_of(model)
            # Also after a promotion that ended half-way: the champion is not on trial.
            if on_trial is not None and (former != version or on_trial[1] == version):
                became = "became" if on_trial[1] == version else f"version {version} became"
                self.end_trial(ref, f"{became} champion")
        return former

    def restore_champion(self, ref: ModelRef) -> tuple[int, int]:
        """Give ``champion`` back to the version that had it before; return (from, to).

        It ends the model's trial, as `promote` does.

        Raises
        ------
        NotFound
            There was no champion before this one.
        """
        name = str(ref)
        with mlflow_errors(name):
            model = self._client.get_registered_model(name)
            current = alias_of(model, CHAMPION)
            existing = {version.version for version in self.versions(ref)}
            history = [v for v in history_of(model) if v in existing]
            while history and history[-1] == current:  # a promotion that ended half-way
                history.pop()
            if current is None or not history:
                raise NotFound(
                    f"{name} has no former champion to go back to.",
                    remedy=f"Release one of its versions: {sorted(existing) or 'there are none'}.",
                )
            # The alias moves first: if the process ends here, rolling back again changes nothing.
            self._client.set_registered_model_alias(name, CHAMPION, str(history[-1]))
            self._set_history(name, history[:-1])
            self.end_trial(ref, "the champion was rolled back")
        return current, history[-1]

    def start_shadow(self, ref: ModelRef, version: int) -> Trial:
        """Put a version in the champion's shadow: it is asked as well, and answers nobody.

        It takes the place of the trial there was, this version's or another's.

        Raises
        ------
        NotFound
            The model or the version does not exist.
        Conflict
            The model has no champion, or the version is it.
        """
        return self._start(ref, version, Stage.SHADOW, 0.0)

    def start_canary(self, ref: ModelRef, version: int, percent: float) -> Trial:
        """Let a version answer ``percent`` of the users; again with more, to add users.

        Raises
        ------
        InputError
            The percentage is not above 0 and up to 100.
        NotFound
            The model or the version does not exist.
        Conflict
            The model has no champion, or the version is it.
        """
        return self._start(ref, version, Stage.CANARY, checked_percent(percent))

    def end_trial(
        self, ref: ModelRef, reason: str, *, version: int | None = None
    ) -> EndedTrial | None:
        """Take the trial of a model away and keep the reason with the version.

        Parameters
        ----------
        reason : str
            One sentence; the version's tag ``closedloop.trial_ended``.
        version : int, optional
            Only where this version is on trial: somebody may have begun another meanwhile.

        Returns
        -------
        EndedTrial or None
            What was on trial; None where nothing, or another version, was.

        Raises
        ------
        NotFound
            The model does not exist.
        """
        name = str(ref)
        with mlflow_errors(name):
            model = self._client.get_registered_model(name)
            on_trial = stage_of(model)
            if on_trial is None or (version is not None and on_trial[1] != version):
                return None
            ended = EndedTrial(
                ref=ref,
                stage=on_trial[0],
                version=on_trial[1],
                percent=on_trial[2],
                reason=reason,
            )
            for stage in Stage:
                if stage in model.aliases:
                    self._client.delete_registered_model_alias(name, stage)
            # After the aliases: whatever fails from here on, the version answers nobody.
            self._client.set_registered_model_tag(name, LAST_TRIAL, ended_json(ended))
            self._client.set_model_version_tag(name, str(ended.version), TRIAL_ENDED, reason)
        return ended

    def ended_trials(self) -> list[EndedTrial]:
        """Return the last trial of every model that has none now, by name."""
        found = []
        for model in self._registered():
            ref, told = ref_of(model.name), model.tags.get(LAST_TRIAL)
            if ref is not None and told and stage_of(model) is None:
                found.append(ended_of(ref, told))
        return sorted(found, key=lambda ended: ended.ref)

    def set_challenger(self, ref: ModelRef, version: int) -> None:
        """Point ``challenger`` at a version.

        Raises
        ------
        NotFound
            The model or the version does not exist.
        """
        with mlflow_errors(f"version {version} of {ref}"):
            self._client.set_registered_model_alias(str(ref), CHALLENGER, str(version))

    def clear_challenger(self, ref: ModelRef) -> None:
        """Take ``challenger`` away; nothing happens where there is none."""
        with mlflow_errors(str(ref)):
            self._client.delete_registered_model_alias(str(ref), CHALLENGER)

    def resolve(self, ref: ModelRef, alias: str = CHAMPION) -> ModelVersion:
        """Return the version that an alias points at.

        Raises
        ------
        NotFound
            The model has no such alias.
        """
        with mlflow_errors(f"{alias} of {ref}"):
            return version_of(ref, self._client.get_model_version_by_alias(str(ref), alias))

    def get(self, ref: ModelRef, version: int) -> ModelVersion:
        """Return one version.

        Raises
        ------
        NotFound
            It does not exist.
        """
        with mlflow_errors(f"version {version} of {ref}"):
            return version_of(ref, self._client.get_model_version(str(ref), str(version)))

    def versions(self, ref: ModelRef) -> list[ModelVersion]:
        """Return every version, oldest first; empty for an unknown model."""
        with mlflow_errors(str(ref)):
            found = self._pages(self._client.search_model_versions, f"name='{ref}'")
        ours = [v for v in found if v.tags.get(SHA256)]
        return sorted((version_of(ref, v) for v in ours), key=lambda version: version.version)

    def models(self) -> list[ModelSummary]:
        """Return every model that closedloop registered, by name."""
        summaries = []
        for model in self._registered():
            ref = ref_of(model.name)
            latest = [int(version.version) for version in model.latest_versions]
            if ref is not None and latest:
                summaries.append(
                    ModelSummary(
                        ref=ref,
                        latest=max(latest),
                        champion=alias_of(model, CHAMPION),
                        challenger=alias_of(model, CHALLENGER),
                    )
                )
        return sorted(summaries, key=lambda summary: summary.ref)

    def champions(self) -> list[Champion]:
        """Return the champion of every model, by name."""
        return list(self.stages().champions)

    def stages(self) -> Stages:
        """Return the champion and the trial of every model, by name.

        One query lists a thousand models with their aliases and tags; a version is looked up
        the first time it is seen. Models of other makers (no reference, no hash) are left out,
        and so is a trial without a champion, or of the champion itself.
        """
        champions, trials = [], []
        for model in self._registered():
            ref, version = ref_of(model.name), alias_of(model, CHAMPION)
            if ref is None or version is None:
                continue
            champion = self._served(model, ref, version)
            if champion is None:
                continue
            champions.append(champion)
            on_trial = stage_of(model)
            if on_trial is not None and on_trial[1] != version:
                stage, tried, percent = on_trial
                candidate = self._served(model, ref, tried)
                if candidate is not None:
                    trials.append(Trial(candidate=candidate, stage=stage, percent=percent))
        return Stages(
            champions=tuple(sorted(champions, key=lambda champion: champion.ref)),
            trials=tuple(sorted(trials, key=lambda trial: trial.ref)),
        )

    def change_token(self) -> tuple[int, ...] | None:
        """Return a value that differs after any write to the store, without asking it.

        None means that this kind of store has no such sign and must be asked. Two writes in
        one tick of the file system's clock may share a value, so ask now and then regardless.
        """
        if self._database is None:
            return None
        token: list[int] = []
        for suffix in ("", "-wal"):
            try:
                status = os.stat(f"{self._database}{suffix}")
            except FileNotFoundError:
                continue
            token += [status.st_mtime_ns, status.st_size]
        return tuple(token)

    def _served(self, model: RegisteredModel, ref: ModelRef, version: int) -> Champion | None:
        key = (model.name, model.creation_timestamp, version)
        if key not in self._known:
            try:
                self._known[key] = self.get(ref, version).served
            except NotFound:  # deleted since it was listed, or another maker's
                return None
        return self._known[key]

    def _start(self, ref: ModelRef, version: int, stage: Stage, percent: float) -> Trial:
        name = str(ref)
        candidate = self.get(ref, version)
        with mlflow_errors(name):
            model = self._client.get_registered_model(name)
            champion = alias_of(model, CHAMPION)
            if champion is None:
                raise Conflict(
                    f"{name} has no champion that version {version} could be tried beside.",
                    remedy=f"Make one champion first: closedloop models promote {name} VERSION.",
                )
            if champion == version:
                raise Conflict(
                    f"Version {version} of {name} is the champion, which cannot be on trial.",
                    remedy="Name another version; see 'closedloop models list'.",
                )
            canary = alias_of(model, Stage.CANARY)
            if canary is not None and (stage is not Stage.CANARY or canary != version):
                # First, so that no version ever has another one's percentage.
                self._client.delete_registered_model_alias(name, Stage.CANARY)
            if TRIAL_ENDED in candidate.tags:
                self._client.delete_model_version_tag(name, str(version), TRIAL_ENDED)
            if stage is Stage.CANARY:
                self._client.set_registered_model_tag(name, PERCENT, f"{percent!r}")
            self._client.set_registered_model_alias(name, stage, str(version))
            if stage is Stage.CANARY and Stage.SHADOW in model.aliases:
                # Last: where this ends before it, the canary counts; see `stage_of`.
                self._client.delete_registered_model_alias(name, Stage.SHADOW)
        return Trial(candidate=candidate.served, stage=stage, percent=percent)

    def _registered(self) -> list[RegisteredModel]:
        with mlflow_errors("the registry"):
            return self._pages(self._client.search_registered_models, None)

    @staticmethod
    def _pages(search: Any, filter_string: str | None) -> list[Any]:
        found: list[Any] = []
        token = None
        while True:
            page = search(filter_string=filter_string, max_results=_PAGE, page_token=token)
            found += page
            token = page.token
            if not token:
                return found

    def _ensure_model(self, name: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _set_history(self, name: str, versions: list[int]) -> None:
        kept = json.dumps(versions[-_HISTORY_LENGTH:])
        self._client.set_registered_model_tag(name, HISTORY, kept)

"""``closedloop models shadow``, ``canary``, ``promote``, ``end-trial`` and ``trials``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from closedloop.ui.cli.models import models

if TYPE_CHECKING:
    from closedloop.core.audit import Audit
    from closedloop.core.settings import Settings
    from closedloop.models.reference import ModelRef
    from closedloop.models.registry import Registry
    from closedloop.serve.trials.counts import Tally, TrialKey

_Model = Annotated[str, typer.Argument(help="TENANT.ALGORITHM.NAME")]
_Version = Annotated[int, typer.Argument(help="Of the model.", min=1)]

_MAX_REASON_CHARS = 500


@models.command("shadow")
def shadow(model: _Model, version: _Version) -> None:
    """Ask a version beside the champion, which goes on answering everybody.

    Example: closedloop models shadow shop.intent.main 4
    """
    from closedloop.ui.console import console

    ref, registry, audit = _open(model)
    trial = registry.start_shadow(ref, version)
    _record(audit, "models.shadow", ref, version=version)
    console.print(
        f"{ref}: version {trial.version} is in the champion's shadow. See how it does with"
        " 'closedloop models trials'.",
        soft_wrap=True,
    )


@models.command("canary")
def canary(
    model: _Model,
    version: _Version,
    percent: Annotated[
        float, typer.Option(help="Of the users that it answers; above 0 and up to 100.")
    ],
) -> None:
    """Let a version answer a share of the users; again with more, to add users.

    Serving takes it back by itself where it fails or is slower than the champion.

    Example: closedloop models canary shop.intent.main 4 --percent 10
    """
    from closedloop.ui.console import console

    ref, registry, audit = _open(model)
    trial = registry.start_canary(ref, version, percent)
    _record(audit, "models.canary", ref, version=version, percent=trial.percent)
    console.print(
        f"{ref}: version {trial.version} answers {trial.percent:g} % of the users.",
        soft_wrap=True,
    )


@models.command("promote")
def promote(
    model: _Model,
    version: Annotated[
        int | None, typer.Argument(help="Of the model; by default the one on trial.", min=1)
    ] = None,
) -> None:
    """Make the version on trial, or another one, champion.

    Example: closedloop models promote shop.intent.main
    """
    from closedloop.models.release import promote as make_champion
    from closedloop.ui.console import console

    ref, registry, audit = _open(model)
    moved = make_champion(registry, ref, version or _version_on_trial(registry, ref))
    _record(audit, "models.promote", ref, version=moved.version, former=moved.former)
    if moved.former == moved.version:
        said = "is the champion already"
    else:
        said = "is champion" + (f" (was {moved.former})" if moved.former else "")
    console.print(f"{ref}: version {moved.version} {said}.", soft_wrap=True)


@models.command("end-trial")
def end_trial(
    model: _Model,
    reason: Annotated[str, typer.Option(help="Kept with the version, and in the audit trail.")],
) -> None:
    """Take the version on trial away; the champion answers everybody.

    Example: closedloop models end-trial shop.intent.main --reason "confuses refunds"
    """
    from closedloop.core.errors import InputError, NotFound
    from closedloop.ui.console import console
    from closedloop.ui.trial_table import stage_in_words

    reason = reason.strip()
    if not 0 < len(reason) <= _MAX_REASON_CHARS:
        raise InputError(
            f"--reason has {len(reason)} characters.",
            remedy=f"Say in a sentence why, in up to {_MAX_REASON_CHARS} characters.",
        )
    ref, registry, audit = _open(model)
    ended = registry.end_trial(ref, reason)
    if ended is None:
        raise NotFound(f"{ref} has no version on trial.", remedy="See 'closedloop models trials'.")
    _record(audit, "models.end-trial", ref, version=ended.version, reason=reason)
    was = stage_in_words(ended.stage, ended.percent)
    console.print(f"{ref}: version {ended.version} ({was}) is on trial no more.", soft_wrap=True)


@models.command("trials")
def trials(
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the figures to this file.")
    ] = None,
) -> None:
    """Show what is on trial and how it does beside its champion, and what was ended last.

    Pairs are champion / on trial. Figures are those of the running platform.

    Example: closedloop models trials --json trials.json
    """
    from closedloop.core.settings import Settings
    from closedloop.models.registry import Registry
    from closedloop.ui.console import check_json, console, write_json
    from closedloop.ui.trial_table import ended_figures, show_trials, trial_figures

    check_json(json_file)
    settings = Settings()
    registry = Registry(settings.registry_url, settings.artifacts_url)
    stages, ended = registry.stages(), registry.ended_trials()
    totals, missing = _totals(settings) if stages.trials else ({}, "")
    found = trial_figures(stages, totals)
    show_trials(found, ended)
    if missing:
        console.print(f"[dim]No figures: {missing}", soft_wrap=True)
    write_json(json_file, {"trials": found, "ended": [ended_figures(each) for each in ended]})


def _totals(settings: Settings) -> tuple[dict[TrialKey, Tally] | None, str]:
    """Ask the running platform; return (what it counted, "") or (None, why not)."""
    from closedloop.actors.cluster import ray_cluster, running_address
    from closedloop.core.errors import ClosedLoopError
    from closedloop.serve.trials.reports import trial_totals

    if not (settings.ray_address or running_address(settings)):
        return None, "the platform does not run; start it with 'closedloop up'."
    try:
        with ray_cluster(settings):
            return trial_totals(), ""
    except ClosedLoopError as error:
        return None, error.message


def _version_on_trial(registry: Registry, ref: ModelRef) -> int:
    from closedloop.core.errors import NotFound

    for trial in registry.stages().trials:
        if trial.ref == ref:
            return trial.version
    raise NotFound(
        f"{ref} has no version on trial that could become champion.",
        remedy=f"Name the version: closedloop models promote {ref} VERSION.",
    )


def _open(model: str) -> tuple[ModelRef, Registry, Audit]:
    from closedloop.core.audit import Audit
    from closedloop.core.settings import Settings
    from closedloop.core.store import Store
    from closedloop.models.reference import ModelRef
    from closedloop.models.registry import Registry

    settings = Settings()
    ref = ModelRef.parse(model)
    audit = Audit(Store.open(settings.store_url))  # before anything moves: it must be there
    return ref, Registry(settings.registry_url, settings.artifacts_url), audit


def _record(audit: Audit, action: str, ref: ModelRef, **details: Any) -> None:
    from closedloop.core.audit import system_user

    audit.record(who=system_user(), action=action, target=str(ref), **details)

"""What a person sees of the versions on trial: figures for machines, a table for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from closedloop.models.registry import Stages
    from closedloop.models.trial import EndedTrial
    from closedloop.serve.trials.counts import Counts, Tally, TrialKey

_MAX_ENDED = 20  # lines


def trial_figures(stages: Stages, totals: Mapping[TrialKey, Tally] | None) -> list[dict[str, Any]]:
    """Return what is on trial, by model, with what was counted.

    Parameters
    ----------
    stages : Stages
        What the registry says.
    totals : mapping of TrialKey to Tally, or None
        What serving counted; None where it cannot be asked, and then counts are None, too.
    """
    from closedloop.serve.trials.counts import Tally, TrialKey

    champions = {champion.ref: champion.version for champion in stages.champions}
    figures = []
    for trial in stages.trials:
        champion = champions[trial.ref]
        key = TrialKey(model=str(trial.ref), champion=champion, trial=trial.version)
        tally = None if totals is None else totals.get(key, Tally())
        figures.append(
            {
                "model": key.model,
                "stage": str(trial.stage),
                "percent": trial.percent,
                "champion": _side(champion, tally.champion if tally else None),
                "trial": _side(trial.version, tally.trial if tally else None),
                "compared_texts": tally and tally.compared,
                "agreement": tally and tally.agreement,
                "not_compared_requests": tally and tally.dropped,
                "last_error": tally and tally.last_error,
            }
        )
    return figures


def _side(version: int, counts: Counts | None) -> dict[str, Any]:
    return {
        "version": version,
        "requests": counts and counts.requests,
        "errors": counts and counts.errors,
        "p95_ms": counts and counts.p95_ms,
    }


def ended_figures(ended: EndedTrial) -> dict[str, Any]:
    """Return how a trial ended."""
    return {
        "model": str(ended.ref),
        "version": ended.version,
        "stage": str(ended.stage),
        "percent": ended.percent,
        "reason": ended.reason,
    }


def show_trials(found: list[dict[str, Any]], ended: list[EndedTrial]) -> None:
    """Print what `trial_figures` returned, and how the last trials ended."""
    from rich.markup import escape
    from rich.table import Table

    from closedloop.ui.console import console

    if found:
        table = Table(
            "model",
            "champion",
            "on trial",
            "stage",
            "share",
            "requests",
            "errors",
            "p95 (ms)",
            "agreement",
        )
        for each in found:
            one, two = each["champion"], each["trial"]
            table.add_row(
                escape(each["model"]),
                str(one["version"]),
                str(two["version"]),
                each["stage"],
                f"{each['percent']:g} %",
                *(
                    f"{_number(one[name])} / {_number(two[name])}"
                    for name in ("requests", "errors", "p95_ms")
                ),
                "–" if each["agreement"] is None else f"{each['agreement']:.1%}",
            )
        console.print(table)
        for each in found:
            if each["last_error"]:
                console.print(
                    f"{each['model']}: the last error of version {each['trial']['version']}:"
                    f" {each['last_error']}",
                    soft_wrap=True,
                    markup=False,
                )
    else:
        console.print("Nothing is on trial: closedloop models shadow MODEL VERSION")
    for last in ended[:_MAX_ENDED]:
        console.print(
            f"{last.ref}: the trial of version {last.version}"
            f" ({stage_in_words(last.stage, last.percent)}) ended: {last.reason}",
            soft_wrap=True,
            markup=False,
        )
    if len(ended) > _MAX_ENDED:
        console.print(f"… and of {len(ended) - _MAX_ENDED:,} models more, which --json has.")


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"


def stage_in_words(stage: str, percent: float) -> str:
    """Return a stage as a person says it, such as ``canary of 5 %``."""
    return f"canary of {percent:g} %" if percent else str(stage)

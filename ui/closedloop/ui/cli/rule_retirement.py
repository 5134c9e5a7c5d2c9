"""``closedloop rules proposals``: rules that the models have learnt."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from closedloop.defence.rules.retirement import Evidence

_Json = Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")]


def proposals(
    accept: Annotated[str, typer.Option(help="Retire this rule: the beginning of its id.")] = "",
    json_file: _Json = None,
) -> None:
    """Show which rules the champions have learnt, by their answers to the rules' own traffic.

    Answers of the last 14 days count, as far as they are in the lake; see 'closedloop ingest'.

    Example: closedloop rules proposals --accept 3f2a
    """
    from rich.markup import escape
    from rich.table import Table

    from closedloop.core.audit import system_user
    from closedloop.core.settings import Settings
    from closedloop.core.store import Store
    from closedloop.data.lake import Lake
    from closedloop.defence.rules.retirement import chosen
    from closedloop.defence.rules.retirement import proposals as proposed
    from closedloop.defence.rules.rule_book import RuleBook
    from closedloop.ui.console import check_json, console, write_json
    from closedloop.ui.rule_proposals import accept_proposal, champion_versions, rule_evidence

    check_json(json_file)
    settings = Settings()
    store = Store.open(settings.store_url)
    rules = RuleBook(store).all()
    evidence = rule_evidence(rules, Lake(settings.lake_url), champion_versions(settings))
    found = proposed(evidence)
    if accept:
        proposal = chosen(found, accept)
        accept_proposal(store, proposal, who=system_user())
        said = f"Rule {proposal.rule.id[:8]} {proposal.rule.name!r} is retired: {proposal.reason}"
        console.print(said, soft_wrap=True, markup=False)
    elif evidence:
        ready = {proposal.rule.id for proposal in found}
        table = Table("rule", "name", "model", "stands for", "texts", "agreement", "proposal")
        for each in evidence:
            share = f"{each.agreement.value:.0%}, at least {each.agreement.low:.0%}"
            says = each.missing or ("retire" if each.rule.id in ready else "another model has not")
            row = (each.rule.id[:8], each.rule.name, f"{each.model} {each.version}", each.means)
            table.add_row(*map(escape, row), f"{each.texts:,}", share, says)
        console.print(table)
    else:
        console.print("No champion has answered a text of a rule in the last 14 days.")
    figures = [_as_json(each) for each in evidence]
    write_json(json_file, {"proposals": [each.rule.id for each in found], "evidence": figures})


def _as_json(each: Evidence) -> dict[str, Any]:
    from dataclasses import asdict

    names = ("model", "version", "means", "texts", "times", "agreeing", "trained_on", "missing")
    plain: dict[str, Any] = {name: getattr(each, name) for name in names}
    return {"rule": each.rule.id, "agreement": asdict(each.agreement), **plain}

"""Which rules the models have learnt, as the command and the Defence page ask it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from closedloop.core.settings import Settings
    from closedloop.core.store import Store
    from closedloop.data.lake import Lake
    from closedloop.defence.rules.retirement import Evidence, Proposal, RetirementPolicy
    from closedloop.defence.rules.rule import Rule


def champion_versions(settings: Settings) -> dict[str, int]:
    """Return the champion's version of every model; opens the registry, which takes a moment."""
    from closedloop.models.registry import Registry

    registry = Registry(settings.registry_url, settings.artifacts_url)
    return {str(champion.ref): champion.version for champion in registry.champions()}


def rule_evidence(
    rules: Sequence[Rule],
    lake: Lake,
    champions: Mapping[str, int],
    *,
    now: float | None = None,
    policy: RetirementPolicy | None = None,
) -> list[Evidence]:
    """Return how champions answer the traffic of the rules that decide now.

    Parameters
    ----------
    now : float, optional
        Unix seconds.

    Raises
    ------
    EngineError
        The lake cannot be read.
    """
    from closedloop.defence.rules.retirement import RetirementPolicy, weigh
    from closedloop.defence.rules.retirement_evidence import labels, rule_answers

    now = time.time() if now is None else now
    policy = policy or RetirementPolicy()
    live = [rule for rule in rules if rule.is_live(now)]
    answers = rule_answers(lake, live, now=now, days=policy.days)
    said = labels(lake)
    return weigh(live, answers, said, champions, policy=policy)


def accept_proposal(store: Store, proposal: Proposal, *, who: str) -> Rule:
    """Retire a proposed rule, with its evidence as the reason, and record who did.

    Raises
    ------
    NotFound, Conflict
        There is no such rule, or somebody retired it.
    """
    from closedloop.core.audit import Audit
    from closedloop.defence.rules.retirement import accept
    from closedloop.defence.rules.rule_book import RuleBook

    retired = accept(RuleBook(store), proposal, who=who)
    Audit(store).record(
        who=who,
        action="rules.retire",
        target=retired.id,
        name=retired.name,
        model=proposal.model,
        version=proposal.version,
        texts=proposal.texts,
        agreement=round(proposal.agreement.value, 4),
        at_least=round(proposal.agreement.low, 4),
    )
    return retired

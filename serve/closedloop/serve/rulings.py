"""What keyword rules say of the texts of a request: in the answers, and in the events.

The model has been asked all the same. Its answer stays in the event, so that it can be seen
whether a model has learnt what a rule does. An event whose rule decided has ``rule_id`` and these
attributes:

====================================== ====================================================
``rule``                               what the client was told of the rule, as JSON
``model_prediction``, ``…_confidence`` the model's own answer, where the rule gave another
``dry_run_rules``                      ids of the dry runs that hold of the text
``shadow_…``                           in a turn: what models would have said (`rule_shadow`)
====================================== ====================================================
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from closedloop.data.event import Event
from closedloop.defence.rules.rule import Act, Rule
from closedloop.defence.rules.rule_set import Hits, RuleSet
from closedloop.serve.stamp import TOP

Rules = Callable[[], RuleSet]  # those that apply now
_RULE, _DRY_RUNS = "rule", "dry_run_rules"


def no_rules() -> RuleSet:
    """Return no rules."""
    return _NONE


_NONE = RuleSet()


class Rulings:
    """What rules say of some texts.

    Parameters
    ----------
    rules : RuleSet
    texts : sequence of str
        Masked.
    """

    def __init__(
        self, rules: RuleSet, texts: Sequence[str], *, tenant: str, channel: str | None
    ) -> None:
        hits = [rules.apply(text, tenant=tenant, channel=channel) for text in texts]
        self._hits: Sequence[Hits] = hits if any(hits) else ()

    def noted(self, events: list[Event]) -> list[Event]:
        """Return the events, one a text, with the rule that decided."""
        if not self._hits:
            return events
        return [_noted(event, hits) for hits, event in zip(self._hits, events, strict=True)]

    def answers(self, told: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Write into what clients are told, one a text, what rules say."""
        if not self._hits:
            return told
        for hits, answer in zip(self._hits, told, strict=True):
            if hits.decides is not None:
                overrule(answer, told_of(hits.decides))
        return told


def _noted(event: Event, hits: Hits) -> Event:
    if hits.dry_runs:
        event.attributes[_DRY_RUNS] = ",".join(rule.id for rule in hits.dry_runs)
    rule = hits.decides
    if rule is None:
        return event
    event.attributes[_RULE] = json.dumps(told_of(rule), ensure_ascii=False)
    if rule.act is not Act.INTENT:
        return replace(event, rule_id=rule.id)
    if event.model is not None:
        event.attributes["model_prediction"] = event.prediction or ""
        event.attributes["model_confidence"] = f"{event.confidence or 0.0:.6g}"
    event.attributes.pop(TOP, None)
    return replace(event, rule_id=rule.id, prediction=rule.value, confidence=1.0)


def told_of(rule: Rule) -> dict[str, Any]:
    """Return what a client is told of a rule that decided."""
    return {"id": rule.id, "name": rule.name, "act": rule.act.value, "value": rule.value}


def logged_rule(event: Event) -> dict[str, Any] | None:
    """Return what a client was told of the rule that decided, None where none did."""
    told = event.attributes.get(_RULE)
    found: dict[str, Any] | None = json.loads(told) if told else None
    return found


def overrule(answer: dict[str, Any], rule: dict[str, Any]) -> None:
    """Put what a rule says into an answer."""
    answer["rule"] = rule
    if rule["act"] == Act.INTENT:
        answer["label"], answer["confidence"] = rule["value"], 1.0
        answer["top"] = [{"label": rule["value"], "confidence": 1.0}]

"""The rules that are live, compiled: one pass over a text finds those that apply.

A rule is looked at only where the text has one of its triggers: terms of which at least one must
be there for it to apply. Of the parts of an AND, the one with the rarest terms gives them. So
10,000 rules cost a text little more than those that its words bring up.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from closedloop.defence.rules.expression import All, Any, Expression, Not, Term, holds, terms
from closedloop.defence.rules.rule import ALL_TENANTS, Rule
from closedloop.defence.rules.term_index import TermIndex
from closedloop.samples.normal_form import normalise


@dataclass(frozen=True, slots=True)
class Hits:
    """What applies to a text: the rule that decides, and the dry runs that would have."""

    decides: Rule | None
    dry_runs: tuple[Rule, ...] = ()

    def __bool__(self) -> bool:
        """Tell whether anything applies."""
        return self.decides is not None or bool(self.dry_runs)


_NOTHING = Hits(None)


class RuleSet:
    """Rules of all tenants, ready to be asked; it never changes.

    Parameters
    ----------
    rules : iterable of Rule
        Retired ones are left out, expired ones are passed over.
    clock : callable, optional
        Returns Unix seconds.
    """

    def __init__(self, rules: Iterable[Rule], *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        by_tenant: dict[str, list[Rule]] = {}
        for rule in rules:
            if rule.retired is None:
                by_tenant.setdefault(rule.tenant, []).append(rule)
        self._compiled = {tenant: _Compiled(own) for tenant, own in by_tenant.items()}

    def __len__(self) -> int:
        """Return how many rules there are."""
        return sum(len(compiled.rules) for compiled in self._compiled.values())

    def apply(self, text: str, *, tenant: str, channel: str | None = None) -> Hits:
        """Return what applies to a text.

        A dry run that comes behind the rule that decides is counted, too: it would apply.
        """
        asked = [self._compiled[t] for t in (tenant, ALL_TENANTS) if t in self._compiled]
        if not asked:
            return _NOTHING
        normal, now = normalise(text), self._clock()
        found = [
            rule
            for compiled in asked
            for rule in compiled.matching(normal)
            if rule.is_live(now) and (not rule.channels or channel in rule.channels)
        ]
        if not found:
            return _NOTHING
        found.sort(key=lambda rule: rule.order)
        decides = next((rule for rule in found if not rule.dry_run), None)
        return Hits(decides, tuple(rule for rule in found if rule.dry_run))


class _Compiled:
    """The rules of one tenant."""

    def __init__(self, rules: list[Rule]) -> None:
        self.rules = rules
        used = Counter(term for rule in rules for term in set(terms(rule.expression)))
        self._index = TermIndex(used)
        self._triggered: dict[Term, list[Rule]] = {}
        for rule in rules:
            for term in triggers(rule.expression, used) or ():
                self._triggered.setdefault(term, []).append(rule)

    def matching(self, text: str) -> list[Rule]:
        found = self._index.found_in(text)
        if not found:
            return []
        is_there = found.__contains__
        asked = {id(r): r for term in found for r in self._triggered.get(term, ())}
        return [rule for rule in asked.values() if holds(rule.expression, is_there)]


def triggers(expression: Expression, used: Mapping[Term, int]) -> frozenset[Term] | None:
    """Return terms of which one at least is in every text that a condition holds of.

    Parameters
    ----------
    used : mapping of Term to int
        How many rules have a term; those that few have are preferred.

    Returns
    -------
    frozenset of Term or None
        None where the condition may hold of a text without any of its terms.
    """
    if isinstance(expression, Term):
        return frozenset((expression,))
    if isinstance(expression, Not):
        return None
    parts = [triggers(part, used) for part in expression.parts]
    if isinstance(expression, All):
        known = [part for part in parts if part is not None]
        return min(known, key=lambda part: _load(part, used), default=None)
    assert isinstance(expression, Any)
    if any(part is None for part in parts):
        return None
    return frozenset().union(*(part for part in parts if part is not None))


def _load(part: frozenset[Term], used: Mapping[Term, int]) -> tuple[int, int]:
    return sum(used.get(term, 0) for term in part), -max(len(term.text) for term in part)

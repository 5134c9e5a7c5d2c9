"""Rules that stand in each other's way: doubled, never reached, or decided by age alone.

Rule B is covered by rule A where every text that B's condition holds of is one of A's, too, and A
reaches wherever B does. That is decided clause by clause: B's clause is within A's where each term
that A's asks for is found in every text with B's terms (it is one of them, or a part of one), and
each term that A's excludes is excluded by B's, too, or is longer than one that is. So what is told
is so; that nothing is told does not mean that there is nothing, in conditions with many NOTs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from closedloop.defence.rules.clauses import Clause
from closedloop.defence.rules.expression import Term
from closedloop.defence.rules.rule import ALL_TENANTS, Rule
from closedloop.defence.rules.term_index import TermIndex


class Trouble(StrEnum):
    """How one rule stands in another's way."""

    DOUBLED = "doubled"  # the same texts, the same act
    SHADOWED = "shadowed"  # never decides: the other goes first
    CONFLICT = "conflict"  # as shadowed, with another act and the same priority: age decided


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A rule that another one covers."""

    trouble: Trouble
    rule: Rule
    by: Rule

    def __str__(self) -> str:
        """Say it in a sentence."""
        if self.trouble is Trouble.DOUBLED:
            return f"“{self.rule.name}” says the same as “{self.by.name}”."
        if self.trouble is Trouble.CONFLICT:
            return (
                f"“{self.rule.name}” never decides: “{self.by.name}” has the same priority, acts"
                " otherwise on the same texts and is older. Give the right one a higher priority."
            )
        return f"“{self.rule.name}” never decides: “{self.by.name}” goes first on all its texts."


def findings(rules: Sequence[Rule]) -> list[Finding]:
    """Return every live rule that never decides because of another, in the order of rules.

    Dry runs and rules that expire sooner cover nothing; time grows with the rules that share a
    term, not with the square of all.
    """
    live = sorted((rule for rule in rules if rule.retired is None), key=lambda rule: rule.order)
    contained = _Contained(live)
    by_term: dict[Term, list[int]] = {}
    for place, rule in enumerate(live):
        if not rule.dry_run:
            for clause in rule.clauses or ():
                by_term.setdefault(min(clause.required, key=str), []).append(place)
    found = []
    for place, rule in enumerate(live):
        if not rule.clauses:
            continue
        implied = {term for clause in rule.clauses for term in contained.implied(clause)}
        earlier = {p for term in implied for p in by_term.get(term, ()) if p < place}
        for other in (live[p] for p in sorted(earlier)):
            if _reaches(other, rule) and contained.covers(other, rule):
                found.append(Finding(trouble=_trouble(rule, other), rule=rule, by=other))
                break
    return found


def _trouble(rule: Rule, by: Rule) -> Trouble:
    if (rule.act, rule.value) == (by.act, by.value):
        same = rule.clauses is not None and set(rule.clauses) == set(by.clauses or ())
        return Trouble.DOUBLED if same else Trouble.SHADOWED
    same_place = rule.priority == by.priority and rule.tenant == by.tenant
    return Trouble.CONFLICT if same_place else Trouble.SHADOWED


def _reaches(by: Rule, rule: Rule) -> bool:
    """Tell whether a rule applies wherever and as long as another one does."""
    return (
        by.tenant in (rule.tenant, ALL_TENANTS)
        and (not by.channels or (bool(rule.channels) and set(rule.channels) <= set(by.channels)))
        and (
            by.expires_at is None
            or (rule.expires_at is not None and rule.expires_at <= by.expires_at)
        )
    )


class _Contained:
    """Which terms are in every text that has a term: itself, and those that are a part of it."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._index = TermIndex(
            term
            for rule in rules
            for clause in rule.clauses or ()
            for term in (*clause.required, *clause.excluded)
        )
        self._parts: dict[Term, frozenset[Term]] = {}

    def implied(self, clause: Clause) -> Iterator[Term]:
        """Yield the terms of every text that a clause holds of."""
        for term in clause.required:
            yield from self._of(term)

    def covers(self, by: Rule, rule: Rule) -> bool:
        """Tell whether a rule's condition holds wherever another's does."""
        return all(
            any(self._within(clause, other) for other in by.clauses or ())
            for clause in rule.clauses or ()
        )

    def _within(self, clause: Clause, other: Clause) -> bool:
        return other.required <= set(self.implied(clause)) and all(
            clause.excluded & self._of(term) for term in other.excluded
        )

    def _of(self, term: Term) -> frozenset[Term]:
        parts = self._parts.get(term)
        if parts is None:
            # What follows a prefix is not known, so a term at its end may be a part of a word.
            text = term.text + "x" * term.is_prefix
            parts = self._parts[term] = frozenset(self._index.found_in(text)) | {term}
        return parts

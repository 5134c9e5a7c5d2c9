"""The rules that are live, compiled: one pass over a text finds those that apply.

Every condition is written out as clauses (terms that must be there, terms that must not), and
every clause is one bit of a number, in the order in which rules go. For each term of the text,
one addition over all bits at once counts how many terms of each clause are there; one comparison
tells the clauses that have all of theirs. So 10,000 rules cost a text some additions of numbers
of 10,000 bits, however many of them share its words.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from closedloop.defence.rules.clauses import Clause
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

    def __init__(
        self, rules: Iterable[Rule] = (), *, clock: Callable[[], float] = time.time
    ) -> None:
        self._clock = clock
        live: dict[str, list[Rule]] = {}
        dry: dict[str, list[Rule]] = {}
        for rule in rules:
            if rule.retired is None:
                (dry if rule.dry_run else live).setdefault(rule.tenant, []).append(rule)
        self._live = {tenant: _Compiled(own) for tenant, own in live.items()}
        self._dry = {tenant: _Compiled(own) for tenant, own in dry.items()}

    def __len__(self) -> int:
        """Return how many rules there are."""
        return sum(len(c.rules) for kind in (self._live, self._dry) for c in kind.values())

    def reach(self, tenant: str) -> bool:
        """Tell whether there are rules for a tenant's texts."""
        kinds = (self._live, self._dry)
        return any(name in kind for kind in kinds for name in (tenant, ALL_TENANTS))

    def apply(self, text: str, *, tenant: str, channel: str | None = None) -> Hits:
        """Return what applies to a text.

        A dry run that comes behind the rule that decides is told, too: its condition holds.
        """
        live = [self._live[t] for t in (tenant, ALL_TENANTS) if t in self._live]
        dry = [self._dry[t] for t in (tenant, ALL_TENANTS) if t in self._dry]
        if not live and not dry:
            return _NOTHING
        normal, now = normalise(text), self._clock()

        def applies(rule: Rule) -> bool:
            return rule.is_live(now) and (not rule.channels or channel in rule.channels)

        first = [next(filter(applies, compiled.matching(normal)), None) for compiled in live]
        decides = min((r for r in first if r is not None), default=None, key=lambda r: r.order)
        dry_runs = [r for compiled in dry for r in compiled.matching(normal) if applies(r)]
        if decides is None and not dry_runs:
            return _NOTHING
        return Hits(decides, tuple(sorted(dry_runs, key=lambda r: r.order)))


class _Compiled:
    """The rules of one tenant, in their order."""

    def __init__(self, rules: list[Rule]) -> None:
        self.rules = sorted(rules, key=lambda rule: rule.order)
        self._owner: list[Rule] = []  # of each bit
        self._partial: set[int] = set()  # bits whose rule's condition is still to be asked
        required: dict[Term, list[int]] = {}
        excluded: dict[Term, list[int]] = {}
        needs: list[list[int]] = []  # by binary digit: bits whose count has it
        for rule in self.rules:
            for clause in self._written_out(rule):
                bit = len(self._owner)
                self._owner.append(rule)
                for term in clause.required:
                    required.setdefault(term, []).append(bit)
                for term in clause.excluded:
                    excluded.setdefault(term, []).append(bit)
                for digit in range(len(clause.required).bit_length()):
                    while len(needs) <= digit:
                        needs.append([])
                    if len(clause.required) >> digit & 1:
                        needs[digit].append(bit)
        width = len(self._owner)
        self._required = {term: _mask(bits, width) for term, bits in required.items()}
        self._excluded = {term: _mask(bits, width) for term, bits in excluded.items()}
        self._needs = [_mask(bits, width) for bits in needs]
        self._every = (1 << width) - 1
        asked = {term for i in self._partial for term in terms(self._owner[i].expression)}
        self._index = TermIndex(required.keys() | excluded.keys() | asked)

    def _written_out(self, rule: Rule) -> Iterable[Clause]:
        if rule.clauses is not None:
            return rule.clauses
        needed = triggers(rule.expression) or frozenset()
        self._partial.update(range(len(self._owner), len(self._owner) + len(needed)))
        return [Clause(frozenset((term,))) for term in needed]

    def matching(self, text: str) -> Iterator[Rule]:
        """Yield the rules whose condition holds of a normalised text, in their order."""
        found = self._index.found_in(text)
        if not found:
            return
        counts = [0] * len(self._needs)
        excluded = 0
        for term in found:
            carry = self._required.get(term, 0)
            for digit, count in enumerate(counts):
                counts[digit], carry = count ^ carry, count & carry
            excluded |= self._excluded.get(term, 0)
        differs = excluded
        for count, needed in zip(counts, self._needs, strict=True):
            differs |= count ^ needed
        left = self._every & ~differs
        told: set[str] = set()
        while left:
            lowest = left & -left
            left ^= lowest
            bit = lowest.bit_length() - 1
            rule = self._owner[bit]
            if rule.id in told:
                continue
            if bit not in self._partial or holds(rule.expression, found.__contains__):
                told.add(rule.id)
                yield rule


def triggers(expression: Expression) -> frozenset[Term] | None:
    """Return terms of which one at least is in every text that a condition holds of.

    Returns
    -------
    frozenset of Term or None
        None where the condition may hold of a text without any of its terms.
    """
    if isinstance(expression, Term):
        return frozenset((expression,))
    if isinstance(expression, Not):
        return None
    parts = [triggers(part) for part in expression.parts]
    if isinstance(expression, All):
        return min((part for part in parts if part is not None), default=None, key=len)
    assert isinstance(expression, Any)
    if any(part is None for part in parts):
        return None
    return frozenset[Term]().union(*(part for part in parts if part is not None))


def _mask(bits: list[int], width: int) -> int:
    mask = bytearray(width // 8 + 1)
    for bit in bits:
        mask[bit >> 3] |= 1 << (bit & 7)
    return int.from_bytes(mask, "little")

"""Conditions as clauses: terms that must be there and terms that must not; one clause holds."""

from __future__ import annotations

from dataclasses import dataclass

from closedloop.defence.rules.expression import All, Any, Expression, Not, Term

MAX_CLAUSES = 32


@dataclass(frozen=True, slots=True)
class Clause:
    """Terms that must be there, and terms that must not."""

    required: frozenset[Term]
    excluded: frozenset[Term] = frozenset()

    def with_(self, other: Clause) -> Clause:
        """Return the clause that holds where both do."""
        return Clause(self.required | other.required, self.excluded | other.excluded)

    @property
    def can_hold(self) -> bool:
        """Whether a text can satisfy it."""
        return self.required.isdisjoint(self.excluded)


class _TooMany(Exception):
    pass


def clauses(expression: Expression) -> tuple[Clause, ...] | None:
    """Return the disjunctive normal form of a condition, without what another clause covers.

    Returns
    -------
    tuple of Clause or None
        None where there would be more than 32.

    Examples
    --------
    >>> from closedloop.defence.rules.expression import parse
    >>> sorted(sorted(map(str, c.required)) for c in clauses(parse("a AND (b OR c)")))
    [['a', 'b'], ['a', 'c']]
    """
    try:
        found = [clause for clause in _clauses(expression, negated=False) if clause.can_hold]
    except _TooMany:
        return None
    return tuple(
        clause
        for place, clause in enumerate(found)
        if not any(
            other.required <= clause.required
            and other.excluded <= clause.excluded
            and (other != clause or earlier < place)
            for earlier, other in enumerate(found)
            if earlier != place
        )
    )


def _clauses(expression: Expression, *, negated: bool) -> list[Clause]:
    if isinstance(expression, Term):
        alone = frozenset((expression,))
        return [Clause(frozenset(), alone) if negated else Clause(alone)]
    if isinstance(expression, Not):
        return _clauses(expression.part, negated=not negated)
    parts = [_clauses(part, negated=negated) for part in expression.parts]
    if isinstance(expression, Any) != negated:  # De Morgan: a negated AND is an OR
        found = [clause for part in parts for clause in part]
        if len(found) > MAX_CLAUSES:
            raise _TooMany
        return found
    assert isinstance(expression, All | Any)
    joined = [Clause(frozenset())]
    for part in parts:
        if len(joined) * len(part) > MAX_CLAUSES:
            raise _TooMany
        joined = [first.with_(second) for first in joined for second in part]
    return joined

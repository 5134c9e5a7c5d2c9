"""Conditions that a person might write for a rising issue, found from its texts.

A condition is looked for as an OR of clauses, each an AND of one to three terms, perhaps with a
NOT. What it must not do comes first: a clause counts only where enough of what it matches belongs
to the issue. Among those, the clause that adds most of the issue's texts is taken, again and again,
until another one adds too little to be worth reading (the greedy way to a maximum coverage). That
is done for several degrees of strictness, and a condition that another one beats in every respect
is left out.

Recall and precision are those of the texts that were given, from which the condition was made: on
later texts of the same issue they will be a little lower. `preview` looks at traffic itself.

References
----------
Nemhauser, G., Wolsey, L., Fisher, M. (1978). An analysis of approximations for maximizing
submodular set functions. Mathematical Programming 14.
Fürnkranz, J., Gamberger, D., Lavrač, N. (2012). Foundations of Rule Learning. Springer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from closedloop.defence.rules.clauses import Clause
from closedloop.defence.rules.expression import All, Any, Expression, Not, Term
from closedloop.defence.rules.suggestion_terms import candidate_terms, has_content
from closedloop.defence.rules.term_index import TermIndex
from closedloop.samples.normal_form import normalise

STRICTNESS = (0.98, 0.9, 0.75)  # least precision of every clause
_LEAST_SHARE = 0.05  # of the texts that a clause, and each term, must be in
_LEAST_GAIN = 0.04  # of the texts that one more clause must add
_MOST_TERMS, _MOST_PAIRS, _MOST_CLAUSES = 64, 48, 4
_PRICE_OF_A_WORD = 0.93  # a clause with one more must gain by so much to be preferred
_WORDS_OF_A_PHRASE = 2.2
# A NOT must take away so much of what a clause matches outside, and of the texts less.
_NOT_TAKES, _NOT_COSTS, _NOT_TEXTS = 0.4, 0.03, 4
_BETA = 0.25  # of the F-measure: a rule that answers others' texts does harm
_MOST_EXCLUSIONS = 6  # clauses that a NOT is looked for

_Rows = npt.NDArray[np.float32]  # (terms or clauses, texts), 1 where it is there


@dataclass(frozen=True, kw_only=True, slots=True)
class Suggestion:
    """A condition, and what it matches of the texts that it was made from."""

    condition: str
    inside: int  # texts of the issue that it matches
    outside: int  # texts of the background
    recall: float  # inside / all texts of the issue
    precision: float  # inside / all that it matches


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """A clause and the texts it holds of."""

    clause: Clause
    inside: _Rows  # (texts,)
    outside: _Rows

    @property
    def terms(self) -> int:
        return len(self.clause.required) + len(self.clause.excluded)

    @property
    def price(self) -> float:
        """What its gain is multiplied by; words apart generalise better than a phrase of them."""
        terms = (*self.clause.required, *self.clause.excluded)
        words = sum(1.0 if " " not in term.text else _WORDS_OF_A_PHRASE for term in terms)
        return float(_PRICE_OF_A_WORD ** (words - 1))


def suggest(inside: Sequence[str], outside: Sequence[str], *, most: int = 3) -> list[Suggestion]:
    """Return conditions that match an issue's texts and little else, the best one first.

    Parameters
    ----------
    inside : sequence of str
        Masked texts of the issue, up to a few hundred; a text that was said twice counts twice.
    outside : sequence of str
        Masked texts of usual traffic, up to some thousands. Without any, frequent words of the
        issue are all that can be told.
    most : int
        How many conditions, at most.

    Returns
    -------
    list of Suggestion
        By F-measure with beta 0.25: of two that are nearly as precise, the one that matches more
        comes first. Empty where no few words tell the issue from the rest.

    Examples
    --------
    >>> issue = ["my coupon fails", "the coupon is invalid", "coupon fails again"] * 5
    >>> usual = ["where is my coupon", "it fails to load", "is this invalid"] * 20
    >>> suggest(issue, usual)[0].condition
    'coupon AND (fails OR invalid)'
    """
    own = [text for text in map(normalise, inside) if text]
    usual = [text for text in map(normalise, outside) if text]
    if not own:
        return []
    least = max(min(2, len(own)), math.ceil(_LEAST_SHARE * len(own)))
    names, own_rows, usual_rows = _telling(candidate_terms(own, least=least), own, usual)
    if not names:
        return []
    found = _clauses(names, own_rows, usual_rows, least=least)
    excluding = _with_exclusions(found, own, usual)
    suggestions: dict[str, Suggestion] = {}
    for floor in STRICTNESS:
        chosen = _cover([*found, *excluding], floor)
        if chosen:
            each = _suggestion(chosen)
            suggestions.setdefault(each.condition, each)
    return _best(suggestions.values())[:most]


def _telling(
    candidates: Sequence[Term], own: Sequence[str], usual: Sequence[str]
) -> tuple[list[Term], _Rows, _Rows]:
    """Return the terms that tell the issue best, and which texts have each."""
    index = TermIndex(candidates)
    place = {term: i for i, term in enumerate(candidates)}
    own_rows, usual_rows = _rows(index, place, own), _rows(index, place, usual)
    share = own_rows.mean(axis=1)
    elsewhere = (usual_rows.sum(axis=1) + 0.5) / (len(usual) + 10)
    worth = share * np.log(np.maximum(share, 1e-9) / elsewhere)  # part of the divergence
    order = np.argsort(-worth, kind="stable")
    order = order[worth[order] > 0][:_MOST_TERMS]
    return [candidates[i] for i in order], own_rows[order], usual_rows[order]


def _rows(index: TermIndex, place: dict[Term, int], texts: Sequence[str]) -> _Rows:
    terms: list[int] = []
    columns: list[int] = []
    for column, text in enumerate(texts):
        found = index.found_in(text)
        if found:
            terms += [place[term] for term in found]
            columns += [column] * len(found)
    rows = np.zeros((len(place), len(texts)), dtype=np.float32)
    rows[terms, columns] = 1
    return rows


def _clauses(names: Sequence[Term], own: _Rows, usual: _Rows, *, least: int) -> list[_Seen]:
    """Return the ANDs of one to three terms of which each term makes it more precise."""
    alone = [
        _Seen(Clause(frozenset((term,))), own[i], usual[i])
        for i, term in enumerate(names)
        if has_content(term)
    ]
    both, both_usual = own @ own.T, usual @ usual.T
    outside = np.diag(both_usual)
    first, second = np.triu_indices(len(names), 1)
    better = both_usual[first, second] < np.minimum(outside[first], outside[second])
    kept = np.flatnonzero(better & (both[first, second] >= least))
    pairs = [
        (int(first[i]), int(second[i]))
        for i in kept
        if has_content(names[first[i]]) and has_content(names[second[i]])
    ]
    pairs.sort(key=lambda p: (-both[p] * both[p] / (both[p] + both_usual[p]), p))
    del pairs[_MOST_PAIRS:]
    found = alone + [
        _Seen(Clause(frozenset((names[i], names[j]))), own[i] * own[j], usual[i] * usual[j])
        for i, j in pairs
    ]
    for i, j in pairs:
        own_pair, usual_pair = own[i] * own[j], usual[i] * usual[j]
        count = own @ own_pair
        count_usual = usual @ usual_pair
        fewest = np.minimum(np.minimum(both_usual[i], both_usual[j]), both_usual[i, j])
        for k in np.flatnonzero((count >= least) & (count_usual < fewest)):
            if k > j and has_content(names[k]):
                clause = Clause(frozenset((names[i], names[j], names[k])))
                found.append(_Seen(clause, own_pair * own[k], usual_pair * usual[k]))
    return found


def _with_exclusions(
    found: Iterable[_Seen], own: Sequence[str], usual: Sequence[str]
) -> list[_Seen]:
    """Return clauses of much recall again, with a NOT of what they match elsewhere."""
    wide = [seen for seen in found if seen.terms <= 2 and _precision(seen) < STRICTNESS[0]]
    wide.sort(key=lambda seen: -float(seen.inside.sum()) * _precision(seen))
    better: list[_Seen] = []
    for seen in wide[:_MOST_EXCLUSIONS]:
        here, there = np.flatnonzero(seen.inside), np.flatnonzero(seen.outside)
        elsewhere = [usual[i] for i in there]
        least = max(_NOT_TEXTS, math.ceil(_NOT_TAKES * len(elsewhere)))
        terms = [t for t in candidate_terms(elsewhere, least=least) if has_content(t)]
        terms = [term for term in terms if term not in seen.clause.required]
        if not terms:
            continue
        index, place = TermIndex(terms), {term: i for i, term in enumerate(terms)}
        lost, taken = _rows(index, place, [own[i] for i in here]), _rows(index, place, elsewhere)
        costs, takes = lost.sum(axis=1), taken.sum(axis=1)
        allowed = costs <= _NOT_COSTS * len(here)
        if not allowed.any():
            continue
        best = int(np.argmax(np.where(allowed, takes - costs, -1)))
        inside, outside = seen.inside.copy(), seen.outside.copy()
        inside[here] -= lost[best]
        outside[there] -= taken[best]
        clause = Clause(seen.clause.required, frozenset((terms[best],)))
        better.append(_Seen(clause, inside, outside))
    return better


def _precision(seen: _Seen) -> float:
    inside, outside = float(seen.inside.sum()), float(seen.outside.sum())
    return inside / (inside + outside) if inside else 0.0


def _cover(found: Sequence[_Seen], floor: float) -> list[_Seen]:
    """Return the clauses that together match most of the issue, each as precise as is asked."""
    precise = [seen for seen in found if _precision(seen) >= floor]
    if not precise:
        return []
    own = np.stack([seen.inside for seen in precise])
    usual = np.stack([seen.outside for seen in precise])
    price = np.asarray([seen.price for seen in precise])
    new_own, new_usual = np.ones(own.shape[1]), np.ones(usual.shape[1])
    chosen: list[_Seen] = []
    least = max(1.0, _LEAST_GAIN * own.shape[1])
    while len(chosen) < _MOST_CLAUSES:
        gain, harm = own @ new_own, usual @ new_usual
        allowed = (gain >= least) & (gain >= floor * (gain + harm))
        if not allowed.any():
            break
        worth = np.where(allowed, (gain - harm) * price, -np.inf)
        best = int(np.argmax(worth))
        chosen.append(precise[best])
        new_own *= 1 - own[best]
        new_usual *= 1 - usual[best]
    return chosen


def _suggestion(chosen: Sequence[_Seen]) -> Suggestion:
    own = np.maximum.reduce([seen.inside for seen in chosen])
    usual = np.maximum.reduce([seen.outside for seen in chosen])
    inside, outside = int(own.sum()), int(usual.sum())
    return Suggestion(
        condition=str(_written([seen.clause for seen in chosen])),
        inside=inside,
        outside=outside,
        recall=inside / len(own),
        precision=inside / (inside + outside),
    )


def _written(clauses: Sequence[Clause]) -> Expression:
    """Return clauses as a person would write them: what all have in common stands before."""
    common = frozenset.intersection(*(each.required for each in clauses))
    rests = [Clause(each.required - common, each.excluded) for each in clauses]
    if len(clauses) == 1 or not common or not all(rest.required for rest in rests):
        return _any([_all(each) for each in clauses])
    shared = Clause(common, frozenset.intersection(*(each.excluded for each in clauses)))
    rest = _any([_all(Clause(each.required, each.excluded - shared.excluded)) for each in rests])
    ahead = sorted(shared.required, key=str)
    behind = [Not(term) for term in sorted(shared.excluded, key=str)]
    return All((*ahead, rest, *behind))


def _all(clause: Clause) -> Expression:
    parts: list[Expression] = sorted(clause.required, key=str)
    parts += [Not(term) for term in sorted(clause.excluded, key=str)]
    return parts[0] if len(parts) == 1 else All(tuple(parts))


def _any(parts: Sequence[Expression]) -> Expression:
    return parts[0] if len(parts) == 1 else Any(tuple(parts))


def _best(found: Iterable[Suggestion]) -> list[Suggestion]:
    every = list(found)
    kept = [
        each
        for each in every
        if not any(
            (other.recall, other.precision) != (each.recall, each.precision)
            and other.recall >= each.recall
            and other.precision >= each.precision
            for other in every
        )
    ]
    return sorted(kept, key=lambda each: (-_f_measure(each), len(each.condition), each.condition))


def _f_measure(each: Suggestion) -> float:
    square = _BETA**2
    return (1 + square) * each.precision * each.recall / (square * each.precision + each.recall)

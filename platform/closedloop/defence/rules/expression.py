"""The condition of a keyword rule: keywords and phrases, joined by AND, OR and NOT.

A condition is written as one would say it: ``coupon AND (fails OR "not valid") NOT refund``.
Terms that stand beside each other must all be there. ``NOT`` binds closest, then ``AND``, then
``OR``; the operators are written in capitals, so that "and" can be a keyword.

A term is found without regard to case, width and runs of white space. In scripts that separate
words it is found as whole words: ``art`` is not in "cart"; ``coupon*`` is in "coupons", too.
In Chinese, Japanese and the like it is found anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from closedloop.core.errors import InputError
from closedloop.samples.normal_form import normalise

MAX_TERMS = 50
MAX_TERM_CHARACTERS = 100
MAX_CHARACTERS = 2_000
_MAX_DEPTH = 20
_TOKEN = re.compile(r'\s*(?:(?P<paren>[()])|"(?P<phrase>[^"]*)"(?P<open>\*?)|(?P<word>[^\s()"]+))')
_QUOTES = str.maketrans("“”„‟«»「」『』＂（）", '"""""""""""()')


@dataclass(frozen=True, slots=True)
class Term:
    """A keyword or a phrase, in its normal form."""

    text: str
    is_prefix: bool = False  # more letters may follow

    def __str__(self) -> str:
        """Return it as it is written in a condition."""
        bare = self.text not in ("AND", "OR", "NOT") and not re.search(r'[\s()"*]', self.text)
        return (self.text if bare else f'"{self.text}"') + "*" * self.is_prefix


@dataclass(frozen=True, slots=True)
class Not:
    """The condition must not hold."""

    part: Expression

    def __str__(self) -> str:
        """Return it as it is written in a condition."""
        return f"NOT {_inner(self.part)}"


@dataclass(frozen=True, slots=True)
class All:
    """Every part must hold."""

    parts: tuple[Expression, ...]

    def __str__(self) -> str:
        """Return it as it is written in a condition."""
        return " AND ".join(_inner(part) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Any:
    """One part must hold."""

    parts: tuple[Expression, ...]

    def __str__(self) -> str:
        """Return it as it is written in a condition."""
        return " OR ".join(_inner(part) for part in self.parts)


Expression = Term | Not | All | Any


def terms(expression: Expression) -> Iterator[Term]:
    """Yield every term of a condition, from left to right."""
    if isinstance(expression, Term):
        yield expression
    elif isinstance(expression, Not):
        yield from terms(expression.part)
    else:
        for part in expression.parts:
            yield from terms(part)


def holds(expression: Expression, is_there: Callable[[Term], bool]) -> bool:
    """Tell whether a condition holds of a text.

    Parameters
    ----------
    is_there : callable
        Tells whether the text has a term.
    """
    if isinstance(expression, Term):
        return is_there(expression)
    if isinstance(expression, Not):
        return not holds(expression.part, is_there)
    if isinstance(expression, All):
        return all(holds(part, is_there) for part in expression.parts)
    return any(holds(part, is_there) for part in expression.parts)


def parse(text: str) -> Expression:
    """Read a condition.

    Raises
    ------
    InputError
        It cannot be read, or it could hold of a text that has none of its terms: such a rule
        would answer nearly everything.

    Examples
    --------
    >>> print(parse('Coupon (fails OR "not  valid") NOT refund*'))
    coupon AND (fails OR "not valid") AND NOT refund*
    """
    if len(text) > MAX_CHARACTERS:
        raise InputError(
            f"The condition has {len(text):,} characters.",
            remedy=f"Use {MAX_CHARACTERS:,} at most; several rules may have the same effect.",
        )
    expression = _Parser(text.translate(_QUOTES)).whole()
    found = list(terms(expression))
    if len(found) > MAX_TERMS:
        raise InputError(
            f"The condition has {len(found)} terms.",
            remedy=f"Use {MAX_TERMS} at most; several rules may have the same effect.",
        )
    if holds(expression, lambda _: False):
        raise InputError(
            f"The condition {text!r} holds of texts that have none of its terms.",
            remedy="Add a term that must be there beside what NOT excludes.",
        )
    return expression


def _inner(part: Expression) -> str:
    return f"({part})" if isinstance(part, All | Any) else str(part)


class _Parser:
    """Recursive descent over the tokens of one condition."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(_tokens(text))
        self._place = 0

    def whole(self) -> Expression:
        if not self._tokens:
            raise InputError("The condition is empty.", remedy="Name a keyword at least.")
        expression = self._any(0)
        if self._place < len(self._tokens):
            raise self._wrong(f"unexpected {self._tokens[self._place]}")
        return expression

    def _any(self, depth: int) -> Expression:
        if depth > _MAX_DEPTH:
            raise self._wrong("its parentheses are too deep")
        parts = [self._all(depth)]
        while self._take("OR"):
            parts.append(self._all(depth))
        return parts[0] if len(parts) == 1 else Any(_flat(parts, Any))

    def _all(self, depth: int) -> Expression:
        parts = [self._not(depth)]
        while self._place < len(self._tokens) and self._peek() not in ("OR", ")"):
            self._take("AND")
            parts.append(self._not(depth))
        return parts[0] if len(parts) == 1 else All(_flat(parts, All))

    def _not(self, depth: int) -> Expression:
        negated = False
        while self._take("NOT"):
            negated = not negated
        part = self._primary(depth)
        return Not(part) if negated else part

    def _primary(self, depth: int) -> Expression:
        token = self._peek()
        if isinstance(token, Term):
            self._place += 1
            return token
        if token == "(":
            self._place += 1
            inside = self._any(depth + 1)
            if not self._take(")"):
                raise self._wrong("a parenthesis is not closed")
            return inside
        raise self._wrong(f"a keyword is missing before {token}" if token else "its end is missing")

    def _peek(self) -> Term | str:
        return self._tokens[self._place] if self._place < len(self._tokens) else ""

    def _take(self, token: str) -> bool:
        if self._peek() != token:
            return False
        self._place += 1
        return True

    def _wrong(self, what: str) -> InputError:
        return InputError(
            f"The condition {self._text!r} cannot be read: {what}.",
            remedy='Write it like: coupon AND (fails OR "not valid") NOT refund.',
        )


def _tokens(text: str) -> Iterator[Term | str]:
    place = 0
    text = text.rstrip()
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            raise InputError(
                f"The condition {text!r} has a quotation mark that is not closed.",
                remedy='Put a phrase between two: "not valid".',
            )
        place = found.end()
        if found["paren"]:
            yield found["paren"]
        elif found["word"] in ("AND", "OR", "NOT"):
            yield found["word"]
        elif found["word"] is not None:
            word = found["word"]
            yield _term(word.rstrip("*") if word.endswith("*") else word, word.endswith("*"))
        else:
            yield _term(found["phrase"], bool(found["open"]))


def _term(text: str, is_prefix: bool) -> Term:
    normal = normalise(text)
    if not any(character.isalnum() for character in normal):
        raise InputError(
            f"The term {text!r} has no letter and no digit.", remedy="Name a word or a phrase."
        )
    if len(normal) > MAX_TERM_CHARACTERS:
        raise InputError(
            f"The term {text[:40]!r}… has {len(normal)} characters.",
            remedy=f"Use {MAX_TERM_CHARACTERS} at most.",
        )
    return Term(normal, is_prefix)


def _flat(parts: list[Expression], kind: type[All] | type[Any]) -> tuple[Expression, ...]:
    flat: list[Expression] = []
    for part in parts:
        flat.extend(part.parts if isinstance(part, kind) else (part,))
    return tuple(dict.fromkeys(flat))

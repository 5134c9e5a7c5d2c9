"""A small phrase grammar, compiled once to nested choice tables.

The notation, as it stands in the YAML files beside this module::

    (a|b|c)    one of the alternatives, the first the likeliest
    [a|b]      the same, or nothing: said one time in five
    [~a|b]     the same, seldom: one time in twenty
    <name>     a rule of the lexicon, expanded in place
    {name}     a slot, filled with a value when the phrase is spoken

People say a thing mostly in the same few ways: of n alternatives the first k have together the
chance (k/n)**(1/3), which falls off much as word frequencies do (G. K. Zipf, 1935).

A compiled node is a string (said as it is), a tuple (choose one), a list (say all in order) or
a slot. Lexicon rules are shared by reference, so that a grammar of thousands of phrases stays
small; choosing among plain strings costs one random number and one append.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from closedloop.core.errors import InputError

SELDOM = 7
_CLOSING = {"(": ")", "[": "]", "<": ">", "{": "}"}

# str | tuple[Node, ...] | list[Node] | Slot; a recursive alias costs more than it explains.
Node = Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Slot:
    """A place in a phrase that a value fills, by the name of the value's kind."""

    name: str


def expand(
    node: Node, draw: Callable[[], float], fill: Callable[[str], str], out: list[str]
) -> None:
    """Say one phrase of the language of a node.

    Parameters
    ----------
    node : Node
        A node made by `compile_lexicon` or `compile_phrase`.
    draw : callable
        Returns a uniform random number in [0, 1).
    fill : callable
        Returns the value of the slot with the given name.
    out : list of str
        The pieces of the phrase are appended here.

    Examples
    --------
    >>> pieces = []
    >>> expand(compile_phrase("(hi|hi) {who}", {}), lambda: 0.0, {"who": "Ann"}.get, pieces)
    >>> "".join(pieces)
    'hi Ann'
    """
    while type(node) is tuple:
        chance = draw()
        node = node[int(chance * chance * chance * len(node))]
    if type(node) is str:
        out.append(node)
    elif type(node) is list:
        for part in node:
            if type(part) is str:
                out.append(part)
            else:
                expand(part, draw, fill, out)
    else:
        out.append(fill(node.name))


def say(node: Node, rng: Random, fill: Callable[[str], str]) -> str:
    """Return one phrase of the language of a node as a string (see `expand`)."""
    out: list[str] = []
    expand(node, rng.random, fill, out)
    return "".join(out)


def compile_lexicon(rules: Mapping[str, str | Sequence[str]]) -> dict[str, Node]:
    """Compile named rules that may refer to each other, in any order.

    Parameters
    ----------
    rules : mapping
        Rule name to one phrase, or to a list of alternative phrases.

    Raises
    ------
    InputError
        A phrase is malformed, refers to an unknown rule, or rules refer in a circle.
    """
    compiled: dict[str, Node] = {}
    under_way: list[str] = []

    def rule(name: str) -> Node:
        if name in compiled:
            return compiled[name]
        if name not in rules:
            raise InputError(
                f"The phrase grammar refers to <{name}>, which no lexicon defines.",
                remedy="Add the rule to lexicon.yaml or correct its name.",
            )
        if name in under_way:
            raise InputError(
                f"The rules {' → '.join([*under_way, name])} refer to each other in a circle.",
                remedy="Break the circle: a phrase must end.",
            )
        under_way.append(name)
        phrases = rules[name]
        texts = [phrases] if isinstance(phrases, str) else list(phrases)
        compiled[name] = _choice([_parse(text, rule) for text in texts])
        under_way.pop()
        return compiled[name]

    for name in rules:
        rule(name)
    return compiled


def compile_phrase(phrases: str | Sequence[str], lexicon: Mapping[str, Node]) -> Node:
    """Compile one phrase, or a list of alternative phrases, over a compiled lexicon."""

    def rule(name: str) -> Node:
        if name not in lexicon:
            raise InputError(
                f"The phrase grammar refers to <{name}>, which no lexicon defines.",
                remedy="Add the rule to lexicon.yaml or correct its name.",
            )
        return lexicon[name]

    texts = [phrases] if isinstance(phrases, str) else list(phrases)
    return _choice([_parse(text, rule) for text in texts])


def slot_names(node: Node) -> Iterator[str]:
    """Yield the name of every slot below a node (a name may come more than once)."""
    if isinstance(node, Slot):
        yield node.name
    elif not isinstance(node, str):
        for part in node:
            yield from slot_names(part)


def _choice(nodes: list[Node]) -> Node:
    return nodes[0] if len(nodes) == 1 else tuple(nodes)


def _sequence(parts: list[Node]) -> Node:
    flat: list[Node] = []
    for part in parts:
        for piece in part if type(part) is list else [part]:
            if type(piece) is str and flat and type(flat[-1]) is str:
                flat[-1] += piece
            elif piece != "":
                flat.append(piece)
    if not flat:
        return ""
    return flat[0] if len(flat) == 1 else flat


def _parse(text: str, rule: Callable[[str], Node]) -> Node:
    node, end = _alternatives(text, 0, "", rule)
    if end != len(text):
        raise InputError(
            f"The phrase {text!r} closes a bracket at character {end + 1} that it never opened.",
            remedy="Balance the brackets of the phrase.",
        )
    return node


def _alternatives(
    text: str, start: int, closing: str, rule: Callable[[str], Node]
) -> tuple[Node, int]:
    """Parse alternatives up to the closing bracket (or the end), and return where that is."""
    alternatives: list[Node] = []
    parts: list[Node] = []
    at = start
    while at < len(text) and text[at] not in ")]":
        sign = text[at]
        if sign == "|":
            alternatives.append(_sequence(parts))
            parts = []
            at += 1
        elif sign in "<{":
            end = text.find(_CLOSING[sign], at)
            if end < 0:
                raise _unclosed(text, at)
            name = text[at + 1 : end]
            parts.append(rule(name) if sign == "<" else Slot(name=name))
            at = end + 1
        elif sign in "([":
            seldom = text[at : at + 2] == "[~"
            node, at = _alternatives(text, at + (2 if seldom else 1), _CLOSING[sign], rule)
            if sign == "[":
                node = ("",) * (SELDOM - 1 if seldom else 1) + (node,)
            parts.append(node)
            at += 1
        else:
            end = at
            while end < len(text) and text[end] not in "()[]<>{}|":
                end += 1
            if end == at:
                raise _unclosed(text, at)
            parts.append(text[at:end])
            at = end
    alternatives.append(_sequence(parts))
    if closing and text[at : at + 1] != closing:
        raise _unclosed(text, start)
    return _choice(alternatives), at


def _unclosed(text: str, at: int) -> InputError:
    return InputError(
        f"The phrase {text!r} has an unbalanced bracket near character {at + 1}.",
        remedy="Balance the brackets of the phrase.",
    )

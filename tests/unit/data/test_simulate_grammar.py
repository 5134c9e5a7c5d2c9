"""The phrase notation: choices, options, rules, slots, and what is malformed."""

from random import Random

import pytest

from closedloop.core.errors import InputError
from closedloop.data.simulate.catalogue import LANGUAGES, burst_issues, intents, language, tenants
from closedloop.data.simulate.grammar import compile_lexicon, compile_phrase, say, slot_names
from closedloop.data.simulate.personal import KINDS
from closedloop.data.simulate.values import VALUES


def _all_said(phrase: str, lexicon: dict[str, str] | None = None) -> set[str]:
    node = compile_phrase(phrase, compile_lexicon(lexicon or {}))
    rng = Random(1)
    return {say(node, rng, str.upper) for _ in range(2_000)}


def test_choices_nest_and_may_be_empty() -> None:
    assert _all_said("a(b|c(d|)|)") == {"ab", "acd", "ac", "a"}


def test_options_are_said_or_not() -> None:
    assert _all_said("x[y|z][~w]") == {"x" + a + b for a in ("", "y", "z") for b in ("", "w")}


def test_rules_and_slots_are_filled_in() -> None:
    assert _all_said("<hi> {who}", {"hi": "(hey|<yo>)", "yo": "yo"}) == {"hey WHO", "yo WHO"}


def test_the_first_alternative_is_the_likeliest() -> None:
    node = compile_phrase("(a|b|c)", {})
    rng = Random(1)
    said = [say(node, rng, str) for _ in range(3_000)]
    assert said.count("a") > said.count("b") > said.count("c") > 0


@pytest.mark.parametrize("phrase", ["(a", "a)", "[a", "a]", "(a]", "<a", "{a", "a}", "a>b"])
def test_unbalanced_brackets_are_refused(phrase: str) -> None:
    with pytest.raises(InputError, match="bracket"):
        compile_phrase(phrase, {"a": "a"})


def test_an_unknown_rule_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="<nobody>"):
        compile_phrase("<nobody>", {})


def test_rules_in_a_circle_are_refused() -> None:
    with pytest.raises(InputError, match="a → b → a"):
        compile_lexicon({"a": "<b>", "b": "x<a>"})


def test_there_are_enough_intents_and_tenants() -> None:
    assert len(intents()) >= 48
    assert len(burst_issues()) >= 6
    assert len(tenants()) >= 4
    assert len({intent.name for intent in intents()} | set(burst_issues())) == len(intents()) + len(
        burst_issues()
    )


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_intent_is_spoken_and_every_slot_has_values(code: str) -> None:
    spoken = language(code)
    names = {intent.name for intent in intents()} | set(burst_issues())
    assert set(spoken.phrases) == names
    nodes = [spoken.lexicon, *({"say": p.say, "brief": p.brief} for p in spoken.phrases.values())]
    slots = {slot for group in nodes for node in group.values() for slot in slot_names(node)}
    assert slots <= {*VALUES[code], "product", "other"}
    carried = {slot for node in spoken.personal.values() for slot in slot_names(node)}
    assert set(KINDS) <= carried <= {*KINDS, *VALUES[code]}


def test_follow_ups_name_intents() -> None:
    names = {intent.name for intent in intents()}
    assert all(set(intent.follow_ups) <= names for intent in intents())

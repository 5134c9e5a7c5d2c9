"""The intents, tenants and phrases of the simulated assistants, read from the YAML files here.

Everything is parsed and compiled once a process, on first use.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from closedloop.core.errors import InputError
from closedloop.data.simulate.grammar import Node, compile_lexicon, compile_phrase

LANGUAGES = ("en", "zh")
_BURST_FILE = "bursts.yaml"


@dataclass(frozen=True, kw_only=True, slots=True)
class Intent:
    """What a customer may want: the label that a classifier learns."""

    name: str
    # The group of neighbouring intents, such as "delivery"; mistakes inside one are the usual ones.
    domain: str
    description: str
    languages: tuple[str, ...]
    # The tenants whose customers raise it.
    tenants: tuple[str, ...]
    # How common it is among opening questions; 1 is usual.
    weight: float
    # Intents that the same customer is likely to raise afterwards.
    follow_ups: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tenant:
    """A company whose assistant is simulated."""

    name: str
    description: str
    # Part of all traffic, before a scenario leaves tenants out.
    share: float
    # Part of its customers who write Chinese; the others write English.
    chinese_share: float
    users: int
    merchants: int
    product_groups: tuple[str, ...]
    # How much more often than usual a domain is asked about; 1 where it is not named.
    domain_factors: dict[str, float]
    # Channel to its share.
    channels: dict[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Phrases:
    """What is said in one language about one intent, compiled."""

    # Whole questions.
    say: Node
    # Short follow-ups that lean on the dialogue.
    brief: Node
    # The situation, said ahead of the question now and then; None where there is none.
    before: Node | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Language:
    """All that is said in one language, compiled."""

    code: str
    lexicon: dict[str, Node]
    # Intent or burst issue to its phrases.
    phrases: dict[str, Phrases]
    # Kind of personal data to the clauses that carry it.
    personal: dict[str, Node]
    # Group to product names.
    products: dict[str, tuple[str, ...]]


@cache
def _load(*path: str) -> dict[str, Any]:
    text = Path(__file__).parent.joinpath(*path).read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return loaded


@cache
def tenants() -> dict[str, Tenant]:
    """Return the simulated tenants by name."""
    return {
        name: Tenant(
            name=name,
            description=entry["about"],
            share=entry["share"],
            chinese_share=entry["chinese"],
            users=entry["users"],
            merchants=entry["merchants"],
            product_groups=tuple(entry["products"]),
            domain_factors=entry["domains"],
            channels=entry["channels"],
        )
        for name, entry in _load("tenants.yaml").items()
    }


@cache
def intents() -> tuple[Intent, ...]:
    """Return the labelled intents of usual traffic, in the order of the catalogue.

    Issues that a burst brings are not among them (see `burst_issues`): nobody has labelled those.

    Examples
    --------
    >>> len(intents()) >= 40
    True
    >>> [intent.description for intent in intents() if intent.name == "delivery_delay"]
    ['A parcel is late.']
    """
    return tuple(
        Intent(
            name=name,
            domain=domain,
            description=entry["about"],
            languages=LANGUAGES,
            tenants=tuple(
                tenant.name
                for tenant in tenants().values()
                if tenant.domain_factors.get(domain, 1) > 0
            ),
            weight=entry["weight"],
            follow_ups=tuple(entry["next"]),
        )
        for domain, entries in _load("intents.yaml").items()
        for name, entry in entries.items()
    )


@cache
def burst_issues() -> tuple[str, ...]:
    """Return the names of the new issues that a `Burst` can bring."""
    return tuple(_load("phrases", LANGUAGES[0], _BURST_FILE))


@cache
def language(code: str) -> Language:
    """Return the compiled phrases of one language.

    Raises
    ------
    InputError
        Nobody speaks this language here, or its phrase files are malformed.
    """
    if code not in LANGUAGES:
        raise InputError(
            f"The simulator does not speak {code!r}.",
            remedy=f"Choose among {', '.join(LANGUAGES)}.",
        )
    lexicon = compile_lexicon(_load("phrases", code, "lexicon.yaml"))
    situations = {
        name: entry.get("before")
        for entries in _load("intents.yaml").values()
        for name, entry in entries.items()
    }
    spoken: dict[str, Any] = {}
    for file in ("orders", "money", "account", "products", "bursts"):
        spoken |= _load("phrases", code, f"{file}.yaml")
    return Language(
        code=code,
        lexicon=lexicon,
        phrases={
            name: Phrases(
                say=compile_phrase(entry["say"], lexicon),
                brief=compile_phrase(entry["brief"], lexicon),
                before=lexicon[situations[name]] if situations.get(name) else None,
            )
            for name, entry in spoken.items()
        },
        personal={
            kind: compile_phrase(clauses, {})
            for kind, clauses in _load("phrases", code, "personal.yaml").items()
        },
        products={group: tuple(entry[code]) for group, entry in _load("products.yaml").items()},
    )

"""What an API key may do: its tenant, the actions and the models it was given.

A key is ``cl_ID_SECRET``: the id finds the row, the secret (256 random bits) is kept only as a
SHA-256 hash; a slow hash would add nothing against guessing 256 bits and would cost every request.
Serving asks `ApiKey.allows` for each request and looks nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import translate
from functools import lru_cache

from closedloop.core.errors import InputError, OutOfScope

ALL = "*"  # every tenant, every model; stored for every action, those of later versions too
_PREFIX = "cl"
_MAX_PATTERNS = 100
_PATTERN = re.compile(r"[\w.*-]{1,200}")
_PARTS = 3  # of a model's name


class Action(StrEnum):
    """One thing that a client may do over HTTP."""

    PREDICT = "predict"
    FEEDBACK = "feedback"
    EVENTS = "events"  # of any kind and about any model of the tenant; feedback is among them
    READ = "read"  # the list of models and the API's description
    METRICS = "metrics"  # figures of the whole service, whoever's traffic made them


# What a client app needs; metrics tell of all tenants and are given by name only.
CLIENT_ACTIONS = frozenset(Action) - {Action.METRICS}


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiKey:
    """A client app's key, without its secret.

    Examples
    --------
    >>> key = ApiKey(
    ...     id="1", client="bot", tenant="shop", created_at=0.0, models=("shop.intent.*",)
    ... )
    >>> key.allows(Action.PREDICT, "shop.intent.main"), key.allows(Action.PREDICT, "shop.faq.main")
    (True, False)
    >>> key.allows(Action.METRICS)
    False
    """

    id: str
    client: str
    tenant: str  # '*' reaches every tenant
    created_at: float
    # Behind this moment the secret that was presented opens nothing.
    expires_at: float | None = None
    revoked_at: float | None = None
    actions: frozenset[Action] = CLIENT_ACTIONS
    # Names of models, or patterns in which '*' stands for anything.
    models: tuple[str, ...] = (ALL,)
    # Until when the secret before the last rotation opens, too.
    former_until: float | None = None
    # About a minute exact, and no part of what the key is.
    last_used_at: float | None = field(default=None, compare=False)

    def reaches(self, tenant: str) -> bool:
        """Tell whether this key belongs to ``tenant``, or to all."""
        return self.tenant in (ALL, tenant)

    def allows(self, action: Action, model: str | None = None) -> bool:
        """Tell whether this key may do something, with a model if one is named.

        Parameters
        ----------
        action : Action
            What is asked.
        model : str, optional
            ``tenant.algorithm.name``: its tenant must be the key's and a pattern must fit it.
        """
        if action not in self.actions:
            return False
        return model is None or (self.reaches(model.partition(".")[0]) and self.names(model))

    def names(self, model: str) -> bool:
        """Tell whether one of the key's patterns fits a model's name, whoever's it is."""
        return self.models == (ALL,) or _any_of(self.models).match(model) is not None

    def require(self, action: Action, model: str | None = None) -> None:
        """Let pass what the key allows.

        Raises
        ------
        OutOfScope
            It does not; the remedy names what the key lacks.
        """
        if self.allows(action, model):
            return
        if action not in self.actions:
            raise OutOfScope(
                f"The API key {self.id} of {self.client!r} may not {_WORDS[action]};"
                f" it has {_listed(self.actions) or 'no action'}.",
                remedy=f"It lacks '{action}': ask for a key that has it,"
                f" 'closedloop keys add CLIENT --may {action}'.",
            )
        shown = (model or "")[:200]
        raise OutOfScope(
            f"The API key {self.id} of {self.client!r} does not reach the model {shown!r};"
            f" its models are {', '.join(self.models)}.",
            remedy=f"It lacks {shown!r}: ask for a key that has it,"
            " 'closedloop keys add CLIENT --models PATTERN'.",
        )

    def standing(self, now: float) -> str:
        """Return in a word whether the key opens anything: active, rotating, expired, revoked."""
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= now:
            return "expired"
        rotating = self.former_until is not None and self.former_until > now
        return "rotating" if rotating else "active"


_WORDS = {
    Action.PREDICT: "ask models",
    Action.FEEDBACK: "send feedback",
    Action.EVENTS: "send events",
    Action.READ: "list models or read the API's description",
    Action.METRICS: "read metrics",
}


def written(key_id: str, secret: str) -> str:
    """Return the text that a client sends as its key."""
    return f"{_PREFIX}_{key_id}_{secret}"


def parts(presented: str) -> tuple[str, str] | None:
    """Return the id and the secret of a text that has a key's form.

    Examples
    --------
    >>> parts("cl_17_a_secret"), parts("nonsense")
    (('17', 'a_secret'), None)
    """
    prefix, _, rest = presented.partition("_")
    key_id, _, secret = rest.partition("_")
    # Anything else in an id could be more than a database takes.
    sound = key_id.isascii() and key_id.isalnum()
    return (key_id, secret) if prefix == _PREFIX and sound and secret else None


def actions_named(names: Iterable[str]) -> frozenset[Action]:
    """Read what a key may do; 'all' or '*' stands for everything.

    Raises
    ------
    InputError
        There is no such action, or none is named.
    """
    found: set[Action] = set()
    for name in names:
        if name in ("all", ALL):
            found |= set(Action)
        elif name in list(Action):
            found.add(Action(name))
        else:
            raise InputError(
                f"There is no action {name[:80]!r}.",
                remedy=f"The actions are {', '.join(Action)}; 'all' is all of them.",
            )
    if not found:
        raise InputError(
            "A key that may do nothing is of no use.",
            remedy=f"Name one or more of {', '.join(Action)}.",
        )
    return frozenset(found)


def check_patterns(models: tuple[str, ...], tenant: str) -> None:
    """See that patterns of models can fit something that the tenant has.

    Raises
    ------
    InputError
        A pattern fits nothing, for a reason the message gives.
    """
    if not 0 < len(models) <= _MAX_PATTERNS:
        raise InputError(
            f"A key cannot have {len(models)} patterns of models.",
            remedy=f"Name 1 to {_MAX_PATTERNS}; '*' is all models of the tenant.",
        )
    for pattern in models:
        shown = pattern[:80]
        if not _PATTERN.fullmatch(pattern):
            raise InputError(
                f"{shown!r} is not a pattern of models.",
                remedy="Write it like shop.intent.*, with '*' for anything.",
            )
        owner = pattern.partition(".")[0]
        if ALL not in pattern and pattern.count(".") != _PARTS - 1:
            raise InputError(
                f"{shown!r} fits no model: names have three parts.",
                remedy=f"Write it like {owner}.intent.main or {owner}.*.",
            )
        if tenant != ALL and ALL not in owner and owner != tenant:
            raise InputError(
                f"{shown!r} fits no model of the tenant {tenant!r}.",
                remedy=f"Write it like {tenant}.intent.*, or give --tenant {owner}.",
            )


@lru_cache(maxsize=4_096)
def _any_of(models: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(translate, models)))


def _listed(actions: frozenset[Action]) -> str:
    return ", ".join(action for action in Action if action in actions)

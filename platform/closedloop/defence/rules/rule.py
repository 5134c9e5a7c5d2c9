"""A keyword rule: when it applies, and what the assistant does then."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from closedloop.core.errors import InputError
from closedloop.defence.rules.clauses import Clause, clauses
from closedloop.defence.rules.expression import Expression, parse

ALL_TENANTS = "*"
_MAX_NAME_CHARACTERS = 120
_MAX_ANSWER_CHARACTERS = 2_000
_MAX_INTENT_CHARACTERS = 200
_PRIORITIES = range(-1_000, 1_001)


class Act(StrEnum):
    """What a rule does with a text that it applies to."""

    ANSWER = "answer"  # say its text
    INTENT = "intent"  # take it for this intent
    HAND_OVER = "hand-over"  # to a person


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleDraft:
    """A rule as a person writes it; `checked` says whether it can be one.

    Examples
    --------
    >>> draft = RuleDraft(
    ...     tenant="shop", name="Coupon night", condition="coupon AND (fails OR invalid)",
    ...     act=Act.ANSWER, value="We are mending the coupons; please try again at nine.",
    ... )
    >>> draft.checked().condition
    'coupon AND (fails OR invalid)'
    """

    tenant: str  # ALL_TENANTS for every one
    name: str
    condition: str
    act: Act
    value: str = ""  # the text to say, or the intent
    priority: int = 0  # larger ones go first
    channels: tuple[str, ...] = ()  # none: every one
    expires_at: float | None = None  # Unix seconds
    dry_run: bool = False  # counted, and nothing else

    def checked(self) -> RuleDraft:
        """Return the rule in its written form, without blanks around and spare parentheses.

        Raises
        ------
        InputError
            Something about it is wrong.
        """
        name, tenant, value = self.name.strip(), self.tenant.strip(), self.value.strip()
        if not name or len(name) > _MAX_NAME_CHARACTERS:
            raise InputError(
                f"The name {name[:40]!r} has {len(name)} characters.",
                remedy=f"Give the rule a name of 1 to {_MAX_NAME_CHARACTERS}.",
            )
        if not tenant:
            raise InputError("The rule has no tenant.", remedy="Name one, or * for every tenant.")
        if self.priority not in _PRIORITIES:
            raise InputError(
                f"The priority {self.priority} is out of range.",
                remedy=f"Choose one from {_PRIORITIES[0]} to {_PRIORITIES[-1]}.",
            )
        most = _MAX_INTENT_CHARACTERS if self.act is Act.INTENT else _MAX_ANSWER_CHARACTERS
        if self.act is not Act.HAND_OVER and not 0 < len(value) <= most:
            what = "intent" if self.act is Act.INTENT else "answer"
            raise InputError(
                f"The {what} of the rule {name!r} has {len(value):,} characters.",
                remedy=f"Give it 1 to {most:,}.",
            )
        return RuleDraft(
            tenant=tenant,
            name=name,
            condition=str(parse(self.condition)),
            act=self.act,
            value=value,
            priority=self.priority,
            channels=tuple(sorted({channel.strip() for channel in self.channels} - {""})),
            expires_at=self.expires_at,
            dry_run=self.dry_run,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule(RuleDraft):
    """A rule that is kept; `order` says which of two that apply goes first."""

    id: str
    revision: int  # of this rule, from 1
    created_at: float  # Unix seconds
    changed_at: float
    changed_by: str = ""
    retired: str | None = None  # why it applies no more
    expression: Expression = field(init=False, repr=False, compare=False)
    # None where there are too many to write them out.
    clauses: tuple[Clause, ...] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        expression = parse(self.condition)
        object.__setattr__(self, "expression", expression)
        object.__setattr__(self, "clauses", clauses(expression))

    @property
    def draft(self) -> RuleDraft:
        """What a person wrote of it."""
        return RuleDraft(**{name: getattr(self, name) for name in RuleDraft.__dataclass_fields__})

    @property
    def order(self) -> tuple[int, bool, float, str]:
        """Sort key: priority, the tenant's own before all tenants' ones, then the older."""
        return (-self.priority, self.tenant == ALL_TENANTS, self.created_at, self.id)

    def is_live(self, at: float) -> bool:
        """Tell whether it applies at a time, in Unix seconds; a dry run does, too."""
        return self.retired is None and (self.expires_at is None or at < self.expires_at)

"""A keyword rule as it stands in the form of an issue, before it is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from closedloop.core.errors import InputError
from closedloop.defence.issues.issue import Issue
from closedloop.defence.rules.rule import ALL_TENANTS, Act, RuleDraft
from closedloop.samples.terms import HAN
from closedloop.ui.app.defence_words import headline

FOREVER = "until it is retired"
LASTS_H = {
    "1 hour": 1.0,
    "4 hours": 4.0,
    "24 hours": 24.0,
    "3 days": 72.0,
    "a week": 168.0,
    FOREVER: None,
}
DEFAULT_LASTS = "24 hours"
ACTS = {"Say": Act.ANSWER, "Take for an intent": Act.INTENT, "Hand over": Act.HAND_OVER}
EVERY_TENANT = "every tenant"
_MAX_NAME_CHARS = 120
_HOLDING = {
    "en": "We know about this problem and are working on it. Please try again a little later.",
    "zh": "这个问题我们已经知道，正在处理，请您稍后再试。",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleForm:
    """What the form's widgets say."""

    name: str
    condition: str
    act: str = "Say"  # a key of ACTS
    answer: str = ""
    intent: str | None = None
    lasts: str = DEFAULT_LASTS
    tenant: str = ""
    channels: tuple[str, ...] = ()
    dry_run: bool = False

    def draft(self, now: float) -> RuleDraft:
        """Return the rule that the form describes.

        Parameters
        ----------
        now : float
            Unix seconds; the rule lasts from then on.

        Raises
        ------
        InputError
            It cannot be a rule.
        """
        act = ACTS.get(self.act)
        if act is None:
            raise InputError("The rule does nothing.", remedy="Choose what it does.")
        hours = LASTS_H[self.lasts]
        value = {Act.ANSWER: self.answer, Act.INTENT: self.intent or ""}.get(act, "")
        draft = RuleDraft(
            tenant=ALL_TENANTS if self.tenant == EVERY_TENANT else self.tenant,
            name=self.name.strip()[:_MAX_NAME_CHARS] or self.condition.strip()[:_MAX_NAME_CHARS],
            condition=self.condition,
            act=act,
            value=value,
            channels=self.channels,
            expires_at=None if hours is None else now + 3600 * hours,
            dry_run=self.dry_run,
        )
        return draft.checked()


def first_form(issue: Issue, condition: str) -> RuleForm:
    """Return the form as it is shown first; added as it stands it buys a day.

    Examples
    --------
    >>> first_form(issue, "coupon AND fails").lasts  # doctest: +SKIP
    '24 hours'
    """
    return RuleForm(
        name=headline(issue)[:_MAX_NAME_CHARS],
        condition=condition,
        answer=holding_answer([one.text for one in issue.sighting.typical]),
        tenant=issue.tenant,
    )


def holding_answer(texts: Sequence[str]) -> str:
    """Return what can be said before anybody knows more, in the language of the texts.

    Examples
    --------
    >>> holding_answer(["优惠券不能用", "结账时优惠券无效"])
    '这个问题我们已经知道，正在处理，请您稍后再试。'
    """
    import re

    chinese = sum(bool(re.search(rf"[{HAN}]", text)) for text in texts)
    return _HOLDING["zh" if chinese * 2 > len(texts) else "en"]

"""The step of a dialogue turn that obeys keyword rules, before any model is asked."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from closedloop.core.privacy import names_a_person
from closedloop.data.event import Event, Kind
from closedloop.defence.rules.rule import Act
from closedloop.models.prediction import Prediction
from closedloop.serve.event_writer import EventWriter
from closedloop.serve.rule_shadow import RuleShadow
from closedloop.serve.rulings import Rules, Rulings, told_of
from closedloop.serve.turns import Decision

if TYPE_CHECKING:
    from closedloop.serve.turns import OpenTurn


class RuleStep:
    """Decides a turn where a rule does; each decision is an event.

    Parameters
    ----------
    rules : callable
        Returns the rules that apply now.
    writer : EventWriter
        Says whether there is room for events.
    mask : callable
        Replaces personal data in a text.
    pseudonym : callable
        Takes (user id, tenant) and returns what is stored for the user.
    shadow : RuleShadow
        Writes the events, with what the models would have said.
    """

    def __init__(
        self,
        *,
        rules: Rules,
        writer: EventWriter,
        mask: Callable[[str], str],
        pseudonym: Callable[[str, str], str],
        shadow: RuleShadow,
    ) -> None:
        self._shadow = shadow
        self._rules = rules
        self._writer = writer
        self._mask = mask
        self._pseudonym = pseudonym

    async def take(self, turn: OpenTurn) -> Decision | None:
        """Decide the turn, or leave it to the models; raises Overloaded as they do."""
        rules = self._rules()
        if not rules.reach(turn.tenant):
            return None
        text, channel = self._mask(turn.request.text), turn.request.channel
        rule = rules.apply(text, tenant=turn.tenant, channel=channel).decides
        if rule is None:
            turn.note("rule", "no rule applies")
            return None
        self._writer.check_room(1)
        label = rule.value if rule.act is Act.INTENT else None
        rulings = Rulings(rules, [text], tenant=turn.tenant, channel=channel)
        [event] = rulings.noted([self._event(turn, text, label)])
        self._shadow.write(event, turn.models, least=turn.request.min_confidence)
        turn.note("rule", f"“{rule.name}” applies")
        told: dict[str, Any] = {
            "label": label,
            "confidence": 1.0 if label else None,
            "prediction_id": event.event_id,
            "rule_id": rule.id,
            "rule": told_of(rule),
        }
        return Decision(by="rule", told=told)

    def _event(self, turn: OpenTurn, text: str, label: str | None) -> Event:
        request, tenant = turn.request, turn.tenant
        stamp = turn.stamp.part("rule", lambda _: {})
        dialogue_id = request.dialogue_id
        if dialogue_id and names_a_person(dialogue_id):
            dialogue_id = self._pseudonym(dialogue_id, tenant)
        return Event(
            event_id=stamp.event_id(0),
            ts=datetime.now(UTC),
            tenant=tenant,
            kind=Kind.PREDICTION,
            channel=request.channel,
            dialogue_id=dialogue_id,
            turn=request.turn,
            user_id=request.user_id and self._pseudonym(request.user_id, tenant),
            text=text,
            attributes=stamp.attributes(Prediction(label=label or "", confidence=1.0, top=())),
        )

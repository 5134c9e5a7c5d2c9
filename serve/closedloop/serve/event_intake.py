"""The door for events that clients send: checked one by one, masked, under pseudonyms.

The same door as for the rows of a file (`closedloop.data.ingest`), with the same limits.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from closedloop.core.identity import ApiKey
from closedloop.core.privacy import names_a_person
from closedloop.data.event import Event, Kind, new_event_id
from closedloop.data.log_file import Refused
from closedloop.serve.http.event_messages import EventIn, EventOutcome

_COPIED = (
    "channel",
    "turn",
    "image_phash",
    "model",
    "model_version",
    "prediction",
    "confidence",
    "rule_id",
    "feedback",
    "refers_to",
    "latency_ms",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Intake:
    """What passed the door and what did not, with each one's place in the request."""

    events: list[Event] = field(default_factory=list)
    indexes: list[int] = field(default_factory=list)  # of `events`
    outcomes: list[EventOutcome] = field(default_factory=list)  # of what was refused
    refused: list[Refused] = field(default_factory=list)  # as dead letters


class EventIntake:
    """Takes batches through the door; holds no state.

    Parameters
    ----------
    mask : callable
        Replaces personal data in a text.
    pseudonym : callable
        Takes (user id, tenant) and returns what is stored for the user.
    """

    def __init__(self, *, mask: Callable[[str], str], pseudonym: Callable[[str, str], str]) -> None:
        self._mask = mask
        self._pseudonym = pseudonym

    def take(self, key: ApiKey, sent: Sequence[Any]) -> Intake:
        """Check each event by itself and make what is stored of it.

        Parameters
        ----------
        key : ApiKey
            Whose tenants' events may come.
        sent : sequence
            Decoded JSON, whatever it is.
        """
        taken = Intake()
        now = datetime.now(UTC)
        for index, each in enumerate(sent):
            try:
                event = EventIn.model_validate(each)
            except ValidationError as error:
                self._refuse(taken, index, each, *_first_problem(error))
                continue
            tenant = event.tenant or ("" if key.tenant == "*" else key.tenant)
            if not tenant:
                reason = "tenant: this key reaches all tenants, so that an event must name its own"
                self._refuse(taken, index, each, reason, "Add 'tenant' to the event.")
            elif not key.reaches(tenant):
                reason = f"tenant: the key does not reach the tenant {tenant!r}"
                self._refuse(taken, index, each, reason, "Leave 'tenant' out, or use its own key.")
            else:
                taken.events.append(self._stored(event, tenant, now))
                taken.indexes.append(index)
        return taken

    def _stored(self, sent: EventIn, tenant: str, now: datetime) -> Event:
        ts = sent.ts or now
        dialogue_id = sent.dialogue_id
        if dialogue_id and names_a_person(dialogue_id):
            dialogue_id = self._pseudonym(dialogue_id, tenant)
        return Event(
            event_id=sent.event_id or new_event_id(at=ts),
            ts=ts,
            tenant=tenant,
            kind=Kind(sent.kind),
            dialogue_id=dialogue_id,
            user_id=self._pseudonym(sent.user_id, tenant) if sent.user_id else None,
            text=self._mask(sent.text.replace("\x00", "")) if sent.text else None,
            attributes={
                self._mask(name): self._mask(value) for name, value in sent.attributes.items()
            },
            **{name: getattr(sent, name) for name in _COPIED},
        )

    def _refuse(self, taken: Intake, index: int, sent: Any, reason: str, remedy: str) -> None:
        raw = json.dumps(sent, ensure_ascii=False, default=str)
        taken.refused.append(Refused(line=index + 1, reason=_storable(reason), raw=_storable(raw)))
        taken.outcomes.append(
            EventOutcome(index=index, status="refused", reason=_storable(reason), remedy=remedy)
        )


def _first_problem(error: ValidationError) -> tuple[str, str]:
    """Return what is wrong with an event, without its content, and what to do about it."""
    problem = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(str(part) for part in problem["loc"])
    told = str(problem["msg"]).removeprefix("Value error, ")
    remedy = f"Correct '{where}'" if where else "Correct the event"
    return f"{where}: {told}" if where else told, f"{_storable(remedy)} and send it again."


def _storable(text: str) -> str:
    """Return a text without lone surrogates, which neither a log nor an answer can hold."""
    return text.encode("utf-8", "replace").decode()

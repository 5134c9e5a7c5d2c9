"""The events that an answered request leaves in the log."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Literal

from closedloop.core.privacy import names_a_person
from closedloop.data.event import Event, Kind
from closedloop.models.model_version import Champion
from closedloop.models.prediction import Prediction
from closedloop.serve.http.messages import PredictRequest
from closedloop.serve.stamp import NEW, Stamp


def prediction_events(
    champion: Champion,
    request: PredictRequest,
    answered: Iterable[tuple[str, str, Prediction]],
    *,
    pseudonym: Callable[[str, str], str],
    latency_ms: float,
    stamp: Stamp = NEW,
) -> list[Event]:
    """Return one event for each text that a version answered.

    Parameters
    ----------
    answered : iterable of (event id, masked text, prediction)
    pseudonym : callable
        Takes (user id, tenant) and returns what is stored for the user, and for a dialogue
        whose id names a person.
    latency_ms : float
        Of the whole request, which its texts share.
    stamp : Stamp
        What they say of the call.
    """
    now = datetime.now(UTC)
    tenant = champion.ref.tenant
    user_id = request.user_id and pseudonym(request.user_id, tenant)
    dialogue_id = request.dialogue_id
    if dialogue_id and names_a_person(dialogue_id):
        dialogue_id = pseudonym(dialogue_id, tenant)
    return [
        Event(
            event_id=event_id,
            ts=now,
            tenant=tenant,
            kind=Kind.PREDICTION,
            channel=request.channel,
            dialogue_id=dialogue_id,
            turn=request.turn,
            user_id=user_id,
            text=text,
            model=str(champion.ref),
            model_version=champion.version,
            prediction=answer.label,
            confidence=float(answer.confidence),
            latency_ms=latency_ms,
            attributes=stamp.attributes(answer),
        )
        for event_id, text, answer in answered
    ]


def feedback_event(
    prediction: Event,
    feedback: Literal["up", "down"],
    *,
    comment: str | None,
    stamp: Stamp = NEW,
) -> Event:
    """Return the event of a user's word on an answer.

    It repeats the prediction, so that a bad case names its text and version without a join.

    Parameters
    ----------
    comment : str or None
        Masked already.
    """
    return Event(
        event_id=stamp.event_id(0),
        ts=datetime.now(UTC),
        tenant=prediction.tenant,
        kind=Kind.FEEDBACK,
        channel=prediction.channel,
        dialogue_id=prediction.dialogue_id,
        turn=prediction.turn,
        user_id=prediction.user_id,
        text=prediction.text,
        model=prediction.model,
        model_version=prediction.model_version,
        prediction=prediction.prediction,
        confidence=prediction.confidence,
        feedback=feedback,
        refers_to=prediction.event_id,
        attributes=stamp.identity | ({"comment": comment} if comment else {}),
    )

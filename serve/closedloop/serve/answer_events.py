"""The events that an answered request leaves in the log."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal

from closedloop.data.event import Event, Kind
from closedloop.models.prediction import Prediction
from closedloop.models.registry import Champion
from closedloop.models.trial import Stage
from closedloop.serve.messages import PredictRequest
from closedloop.serve.stamp import NEW, Stamp


def prediction_events(
    champion: Champion,
    request: PredictRequest,
    answered: Iterable[tuple[str, str, Prediction]],
    *,
    user_id: str | None,
    latency_ms: float,
    stamp: Stamp = NEW,
) -> list[Event]:
    """Return one event for each text that a champion answered.

    Parameters
    ----------
    answered : iterable of (event id, masked text, prediction)
    user_id : str or None
        The user's pseudonym.
    latency_ms : float
        Of the whole request, which its texts share.
    stamp : Stamp
        What they say of the call.
    """
    now = datetime.now(UTC)
    return [
        Event(
            event_id=event_id,
            ts=now,
            tenant=champion.ref.tenant,
            kind=Kind.PREDICTION,
            channel=request.channel,
            dialogue_id=request.dialogue_id,
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


def trial_attributes(
    *, stage: Stage, champion: int, trial: int, by: Literal["champion", "trial"]
) -> dict[str, str]:
    """Return what an event says of the trial that its model was on; the values are text.

    ========================================= ===================================================
    ``trial_stage``                           ``shadow`` or ``canary``
    ``champion_version``, ``trial_version``   the two versions that are compared
    ``answered_by``                           ``champion`` or ``trial``: whose answer was given
    ``champion_prediction``, ``…_confidence`` the champion's answer
    ``trial_prediction``, ``…_confidence``    the answer of the version on trial
    ``champion_problem``, ``trial_problem``   in the place of an answer: why there is none
    ========================================= ===================================================

    The answers are added as they come.
    """
    return {
        "trial_stage": stage.value,
        "champion_version": str(champion),
        "trial_version": str(trial),
        "answered_by": by,
    }


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

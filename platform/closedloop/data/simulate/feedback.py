"""How simulated customers rate the answers they get."""

from __future__ import annotations

from functools import cache
from random import Random

from closedloop.data.simulate.catalogue import intents
from closedloop.data.simulate.dialogues import SimulatedTurn

# Few people rate at all, and those who got a wrong answer are far more eager to.
_UP_IF_RIGHT, _DOWN_IF_RIGHT = 0.09, 0.008
_UP_IF_WRONG, _DOWN_IF_WRONG = 0.006, 0.38
# A neighbouring intent's answer still helps some customers.
_DOWN_IF_NEAR = 0.28


@cache
def _domains() -> dict[str, str]:
    return {intent.name: intent.domain for intent in intents()}


def simulate_user_feedback(turn: SimulatedTurn, predicted_intent: str, rng: Random) -> str | None:
    """Return a customer's thumb for the answer to a turn, or None as most give none.

    Parameters
    ----------
    turn : SimulatedTurn
        What the customer said, with the true intent.
    predicted_intent : str
        What the assistant took it for.
    rng : Random
        Where chance comes from.

    Returns
    -------
    str or None
        ``"up"``, ``"down"`` or None.

    Examples
    --------
    >>> from closedloop.data.simulate.dialogues import simulate_turns
    >>> from closedloop.data.simulate.scenario import Scenario
    >>> turn = next(simulate_turns(Scenario(turns=1)))
    >>> thumbs = [simulate_user_feedback(turn, "nonsense", Random(seed)) for seed in range(100)]
    >>> thumbs.count("down") > 20
    True
    """
    if turn.role != "user":
        return None
    if predicted_intent == turn.intent:
        up, down = _UP_IF_RIGHT, _DOWN_IF_RIGHT
    else:
        near = _domains().get(predicted_intent) == _domains().get(turn.intent, "burst")
        up, down = _UP_IF_WRONG, _DOWN_IF_NEAR if near else _DOWN_IF_WRONG
    lot = rng.random()
    if lot < up:
        return "up"
    return "down" if lot < up + down else None

"""How what replicas count of trials reaches the catalog watcher, and the watcher's totals a person.

A report has a number. One whose answer was lost is sent again as it was, under the same number,
and the watcher adds it up once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from closedloop.core.errors import EngineError, first_line
from closedloop.serve.trials.counts import Tally, TrialKey
from closedloop.serve.trials.desk import TrialDesk

logger = logging.getLogger(__name__)

_ANSWER_S = 10.0


async def report(find_watcher: Callable[[], Any], desk: TrialDesk, *, every_s: float = 0.5) -> None:
    """Send the watcher what a replica counts of its trials, until cancelled.

    Nothing is sent where nothing is on trial; what could not be sent is sent later.

    Parameters
    ----------
    find_watcher : callable
        Returns the actor's handle; called in a thread, again when the actor is lost.
    """
    from ray.exceptions import RayError

    reporter, number = str(uuid4()), 0
    watcher: Any = None
    unsent: dict[TrialKey, Tally] = {}
    while True:
        await asyncio.sleep(every_s)
        desk.sweep()
        if not unsent:
            unsent = desk.take()
            number += 1
        if not unsent:
            continue
        try:
            if watcher is None:
                watcher = await asyncio.to_thread(find_watcher)
            await watcher.count.remote(unsent, reporter, number)
        except (RayError, ValueError, TimeoutError) as error:
            logger.warning("the catalog watcher does not take counts: %s", error)
            watcher = None
        else:
            unsent = {}


def trial_totals() -> dict[TrialKey, Tally]:
    """Return what the cluster's watcher counted of every trial; this process has joined Ray.

    Raises
    ------
    EngineError
        There is no watcher, or it does not answer.
    """
    import ray
    from ray.exceptions import RayError

    from closedloop.serve.catalog_watcher import ACTOR_NAME, NAMESPACE

    try:
        actor: Any = ray.get_actor(ACTOR_NAME, namespace=NAMESPACE)
        totals: dict[TrialKey, Tally] = ray.get(actor.trial_totals.remote(), timeout=_ANSWER_S)
    except (ValueError, RayError, TimeoutError) as error:
        raise EngineError(
            f"The catalog watcher does not answer: {first_line(error)}",
            remedy="Check 'closedloop status', and that serving is up.",
        ) from error
    return totals

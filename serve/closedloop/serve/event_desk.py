"""Takes batches of clients' events: what passes the door is stored, the rest is buried."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from closedloop.core.api_key import Action, ApiKey
from closedloop.core.errors import Overloaded
from closedloop.data.log_file import Refused
from closedloop.serve.event_intake import EventIntake
from closedloop.serve.event_writer import EventWriter
from closedloop.serve.http.event_messages import EventOutcome, EventsRequest, EventsResponse

_MAX_BURIALS = 8


class EventDesk:
    """One replica's place for events.

    Parameters
    ----------
    writer : EventWriter
        Where events go.
    mask : callable
        Replaces personal data in a text.
    pseudonym : callable
        Takes (user id, tenant) and returns what is stored for the user.
    bury : callable
        Keeps refused events, given (them, source, tenant).
    """

    def __init__(
        self,
        *,
        writer: EventWriter,
        mask: Callable[[str], str],
        pseudonym: Callable[[str, str], str],
        bury: Callable[[Sequence[Refused], str, str], object],
    ) -> None:
        self._writer = writer
        self._intake = EventIntake(mask=mask, pseudonym=pseudonym)
        self._bury = bury
        # One commit to the lake at a time; what waits for it is bounded below.
        self._burying = ThreadPoolExecutor(1, thread_name_prefix="bury")
        self._burials = 0

    async def take(self, key: ApiKey, request: EventsRequest) -> EventsResponse:
        """Store a batch of events; what is accepted is on disk when this returns.

        Raises
        ------
        OutOfScope
            The key may not send events.
        Overloaded
            The event log, or the dead letters, do not keep up; nothing was stored.
        EngineError
            The event log or the lake failed; sending the same event ids again is safe.
        """
        key.require(Action.EVENTS)
        self._writer.check_room(len(request.events))
        if self._burials >= _MAX_BURIALS:
            raise Overloaded(
                "Events are refused faster than they can be kept as dead letters.",
                remedy="Correct what the answers complain about, and send again after a second.",
            )
        taken = await asyncio.to_thread(self._intake.take, key, request.events)
        outcomes = taken.outcomes
        if taken.events:
            places = await asyncio.wrap_future(self._writer.store(taken.events))
            outcomes += [
                EventOutcome(
                    index=index,
                    status="duplicate" if place is None else "accepted",
                    event_id=event.event_id,
                )
                for index, event, place in zip(taken.indexes, taken.events, places, strict=True)
            ]
        if taken.refused:
            await self._keep_refused(key, taken.refused)
        counted = Counter(outcome.status for outcome in outcomes)
        return EventsResponse(
            accepted=counted["accepted"],
            duplicates=counted["duplicate"],
            refused=counted["refused"],
            events=sorted(outcomes, key=lambda outcome: outcome.index),
        )

    async def _keep_refused(self, key: ApiKey, refused: Sequence[Refused]) -> None:
        tenant = "default" if key.tenant == "*" else key.tenant
        self._burials += 1
        try:
            await asyncio.get_running_loop().run_in_executor(
                self._burying, self._bury, refused, f"api {key.client}", tenant
            )
        finally:
            self._burials -= 1

    def close(self) -> None:
        """Bury what waits and end the thread."""
        self._burying.shutdown(wait=True)

"""Refuses work before it waits too long: how long the event loop takes for one turn decides.

A replica answers short texts on its event loop. What arrives while the loop is busy waits in
sockets, where it cannot be counted; but the loop takes up all of it in its next turn, one after
the other. So the length of a turn is the queue, in seconds. When turns are longer than a budget,
each turn answers for as long as its budget lasts, and refuses the rest at once: an accepted
request then has waited for one turn and a part of the next, however many come.

A long turn alone is no overload: a machine pauses now and then, and the queue behind it drains.
Only when turns have been too long for ``patience_s``, one after the other, something is refused.
Then a tenant gets at most ``greed`` times the time that is left in a turn, by the rule of
`FairShare`: the one that takes most is refused first, and others still find time.

References
----------
K. Nichols and V. Jacobson, "Controlling Queue Delay", ACM Queue 10(5), 2012 (RFC 8289): delay, not
length, tells a queue that stands from one that drains. B. Maurer, "Fail at Scale", ACM Queue
13(8), 2015: the same for requests, with refusal at once. H. Zhou et al., "Overload Control for
Scaling WeChat Microservices", SoCC 2018: queueing time as the measure, refusal by sender.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable


class LoadShedder:
    """Decides, request by request, what one turn of the event loop still takes on.

    Parameters
    ----------
    budget_s : float
        What a turn may spend on answers while there is more than it can answer.
    call_soon : callable
        The event loop's: runs a function behind all that is ready now, which is a turn's end.
    patience_s : float
        For how long turns must be too long before anything is refused.
    greed : float
        A tenant's share of a turn, as in `FairShare`; what it leaves free is not lost, as the next
        turn follows at once.

    Examples
    --------
    >>> ends, now = [], [0.0]
    >>> shedder = LoadShedder(budget_s=0.1, call_soon=ends.append, clock=lambda: now[0])
    >>> shedder.admits("shop")
    True
    """

    def __init__(
        self,
        *,
        budget_s: float,
        call_soon: Callable[[Callable[[], None]], object],
        patience_s: float = 0.5,
        greed: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._budget_s = budget_s
        self._call_soon = call_soon
        self._patience_s = patience_s
        self._greed = greed
        self._clock = clock
        self._began_at: float | None = None  # this turn; None until its first request
        self._ended_at = clock()  # the last turn
        self._over_since: float | None = None  # turns have been too long
        self._last_at = 0.0
        self._last: str | None = None  # tenant of the last request, None where it was refused
        self._spent_s: defaultdict[str, float] = defaultdict(float)
        self._refused = False
        self._shedding = False

    @property
    def shedding(self) -> bool:
        """Whether there is more than can be answered."""
        return self._shedding

    @property
    def turn_s(self) -> float:
        """For how long this turn has been going on: what a request taken up now has waited."""
        return 0.0 if self._began_at is None else self._clock() - self._began_at

    def admits(self, tenant: str) -> bool:
        """Tell whether a request that has just been taken up is to be answered."""
        now = self._clock()
        if self._began_at is None:
            self._begin_turn(now)
        elif self._last is not None:  # the time since then went into its answer
            self._spent_s[self._last] += now - self._last_at
        self._judge(now)
        admits = not self._shedding or self._has_time(tenant)
        self._refused |= not admits
        self._last_at, self._last = now, tenant if admits else None
        return admits

    def _begin_turn(self, now: float) -> None:
        self._began_at = now
        self._call_soon(self._end_turn)
        if now - self._ended_at > self._budget_s:  # nobody waited in between
            self._over_since, self._shedding = None, False

    def _judge(self, now: float) -> None:
        assert self._began_at is not None
        if self._over_since is None and now - self._began_at > self._budget_s:
            self._over_since = self._began_at
        if self._over_since is not None and now - self._over_since > self._patience_s:
            self._shedding = True

    def _has_time(self, tenant: str) -> bool:
        left_s = self._budget_s - sum(self._spent_s.values())
        return self._spent_s[tenant] < self._greed * left_s

    def _end_turn(self) -> None:
        self._ended_at = self._clock()
        self._judge(self._ended_at)
        assert self._began_at is not None
        if not self._refused and self._ended_at - self._began_at <= self._budget_s:
            self._over_since, self._shedding = None, False
        self._began_at, self._last, self._refused = None, None, False
        self._spent_s.clear()

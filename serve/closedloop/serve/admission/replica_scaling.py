"""How many requests a replica has, and how many replicas that asks for.

Ray Serve counts a replica's requests now and then, from the replica's own event loop. It never
sees those that are answered within one step of the loop, and so would find a replica idle that
answers nothing but short texts all day. Their number is found from the time they spend instead:
by Little's law, the mean number of requests in a system is the time that all of them spent there
in a second.

References
----------
J. D. C. Little, "A Proof for the Queuing Formula: L = λW", Operations Research 9(3), 1961.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ray.serve.config import AutoscalingContext

METRIC = "closedloop_requests_in_replica"


class LoadMeter:
    """Measures the mean number of requests that wait or are answered.

    Examples
    --------
    >>> now = [0.0]
    >>> meter = LoadMeter(clock=lambda: now[0])
    >>> meter.enter(waited_s=0.5)
    >>> now[0] = 1.5
    >>> meter.leave()
    >>> now[0] = 2.0
    >>> meter.take()  # two seconds of one request in two
    1.0
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._inside = 0
        self._spent_s = 0.0  # by all requests since the last `take`
        self._counted_to = self._taken_at = clock()

    def enter(self, *, waited_s: float = 0.0) -> None:
        """Count a request from now on, and what it has waited before."""
        self._count()
        self._inside += 1
        self._spent_s += waited_s

    def leave(self) -> None:
        """Count one request less from now on."""
        self._count()
        self._inside -= 1

    def take(self) -> float:
        """Return the mean number of requests since this was last called."""
        self._count()
        seconds = self._counted_to - self._taken_at
        mean = self._spent_s / seconds if seconds > 0 else float(self._inside)
        self._spent_s, self._taken_at = 0.0, self._counted_to
        return mean

    def _count(self) -> None:
        now = self._clock()
        self._spent_s += self._inside * (now - self._counted_to)
        self._counted_to = now


def desired_replicas(context: AutoscalingContext) -> tuple[float, dict[str, Any]]:
    """Return how many replicas would have the aimed number of requests each.

    Ray Serve calls it, and applies the bounds and delays itself. Where nothing is known, as after
    a restart of its controller, nothing is changed.
    """
    measured = (context.aggregated_metrics or {}).get(METRIC)
    if not measured or context.config is None:
        return context.target_num_replicas, {}
    return sum(measured.values()) / context.config.target_ongoing_requests, {}

"""Slows down whoever guesses passwords.

After five wrong attempts on one name within the window, that name is refused for half a
minute, and for twice as long after each further failure, up to a quarter of an hour. The
refusal comes before the password is looked at, so it also saves the cost of hashing.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from closedloop.core.errors import NotAllowed

FREE_ATTEMPTS = 5
FIRST_WAIT_S = 30.0
LONGEST_WAIT_S = 900.0
_WINDOW_S = 3600.0  # after an hour of quiet a name starts afresh
_MAX_NAMES = 10_000  # an attacker who varies the name must not fill the memory


@dataclass(frozen=True, kw_only=True, slots=True)
class _Failures:
    count: int = 0
    last_at: float = float("-inf")
    refused_until: float = float("-inf")


class LoginGuard:
    """Failed log-ins by name, for one app process.

    Parameters
    ----------
    clock : callable, optional
        Returns seconds; tests move it by hand.

    Examples
    --------
    >>> guard = LoginGuard()
    >>> guard.check("ann")   # raises NotAllowed after repeated failures
    >>> guard.failed("ann")
    >>> guard.succeeded("ann")
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: OrderedDict[str, _Failures] = OrderedDict()
        self._lock = threading.Lock()

    def check(self, name: str) -> None:
        """Let an attempt through or refuse it.

        Raises
        ------
        NotAllowed
            This name has failed too often; the message says how long to wait.
        """
        with self._lock:
            wait_s = self._of(name).refused_until - self._clock()
        if wait_s > 0:
            raise NotAllowed(
                "Too many wrong attempts for this name.",
                remedy=f"Wait {wait_s:.0f} seconds, then try again.",
            )

    def failed(self, name: str) -> None:
        """Count a wrong password."""
        now = self._clock()
        with self._lock:
            count = self._of(name).count + 1
            wait_s = 0.0
            if count >= FREE_ATTEMPTS:
                wait_s = min(FIRST_WAIT_S * 2.0 ** (count - FREE_ATTEMPTS), LONGEST_WAIT_S)
            self._failures[_key(name)] = _Failures(
                count=count, last_at=now, refused_until=now + wait_s
            )
            self._failures.move_to_end(_key(name))
            while len(self._failures) > _MAX_NAMES:
                self._failures.popitem(last=False)

    def succeeded(self, name: str) -> None:
        """Forget a name's failures."""
        with self._lock:
            self._failures.pop(_key(name), None)

    def _of(self, name: str) -> _Failures:
        found = self._failures.get(_key(name), _Failures())
        return found if self._clock() - found.last_at < _WINDOW_S else _Failures()


def _key(name: str) -> str:
    return name.strip().casefold()

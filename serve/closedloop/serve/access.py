"""Who may ask, and how often: API keys checked off the event loop, one bucket a key."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from closedloop.core.errors import NotAllowed
from closedloop.core.identity import ApiKey

_MAX_CACHED = 10_000
_MAX_KEY_CHARS = 200
_KEEP_REFUSED_S = 1.0


class KeyRing:
    """Answers which key a request presents, remembering the answer for a few seconds.

    A revoked key is therefore refused ``keep_s`` seconds later at most. Refusals are kept for
    one second, so that a client with a wrong key does not turn into load on the store.

    Parameters
    ----------
    check : callable
        Asks the store, blocking; raises NotAllowed.
    """

    def __init__(
        self,
        check: Callable[[str], ApiKey],
        *,
        keep_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._check = check
        self._keep_s = keep_s
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[float, ApiKey | NotAllowed]] = OrderedDict()

    async def verify(self, authorization: str) -> ApiKey:
        """Return the key of an ``Authorization`` header.

        Raises
        ------
        NotAllowed
            There is no bearer token, or it is no valid key.
        EngineError
            The store did not answer.
        """
        scheme, _, presented = authorization.partition(" ")
        presented = presented.strip()
        if scheme.lower() != "bearer" or len(presented) > _MAX_KEY_CHARS:
            presented = ""
        # The memory of a replica holds hashes, not keys.
        digest = hashlib.sha256(presented.encode()).digest()
        until, answer = self._known.get(digest, (float("-inf"), None))
        if answer is None or until < self._clock():
            answer = await self._ask(presented)
            keep_s = self._keep_s if isinstance(answer, ApiKey) else _KEEP_REFUSED_S
            self._known[digest] = (self._clock() + keep_s, answer)
            self._known.move_to_end(digest)
            if len(self._known) > _MAX_CACHED:
                self._known.popitem(last=False)
        if isinstance(answer, NotAllowed):
            raise NotAllowed(answer.message, remedy=answer.remedy)
        return answer

    async def _ask(self, presented: str) -> ApiKey | NotAllowed:
        try:
            return await asyncio.to_thread(self._check, presented)
        except NotAllowed as refusal:
            return refusal


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_at: float


class RateLimit:
    """A token bucket a key: ``burst`` requests at once, ``rate_per_s`` sustained.

    Examples
    --------
    >>> limit = RateLimit(rate_per_s=1, burst=1, clock=lambda: 0.0)
    >>> limit.take("app"), limit.take("app")
    (0.0, 1.0)
    """

    def __init__(
        self, *, rate_per_s: float, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}

    def take(self, key_id: str) -> float:
        """Take one request's token; return 0, or the seconds until there is one."""
        now = self._clock()
        bucket = self._buckets.setdefault(key_id, _Bucket(float(self._burst), now))
        gained = (now - bucket.filled_at) * self._rate_per_s
        bucket.tokens = min(self._burst, bucket.tokens + gained)
        bucket.filled_at = now
        if bucket.tokens < 1:
            return (1 - bucket.tokens) / self._rate_per_s
        bucket.tokens -= 1
        return 0.0

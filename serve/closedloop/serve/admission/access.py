"""Who may ask, and how often: API keys checked off the event loop, a bucket a key and a tenant."""

from __future__ import annotations

import asyncio
import binascii
import hashlib
import time
from base64 import b64decode
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from closedloop.core.api_key import ApiKey
from closedloop.core.errors import NotAllowed, Overloaded
from closedloop.serve.options import ServingOptions

_MAX_CACHED = 10_000
_MAX_KEY_CHARS = 200
_KEEP_REFUSED_S = 1.0
_FEW_BUCKETS = 1_000


def as_bearer(authorization: str) -> str:
    """Return an ``Authorization`` header with the password of HTTP Basic as a bearer token.

    A browser asks for a name and a password where it is refused a page: the password is the key,
    the name does not matter. Only for pages that change nothing: a browser sends what it was told
    along with requests that other sites cause.

    Examples
    --------
    >>> as_bearer("Basic YW5uOmNsXzFfc2VjcmV0")
    'Bearer cl_1_secret'
    """
    scheme, _, presented = authorization.partition(" ")
    if scheme.lower() != "basic":
        return authorization
    try:
        told = b64decode(presented.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        return ""
    return f"Bearer {told.partition(':')[2]}"


class KeyRing:
    """Answers which key a request presents, remembering the answer for a few seconds.

    A revoked key is therefore refused ``keep_s`` seconds later at most; one that expires, at that
    moment. Refusals are kept for one second, so that a client with a wrong key does not turn into
    load on the store.

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
            self._known[digest] = (self._clock() + self._keeps_s(answer), answer)
            self._known.move_to_end(digest)
            if len(self._known) > _MAX_CACHED:
                self._known.popitem(last=False)
        if isinstance(answer, NotAllowed):
            raise NotAllowed(answer.message, remedy=answer.remedy)
        return answer

    def _keeps_s(self, answer: ApiKey | NotAllowed) -> float:
        if isinstance(answer, NotAllowed):
            return _KEEP_REFUSED_S
        if answer.expires_at is None:
            return self._keep_s
        return min(self._keep_s, answer.expires_at - time.time())

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
    """A token bucket a name: ``burst`` requests at once, ``rate_per_s`` sustained.

    A bucket that nobody has taken from for so long that it is full again is forgotten: it is what
    a new one would be.

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
        self._forget_above = _FEW_BUCKETS

    def __len__(self) -> int:
        """Return how many buckets are in memory."""
        return len(self._buckets)

    def take(self, name: str) -> float:
        """Take one request's token; return 0, or the seconds until there is one."""
        now = self._clock()
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = _Bucket(float(self._burst), now)
            if len(self._buckets) > self._forget_above:
                self._forget_full(now)
        gained = (now - bucket.filled_at) * self._rate_per_s
        bucket.tokens = min(self._burst, bucket.tokens + gained)
        bucket.filled_at = now
        if bucket.tokens < 1:
            return (1 - bucket.tokens) / self._rate_per_s
        bucket.tokens -= 1
        return 0.0

    def give_back(self, name: str) -> None:
        """Return a token that was taken for a request that did not go on."""
        bucket = self._buckets.get(name)
        if bucket is not None:
            bucket.tokens = min(self._burst, bucket.tokens + 1)

    def _forget_full(self, now: float) -> None:
        """Drop what is as good as new, but the newest; on average a new name pays a constant."""
        newest = next(reversed(self._buckets))
        self._buckets = {
            name: bucket
            for name, bucket in self._buckets.items()
            if name == newest
            or bucket.tokens + (now - bucket.filled_at) * self._rate_per_s < self._burst
        }
        self._forget_above = max(_FEW_BUCKETS, 2 * len(self._buckets))


class Quotas:
    """What one key may send, and what all keys of a tenant may send together.

    Keys that reach every tenant have one quota in common.
    """

    def __init__(
        self, options: ServingOptions, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._options = options
        self._keys = RateLimit(
            rate_per_s=options.rate_per_key_s, burst=options.burst_per_key, clock=clock
        )
        self._tenants = RateLimit(
            rate_per_s=options.rate_per_tenant_s, burst=options.burst_per_tenant, clock=clock
        )

    def take(self, key: ApiKey) -> None:
        """Count one request.

        Raises
        ------
        Overloaded
            The key or its tenant sends more than its rate; it says when the next one may come.
        """
        wait_s = self._keys.take(key.id)
        if wait_s > 0:
            raise Overloaded(
                f"The key of {key.client!r} sends more than"
                f" {self._options.rate_per_key_s:g} requests per second.",
                remedy="Slow down, or send several texts in one request.",
                retry_after_s=wait_s,
            )
        wait_s = self._tenants.take(key.tenant)
        if wait_s > 0:
            self._keys.give_back(key.id)
            raise Overloaded(
                f"The keys of the tenant {key.tenant!r} together send more than"
                f" {self._options.rate_per_tenant_s:g} requests per second.",
                remedy="Slow down, or send several texts in one request.",
                retry_after_s=wait_s,
            )

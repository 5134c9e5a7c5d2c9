"""Who clusters which tenant: tenants fall into slots for good, slots are dealt out to shards.

A slot is what moves when shards are added or removed: one file holds all that is known of its
tenants. There are more slots than shards by far, so that shards carry about the same number.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

from closedloop.core.errors import InputError

SLOTS = 64  # never to be changed: the slot files of a home were made with it


@lru_cache(maxsize=100_000)
def slot_of(tenant: str) -> int:
    """Return a tenant's slot, the same in every process and release.

    Examples
    --------
    >>> slot_of("shop") == slot_of("shop") < SLOTS
    True
    """
    digest = hashlib.blake2b(tenant.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % SLOTS


def dealt(shards: int) -> tuple[tuple[int, ...], ...]:
    """Return each shard's slots.

    Shards are added one by one, and each takes its share from those that have most, so that
    adding one, or taking the last one away, moves no slot between the others.

    Raises
    ------
    InputError
        There is no such number of shards.

    Examples
    --------
    >>> [len(slots) for slots in dealt(3)]
    [22, 21, 21]
    """
    if not 1 <= shards <= SLOTS:
        raise InputError(
            f"{shards} shards cannot cluster the stream.", remedy=f"Give 1 to {SLOTS} shards."
        )
    held: list[list[int]] = [list(range(SLOTS))]
    for there in range(1, shards):
        taken = []
        for _ in range(SLOTS // (there + 1)):
            fullest = max(range(there), key=lambda shard: (len(held[shard]), -shard))
            taken.append(held[fullest].pop())
        held.append(sorted(taken))
    return tuple(tuple(slots) for slots in held)

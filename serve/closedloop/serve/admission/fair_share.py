"""How many of a replica's places one tenant may hold: as many as leave some for the others."""

from __future__ import annotations

from collections import Counter


class FairShare:
    """Places that tenants share by dynamic thresholds.

    A tenant may hold at most ``greed`` times what is free. One tenant alone gets nearly all; a
    second one always finds a place, and what the first holds above its share is not given again
    when it comes back. With `n` tenants that want all they can get, each holds
    ``capacity * greed / (1 + n * greed)``. Nothing has to know how many tenants there are.

    Parameters
    ----------
    capacity : int
        Places altogether.
    greed : float
        8 leaves a ninth free of a tenant that is alone.

    References
    ----------
    A. K. Choudhury and E. L. Hahne, "Dynamic queue length thresholds for shared-memory packet
    switches", IEEE/ACM Transactions on Networking 6(2), 1998.

    Examples
    --------
    >>> places = FairShare(9, greed=2)
    >>> [places.take("storm") for _ in range(8)].count(True)
    6
    >>> places.take("calm")
    True
    """

    def __init__(self, capacity: int, *, greed: float = 8.0) -> None:
        self._capacity = capacity
        self._greed = greed
        self._held: Counter[str] = Counter()
        self._taken = 0

    @property
    def taken(self) -> int:
        """Places that are held."""
        return self._taken

    def held_by(self, tenant: str) -> int:
        """Return how many places a tenant holds."""
        return self._held[tenant]

    def take(self, tenant: str) -> bool:
        """Take a place for a tenant; False where it holds its share, or none is free."""
        if self._held[tenant] >= self._greed * (self._capacity - self._taken):
            return False
        self._held[tenant] += 1
        self._taken += 1
        return True

    def give_back(self, tenant: str) -> None:
        """Give one of a tenant's places back."""
        self._held[tenant] -= 1
        self._taken -= 1
        if not self._held[tenant]:
            del self._held[tenant]

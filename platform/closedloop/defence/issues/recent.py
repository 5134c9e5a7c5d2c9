"""A bounded memory of what came last."""

from __future__ import annotations

from typing import Generic, TypeVar

V = TypeVar("V")


class Recent(Generic[V]):
    """The newest keys and their values: at least `limit` of them, at most twice as many.

    Two generations: when the newer one is full it becomes the older one, which is let go. That
    costs a dictionary's step a key, and needs no order.

    Examples
    --------
    >>> memory = Recent[int](limit=2)
    >>> for key in "abcd":
    ...     memory.put(key, ord(key))
    >>> memory.get("c"), memory.get("a")
    (99, 97)
    >>> memory.put("e", 101)
    >>> memory.get("c"), memory.get("a")
    (99, None)
    """

    def __init__(self, *, limit: int) -> None:
        self.limit = limit
        self.newer: dict[str, V] = {}
        self.older: dict[str, V] = {}

    def put(self, key: str, value: V) -> None:
        """Remember a key as the newest."""
        if len(self.newer) >= self.limit and key not in self.newer:
            self.older, self.newer = self.newer, {}
        self.newer[key] = value

    def get(self, key: str) -> V | None:
        """Return a key's value, or None where it is forgotten."""
        value = self.newer.get(key)
        return self.older.get(key) if value is None else value

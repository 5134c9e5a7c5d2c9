"""A bounded memory of what came last."""

from __future__ import annotations

from collections.abc import Iterator


class Recent[V]:
    """The newest keys and their values: at least `limit`, at most twice as many."""

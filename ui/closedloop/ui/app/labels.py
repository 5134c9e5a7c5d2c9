"""Which labels an annotator can choose from."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence

from closedloop.core.errors import ClosedLoopError
from closedloop.core.settings import Settings

_REFRESH_S = 60.0


def known_labels(
    shown: Sequence[str],
    *,
    used: Iterable[str],
    served: Iterable[str] = (),
    proposed: Iterable[str] = (),
) -> list[str]:
    """Return the labels to offer, those already on the screen first and in their order.

    The first nine have number keys. An order by frequency would move them under the
    annotator's fingers, so what was shown keeps its place and new labels come after it.

    Parameters
    ----------
    shown : sequence of str
        Labels that this session has shown for the queue.
    used : iterable of str
        Labels that the queue's votes use, the most frequent first.
    served : iterable of str
        Labels of the champion.
    proposed : iterable of str
        Labels that came with the task, its suggestion among them.

    Examples
    --------
    >>> known_labels(["refund"], used=["delivery", "refund"], proposed=["coupon"])
    ['refund', 'delivery', 'coupon']
    """
    merged = dict.fromkeys(shown)
    for labels in (used, sorted(served), proposed):
        merged.update(dict.fromkeys(label for label in labels if label))
    return list(merged)


class ServedLabels:
    """The labels of each model's champion, read in the background.

    The registry takes seconds to open, which no annotator should wait for: `of` answers at
    once with what is known and refreshes behind the scenes.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._labels: dict[str, tuple[str, ...]] = {}
        self._asked_at: dict[str, float] = {}

    def of(self, queue: str) -> tuple[str, ...]:
        """Return the labels of the model that ``queue`` feeds; empty while unknown."""
        with self._lock:
            stale = time.monotonic() - self._asked_at.get(queue, float("-inf")) > _REFRESH_S
            if stale:
                self._asked_at[queue] = time.monotonic()
        if stale:
            threading.Thread(target=self._refresh, args=(queue,), daemon=True).start()
        return self._labels.get(queue, ())

    def _refresh(self, queue: str) -> None:
        url, file = self._settings.registry_url, self._settings.root / "registry.db"
        if url == f"sqlite:///{file}" and not file.exists():
            return  # looking must not create a registry where nothing was ever trained
        from closedloop.models.reference import ModelRef
        from closedloop.models.registry import Registry
        from closedloop.models.registry_tags import CHAMPION

        try:
            registry = Registry(url, self._settings.artifacts_url)
            champion = registry.resolve(ModelRef.parse(queue), CHAMPION)
        except ClosedLoopError:
            return  # no champion yet, or a queue that feeds no model: nothing to offer
        self._labels[queue] = champion.labels

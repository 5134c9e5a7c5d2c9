"""Sharing a number of picks among clusters, and spreading each share over a cluster's rows.

References
----------
Zhdanov, F. (2019). Diverse mini-batch active learning. arXiv:1901.05954.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from closedloop.samples.cluster import Clustering, fit_kmeans


def allocate(
    weights: npt.NDArray[Any], capacity: npt.NDArray[np.integer], count: int
) -> npt.NDArray[np.intp]:
    """Share ``count`` among groups by weight, one at least while it lasts, none beyond capacity.

    Highest averages (Sainte-Laguë): each place goes to the group with the largest
    weight / (2 · places + 1), so that the shares for a larger count contain those for a smaller.

    Examples
    --------
    >>> allocate(np.array([8.0, 1.0, 1.0]), np.array([3, 9, 9]), 6).tolist()
    [3, 2, 1]
    """
    shares = np.zeros(len(weights), dtype=np.intp)
    open_groups = np.asarray(capacity) > 0
    first = np.argsort(-np.where(open_groups, weights, -1.0), kind="stable")
    for group in first[: min(count, int(open_groups.sum()))]:
        shares[group] = 1
    for _ in range(count - int(shares.sum())):
        average = np.where(shares < capacity, (weights + 1e-12) / (2 * shares + 1), -1.0)
        group = int(average.argmax())
        if average[group] < 0:
            break
        shares[group] += 1
    return shares


def share_and_spread(
    vectors: npt.NDArray[np.float32],
    clustering: Clustering,
    rows: npt.NDArray[np.intp],
    scores: npt.NDArray[np.floating],
    count: int,
    *,
    seed: int,
) -> list[int]:
    """Share ``count`` among the clusters by their rows' scores, and spread each share."""
    labels = clustering.labels[rows]
    sizes = np.bincount(labels, minlength=clustering.clusters)
    weights = np.bincount(labels, weights=scores, minlength=clustering.clusters)
    shares = allocate(weights, sizes, count)
    chosen: list[int] = []
    for cluster in np.flatnonzero(shares):
        inside = labels == cluster
        chosen += spread(
            vectors,
            rows[inside],
            int(shares[cluster]),
            seed=seed,
            weights=scores[inside].astype(np.float64) + 1e-6,
        )
    return chosen


def spread(
    vectors: npt.NDArray[np.float32],
    rows: npt.NDArray[np.intp],
    count: int,
    *,
    seed: int,
    weights: npt.NDArray[np.float64] | None = None,
) -> list[int]:
    """Pick ``count`` of the rows, one from the middle of each of equally many parts."""
    if count >= len(rows):
        return [int(row) for row in rows]
    points = vectors[rows]
    parts = _parts(points, count, seed=seed, weights=weights)
    picks: list[int] = []
    for part in np.unique(parts):
        members = np.flatnonzero(parts == part)
        centre = np.average(
            points[members], axis=0, weights=None if weights is None else weights[members]
        )
        merit = 1.0 - 0.5 * ((points[members] - centre) ** 2).sum(axis=1)
        if weights is not None:  # unsure and central, not central alone
            merit = merit * weights[members]
        picks.append(int(rows[members[merit.argmax()]]))
    # Copies of one text fall in one part, so that parts may be fewer than asked for.
    rest: Sequence[int] = [int(row) for row in rows if int(row) not in set(picks)]
    return picks + list(rest[: count - len(picks)])


def _parts(
    points: npt.NDArray[np.float32],
    count: int,
    *,
    seed: int,
    weights: npt.NDArray[np.float64] | None,
) -> npt.NDArray[np.intp]:
    distinct = len(np.unique(points, axis=0))
    if count == 1 or distinct <= 1:
        return np.zeros(len(points), dtype=np.intp)
    return fit_kmeans(points, min(count, distinct), seed=seed, weights=weights)

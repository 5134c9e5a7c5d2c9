"""Clusters of texts: what a log is about, before anybody has labelled it.

k-means on unit vectors, so that Euclidean distance orders texts as cosine similarity does.
Mini batches above a few thousand rows keep a million texts within minutes.

References
----------
Sculley, D. (2010). Web-scale k-means clustering. WWW.
Arthur, D., Vassilvitskii, S. (2007). k-means++: the advantages of careful seeding. SODA.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans, MiniBatchKMeans

from closedloop.core.errors import InputError

_MINI_BATCH_ABOVE_ROWS = 20_000
_REPRESENTATIVES = 5
_MIN_CLUSTERS, _MAX_CLUSTERS = 2, 150


@dataclass(frozen=True, kw_only=True, slots=True)
class Clustering:
    """``n`` texts in ``k`` clusters, numbered from 0, the largest first."""

    labels: npt.NDArray[np.intp]  # (n,) cluster of each text
    distances: npt.NDArray[np.float32]  # (n,) Euclidean distance to its own centroid
    centroids: npt.NDArray[np.float32]  # (k, dimensions)
    sizes: npt.NDArray[np.intp]  # (k,)
    representatives: tuple[tuple[int, ...], ...]  # row indices nearest each centroid, near first

    @property
    def clusters(self) -> int:
        """How many clusters there are."""
        return len(self.centroids)

    def assign(self, vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.intp]:
        """Nearest cluster of each new vector, shape (m, dimensions)."""
        scores = vectors @ self.centroids.T - 0.5 * (self.centroids**2).sum(axis=1)
        return np.asarray(scores.argmax(axis=1), dtype=np.intp)


def cluster_texts(
    vectors: npt.NDArray[np.float32], *, clusters: int | None = None, seed: int = 0
) -> Clustering:
    """Group texts by k-means on their dense vectors.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n, dimensions)
        Rows of unit length, as ``TextViews.dense`` gives them.
    clusters : int, optional
        How many; by default √n, between 2 and 150: a board that people can still read, and
        fine enough that an intent is seldom smaller than its cluster.
    seed : int
        The same seed gives the same clusters.

    Raises
    ------
    InputError
        When there is no text, or fewer clusters than one are asked for.

    Examples
    --------
    >>> points = np.array([[1, 0], [0.9, 0.1], [0, 1]], dtype=np.float32)
    >>> cluster_texts(points, clusters=2).sizes.tolist()
    [2, 1]
    """
    vectors = np.asarray(vectors, dtype=np.float32)
    if len(vectors) == 0:
        raise InputError("There is no text to cluster.", remedy="Ingest a log first.")
    if clusters is None:
        clusters = int(np.clip(round(len(vectors) ** 0.5), _MIN_CLUSTERS, _MAX_CLUSTERS))
    if clusters < 1:
        raise InputError(f"Cannot make {clusters} clusters.", remedy="Ask for 1 or more.")
    distinct = len(np.unique(vectors, axis=0)) if len(vectors) <= 2 * clusters else clusters
    labels = fit_kmeans(vectors, min(clusters, distinct), seed=seed)
    return _describe(vectors, labels)


def fit_kmeans(
    vectors: npt.NDArray[np.float32],
    clusters: int,
    *,
    seed: int,
    weights: npt.NDArray[np.float64] | None = None,
) -> npt.NDArray[np.intp]:
    """Cluster number of each row; the engine under clustering and selection alike."""
    if len(vectors) > _MINI_BATCH_ABOVE_ROWS:
        engine = MiniBatchKMeans(
            clusters, batch_size=4_096, n_init=3, random_state=seed, reassignment_ratio=0.0
        )
    else:
        engine = KMeans(clusters, n_init=1, max_iter=50, random_state=seed)
    return np.asarray(engine.fit_predict(vectors, sample_weight=weights), dtype=np.intp)


def _describe(vectors: npt.NDArray[np.float32], raw: npt.NDArray[np.intp]) -> Clustering:
    """Renumber clusters by falling size and find each one's centre and members near it."""
    used, first, counts = np.unique(raw, return_index=True, return_counts=True)
    order = np.lexsort((first, -counts))
    number = np.empty(int(used.max()) + 1, dtype=np.intp)
    number[used[order]] = np.arange(len(used))
    labels = number[raw]
    members = [np.flatnonzero(labels == cluster) for cluster in range(len(used))]
    centroids = np.stack([vectors[rows].mean(axis=0) for rows in members]).astype(np.float32)
    distances = np.linalg.norm(vectors - centroids[labels], axis=1).astype(np.float32)
    nearest = tuple(
        tuple(int(row) for row in rows[np.argsort(distances[rows], kind="stable")])[
            :_REPRESENTATIVES
        ]
        for rows in members
    )
    return Clustering(
        labels=labels,
        distances=distances,
        centroids=centroids,
        sizes=counts[order].astype(np.intp),
        representatives=nearest,
    )

"""Which texts people should label next: representative at first, informative after that.

*Seeds* (nobody has labelled anything): every cluster gets a share of the budget that grows with
the square root of its size, and within a cluster the share goes to the centres of equally many
parts of it, so that seeds are typical and unlike each other.

*Informative* (a model exists): the score is how unsure the model is, the gap between its two best
classes. The least sure texts alone would be near copies of each other, so every cluster gets a
share by the unsureness in it, and within a cluster the share is spread by k-means weighted with
the scores.

References
----------
Hacohen, G., Dekel, A., Weinshall, D. (2022). Active learning on a budget: opposite strategies
suit high and low budgets. ICML.
Zhdanov, F. (2019). Diverse mini-batch active learning. arXiv:1901.05954.
Scheffer, T., Decomain, C., Wrobel, S. (2001). Active hidden Markov models. IDA (margin sampling).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from closedloop.core.errors import InputError
from closedloop.samples.cluster import Clustering
from closedloop.samples.spread import allocate, share_and_spread, spread

_CANDIDATES_A_PICK = 10  # k-means spreads its picks among so many times as many unsure texts


@dataclass(frozen=True, kw_only=True, slots=True)
class Selected:
    """A row that should be labelled, and why."""

    row: int
    cluster: int
    score: float  # 1 for the most wanted, falling to 0
    reason: str  # shown to the annotator


def select_seeds(
    vectors: npt.NDArray[np.float32],
    clustering: Clustering,
    *,
    count: int,
    exclude: Iterable[int] = (),
    seed: int = 0,
) -> list[Selected]:
    """Choose typical rows of every cluster, for a log without any label.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n, dimensions)
    clustering : Clustering
        Of the same n rows.
    count : int
        How many rows; fewer come back where the log has fewer.
    exclude : iterable of int
        Rows that are labelled or asked for already.
    seed : int
        The same seed gives the same rows.

    Returns
    -------
    list of Selected
        Round by round over the clusters, the largest first: any prefix is a fair selection.

    Raises
    ------
    InputError
        When vectors and clustering differ in rows.
    """
    free = _free_rows(len(vectors), clustering, exclude)
    sizes = np.bincount(clustering.labels[free], minlength=clustering.clusters)
    shares = allocate(np.sqrt(sizes), sizes, count)
    picks: list[tuple[int, int, int]] = []  # (round, cluster, row)
    for cluster in np.flatnonzero(shares):
        rows = free[clustering.labels[free] == cluster]
        chosen = spread(vectors, rows, int(shares[cluster]), seed=seed)
        chosen.sort(key=lambda row: (float(clustering.distances[row]), row))
        picks.extend((turn, int(cluster), row) for turn, row in enumerate(chosen))
    picks.sort()
    return [
        Selected(
            row=row,
            cluster=cluster,
            score=1.0 - place / len(picks),
            reason=f"centre of cluster {cluster}" if turn == 0 else f"part of cluster {cluster}",
        )
        for place, (turn, cluster, row) in enumerate(picks)
    ]


def select_informative(
    vectors: npt.NDArray[np.float32],
    clustering: Clustering,
    probabilities: npt.NDArray[np.floating],
    *,
    count: int,
    exclude: Iterable[int] = (),
    seed: int = 0,
) -> list[Selected]:
    """Choose rows of every cluster that the model is unsure of and that differ from each other.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n, dimensions)
    clustering : Clustering
        Of the same n rows.
    probabilities : ndarray, shape (n, classes)
        The current model's, for every row.
    count, exclude, seed
        As for :func:`select_seeds`.

    Returns
    -------
    list of Selected
        Least sure first.

    Raises
    ------
    InputError
        When vectors, clustering and probabilities differ in rows.

    Examples
    --------
    >>> from closedloop.samples.cluster import cluster_texts
    >>> points = np.eye(4, dtype=np.float32)
    >>> unsure = np.array([[0.9, 0.1], [0.5, 0.5], [0.8, 0.2], [0.6, 0.4]])
    >>> found = select_informative(points, cluster_texts(points, clusters=1), unsure, count=1)
    >>> found[0].row, found[0].reason
    (1, 'margin 0.00, cluster 0')
    """
    if len(probabilities) != len(vectors):
        raise InputError(
            f"{len(vectors)} rows came with {len(probabilities)} predictions.",
            remedy="Predict the same rows that were vectorised.",
        )
    free = _free_rows(len(vectors), clustering, exclude)
    margin = margins(probabilities)
    unsure = 1.0 - margin
    # Only the least sure rows compete, but at least one row of each cluster.
    pool = free[np.argsort(-unsure[free], kind="stable")[: count * _CANDIDATES_A_PICK]]
    labels = clustering.labels
    chosen = share_and_spread(vectors, clustering, pool, unsure[pool], count, seed=seed)
    chosen.sort(key=lambda row: (float(margin[row]), row))
    return [
        Selected(
            row=row,
            cluster=int(labels[row]),
            score=float(unsure[row]),
            reason=f"margin {margin[row]:.2f}, cluster {labels[row]}",
        )
        for row in chosen
    ]


def select_bad_cases(
    vectors: npt.NDArray[np.float32],
    clustering: Clustering,
    probabilities: npt.NDArray[np.floating],
    *,
    bad: Iterable[int],
    count: int,
    exclude: Iterable[int] = (),
    complaint_rate: float = 0.5,
    false_complaint_rate: float = 0.05,
    seed: int = 0,
) -> list[Selected]:
    """Choose rows whose answer users complained of, and fill up with what the model is unsure of.

    A complaint is evidence, not proof. The score is the probability that the answer was wrong,
    by Bayes' rule from the model's confidence and the two rates: a complaint about an unsure
    answer is nearly certain, one about a sure answer may be a slip.

    Parameters
    ----------
    vectors, clustering, probabilities, count, exclude, seed
        As for :func:`select_informative`; ``probabilities`` of the version that answered.
    bad : iterable of int
        Rows with a complaint.
    complaint_rate, false_complaint_rate : float
        Rough shares of wrong and of right answers that draw a complaint.

    Returns
    -------
    list of Selected
        Bad cases first, the likeliest error first.
    """
    taken = set(exclude)
    rows = np.asarray(sorted(set(bad) - taken), dtype=np.intp)
    right = probabilities[rows].max(axis=1) if len(rows) else np.zeros(0)
    blamed = complaint_rate * (1.0 - right)
    wrong = blamed / (blamed + false_complaint_rate * right + 1e-12)
    chosen = share_and_spread(vectors, clustering, rows, wrong, count, seed=seed)
    probability = dict(zip(rows.tolist(), wrong.tolist(), strict=True))
    chosen.sort(key=lambda row: (-probability[row], row))
    selected = [
        Selected(
            row=row,
            cluster=int(clustering.labels[row]),
            score=float(probability[row]),
            reason=f"complaint, wrong with {probability[row]:.2f}, cluster "
            f"{clustering.labels[row]}",
        )
        for row in chosen
    ]
    if len(selected) < count:
        selected += select_informative(
            vectors,
            clustering,
            probabilities,
            count=count - len(selected),
            exclude=taken | set(chosen),
            seed=seed,
        )
    return selected


def margins(probabilities: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Gap between the best and the second best class of each row, in [0, 1]."""
    if probabilities.shape[1] < 2:
        return np.ones(len(probabilities))
    best = np.partition(probabilities, -2, axis=1)[:, -2:]
    return np.asarray(best[:, 1] - best[:, 0], dtype=np.float64)


def _free_rows(rows: int, clustering: Clustering, exclude: Iterable[int]) -> npt.NDArray[np.intp]:
    if rows != len(clustering.labels):
        raise InputError(
            f"{rows} rows came with a clustering of {len(clustering.labels)}.",
            remedy="Cluster the same rows that are selected from.",
        )
    taken = np.zeros(rows, dtype=bool)
    taken[list(exclude)] = True
    return np.flatnonzero(~taken)

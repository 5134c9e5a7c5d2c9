"""Folds that keep every class spread, however rare it is.

scikit-learn's stratified folds refuse or warn where a class has fewer rows than there are folds;
a label that was seen once is ordinary at cold start.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def stratified_folds(
    targets: npt.NDArray[np.intp], folds: int, *, seed: int = 0
) -> npt.NDArray[np.intp]:
    """Give each row a fold number, each class's rows in turn over the folds.

    Parameters
    ----------
    targets : ndarray of int, shape (n,)
        Class of each row.
    folds : int
        How many folds, numbered from 0.
    seed : int
        Of the order of rows within a class and of the fold that a class starts with.

    Returns
    -------
    ndarray of int, shape (n,)

    Examples
    --------
    >>> sorted(stratified_folds(np.array([0, 0, 0, 1]), 3).tolist()[:3])
    [0, 1, 2]
    """
    generator = np.random.default_rng(seed)
    numbers = np.empty(len(targets), dtype=np.intp)
    start = 0
    for target in np.unique(targets):
        rows = generator.permutation(np.flatnonzero(targets == target))
        # Each class goes on where the one before ended, so that folds are equally large.
        numbers[rows] = (start + np.arange(len(rows))) % folds
        start += len(rows)
    return numbers

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from closedloop.core.errors import InputError
from closedloop.samples.cluster import cluster_texts
from closedloop.samples.selection import (
    margins,
    select_bad_cases,
    select_informative,
    select_seeds,
)
from closedloop.samples.spread import allocate


@pytest.fixture
def log():
    generator = np.random.default_rng(0)
    centres = np.repeat(np.eye(6)[:4], [60, 30, 20, 10], axis=0)
    points = (centres + generator.normal(0, 0.1, centres.shape)).astype(np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return points, cluster_texts(points, clusters=4, seed=0)


def _two_classes(unsure_rows, n):
    first = np.full(n, 0.95)
    first[list(unsure_rows)] = 0.52
    return np.column_stack([first, 1 - first])


def test_seeds_reach_every_cluster_and_name_it(log):
    seeds = select_seeds(*log, count=8)
    assert {item.cluster for item in seeds} == {0, 1, 2, 3}
    assert len({item.row for item in seeds}) == 8
    assert seeds[0].reason == "centre of cluster 0"
    assert [item.score for item in seeds] == sorted((item.score for item in seeds), reverse=True)


def test_small_clusters_get_more_than_their_share_of_seeds(log):
    seeds = select_seeds(*log, count=24)
    counts = np.bincount([item.cluster for item in seeds])
    assert counts[3] / 24 > 10 / 120
    assert counts[0] > counts[3]


def test_excluded_rows_never_come_back_and_the_whole_log_does(log):
    seeds = select_seeds(*log, count=500, exclude=range(50))
    assert sorted(item.row for item in seeds) == list(range(50, 120))


def test_informative_rows_are_the_unsure_ones(log):
    unsure = [3, 70, 95, 115]
    found = select_informative(*log, _two_classes(unsure, 120), count=4)
    assert sorted(item.row for item in found) == unsure
    assert all("margin 0.04" in item.reason for item in found)


def test_copies_of_one_unsure_text_do_not_crowd_out_others(log):
    points, clustering = log
    points = points.copy()
    points[:20] = points[0]
    unsure = [*range(20), 30, 40, 50]
    found = select_informative(points, clustering, _two_classes(unsure, 120), count=4)
    assert sum(item.row < 20 for item in found) <= 2


def test_selection_is_deterministic(log):
    probabilities = np.random.default_rng(1).dirichlet(np.ones(3), 120)
    one, two = (select_informative(*log, probabilities, count=15, seed=2) for _ in range(2))
    assert one == two


def test_bad_cases_come_first_and_unsure_rows_fill_up(log):
    probabilities = _two_classes([5, 6], 120)
    found = select_bad_cases(*log, probabilities, bad=[5, 80], count=3)
    assert [item.row for item in found] == [5, 80, 6]
    assert found[0].score > found[1].score, "a complaint about an unsure answer is surer"
    assert found[0].reason.startswith("complaint")


def test_predictions_and_clusters_must_be_of_the_same_rows(log):
    points, clustering = log
    with pytest.raises(InputError, match="3 predictions"):
        select_informative(points, clustering, np.ones((3, 2)), count=1)
    with pytest.raises(InputError, match="clustering of 120"):
        select_seeds(points[:5], clustering, count=1)


def test_margin_of_a_single_class_is_full():
    assert margins(np.ones((2, 1))).tolist() == [1, 1]


@given(
    st.lists(st.tuples(st.floats(0, 100), st.integers(0, 20)), min_size=1, max_size=8),
    st.integers(0, 60),
)
def test_allocation_spends_all_within_capacity_and_leaves_no_group_out(groups, count):
    weights, capacity = (np.array(column) for column in zip(*groups, strict=True))
    shares = allocate(weights.astype(float), capacity, count)
    assert shares.sum() == min(count, capacity.sum())
    assert (shares <= capacity).all()
    if count >= (capacity > 0).sum():
        assert (shares[capacity > 0] > 0).all()

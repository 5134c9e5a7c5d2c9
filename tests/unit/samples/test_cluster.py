import numpy as np
import pytest

from closedloop.core.errors import InputError
from closedloop.samples.cluster import cluster_texts


def _blobs(sizes, dimensions=8, seed=0):
    generator = np.random.default_rng(seed)
    centres = np.eye(dimensions)[: len(sizes)]
    rows = [
        centre + generator.normal(0, 0.05, (size, dimensions))
        for centre, size in zip(centres, sizes, strict=True)
    ]
    points = np.vstack(rows).astype(np.float32)
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def test_blobs_are_found_and_numbered_by_falling_size():
    clustering = cluster_texts(_blobs([10, 30, 20]), clusters=3, seed=1)
    assert clustering.sizes.tolist() == [30, 20, 10]
    assert (clustering.labels[10:40] == 0).all()
    assert (clustering.labels[:10] == 2).all()


def test_representatives_are_the_nearest_members():
    clustering = cluster_texts(_blobs([12, 9]), clusters=2)
    for cluster, rows in enumerate(clustering.representatives):
        inside = np.flatnonzero(clustering.labels == cluster)
        assert clustering.distances[rows[0]] == clustering.distances[inside].min()


def test_new_vectors_go_to_the_nearest_cluster():
    points = _blobs([12, 9, 7])
    clustering = cluster_texts(points, clusters=3)
    assert (clustering.assign(points) == clustering.labels).all()


def test_same_seed_same_clusters():
    points = _blobs([20, 20, 20, 20], seed=3)
    one, two = (cluster_texts(points, seed=5) for _ in range(2))
    assert (one.labels == two.labels).all()


def test_number_of_clusters_is_chosen_and_never_above_the_distinct_texts():
    assert cluster_texts(_blobs([50, 50])).clusters == 10
    assert cluster_texts(np.ones((6, 3), dtype=np.float32), clusters=4).clusters == 1


def test_no_text_and_no_cluster_are_refused():
    with pytest.raises(InputError, match="no text"):
        cluster_texts(np.zeros((0, 3), dtype=np.float32))
    with pytest.raises(InputError, match="0 clusters"):
        cluster_texts(np.ones((2, 3), dtype=np.float32), clusters=0)

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from closedloop.defence.communities import Graph, communities


def _graph(count, links, loops=None):
    matrix = np.zeros((count, count))
    for one, other, weight in links:
        matrix[one, other] = matrix[other, one] = weight
    return Graph(links=sp.csr_matrix(matrix), loops=np.asarray(loops or [0.0] * count))


def _clique(nodes):
    return [(a, b, 1.0) for a in nodes for b in nodes if a < b]


def test_cliques_with_one_link_between_them_are_communities():
    links = _clique(range(5)) + _clique(range(5, 10)) + [(4, 5, 1.0)]
    assert communities(_graph(10, links), resolution=1.0) == [0] * 5 + [1] * 5


def test_a_higher_resolution_makes_no_fewer_groups():
    links = [link for n in range(0, 24, 4) for link in _clique(range(n, n + 4))]
    links += [(n, (n + 4) % 24, 0.8) for n in range(0, 24, 4)]
    counts = [len(set(communities(_graph(24, links), resolution=r))) for r in (0.1, 1.0, 4.0, 30.0)]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_nodes_without_links_stay_alone(count):
    assert communities(_graph(count, []), resolution=1.0) == list(range(count))


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(st.integers(0, 14), st.integers(0, 14), st.floats(0.1, 5.0)).filter(
            lambda link: link[0] != link[1]
        ),
        max_size=60,
    )
)
def test_no_group_is_better_left_by_itself_alone(links):
    graph = _graph(15, links)
    labels = communities(graph, resolution=1.0)
    assert labels == communities(graph, resolution=1.0)
    assert _modularity(graph, labels) >= _modularity(graph, list(range(15))) - 1e-9


def _modularity(graph, labels):
    matrix = graph.links.toarray()
    total = matrix.sum()
    if not total:
        return 0.0
    same = np.equal.outer(labels, labels)
    degrees = matrix.sum(axis=0)
    return (matrix[same].sum() - np.outer(degrees, degrees)[same].sum() / total) / total

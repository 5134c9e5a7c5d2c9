from hypothesis import given
from hypothesis import strategies as st

from closedloop.defence.lineage import Change, Lineage, Transition


def _of(*groups):
    """Lineage of one cluster a group, micro-clusters as given."""
    lineage = Lineage(limit=100)
    for group in groups:
        for micro in group:
            lineage.place(micro, group[0] if micro != group[0] else None)
    return lineage


def _weights(*micros, heavy=()):
    return {micro: 10.0 if micro in heavy else 1.0 for micro in micros}


def test_a_merge_keeps_the_heavier_name_and_the_other_leads_to_it():
    lineage = _of([0, 1], [2])
    changes = lineage.regroup([[0, 1, 2]], _weights(0, 1, 2))
    assert changes == (Change(kind=Transition.MERGED, cluster=1, other=0),)
    assert lineage.resolve(1) == 0
    assert lineage.cluster_of(2) == 0


def test_a_split_leaves_the_name_with_the_heavier_part():
    lineage = _of([0, 1, 2])
    changes = lineage.regroup([[0, 1], [2]], _weights(0, 1, 2, heavy=[2]))
    assert changes == (Change(kind=Transition.SPLIT, cluster=1, other=0),)
    assert lineage.cluster_of(2) == 0
    assert lineage.parents == {1: 0}


def test_names_follow_through_merge_after_merge():
    lineage = _of([0], [1], [2])
    lineage.regroup([[0, 1], [2]], _weights(0, 1, 2, heavy=[1]))
    lineage.regroup([[0, 1, 2]], _weights(0, 1, 2, heavy=[2]))
    assert [lineage.resolve(name) for name in (0, 1, 2)] == [2, 2, 2]


def test_departed_micro_clusters_follow_their_cluster():
    lineage = _of([0, 1], [2])
    lineage.depart([1])
    lineage.regroup([[0, 2]], _weights(0, 2, heavy=[2]))
    assert lineage.cluster_of(1) == 1
    assert lineage.cluster_of(77) is None


def test_memory_of_the_departed_is_bounded():
    lineage = Lineage(limit=3)
    for micro in range(10):
        lineage.place(micro, None)
    lineage.depart(range(10))
    assert list(lineage.departed) == [7, 8, 9]


@given(st.lists(st.lists(st.integers(0, 4), min_size=8, max_size=8), min_size=1, max_size=6))
def test_every_name_ever_given_resolves_to_a_live_cluster(partitions):
    lineage = _of(*[[micro] for micro in range(8)])
    for labels in partitions:
        groups = [[m for m in range(8) if labels[m] == label] for label in sorted(set(labels))]
        lineage.regroup(groups, _weights(*range(8)))
        names = {frozenset(group): {lineage.homes[m] for m in group} for group in groups}
        assert all(len(name) == 1 for name in names.values())
        live = set(lineage.homes.values())
        assert len(live) == len(groups)
        assert {lineage.resolve(name) for name in range(lineage.next_id)} == live
